// This file is a network in memory, for tests on fake time.

package sim

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Network is a network in memory whose blocking testing/synctest understands.
// The zero value works. Make it, and everything that uses it, inside the bubble.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*memListener
}

// memBuffer is how much one direction of a connection holds before Write waits.
const memBuffer = 256 << 10

// Listen answers dials of name, a host with an optional port (80 when absent).
func (n *Network) Listen(name string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(name); err != nil {
		name = net.JoinHostPort(name, "80")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[name] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: memAddr(name), Err: syscall.EADDRINUSE}
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*memListener)
	}
	l := &memListener{net: n, name: name, accept: make(chan net.Conn, 1024), done: make(chan struct{})}
	n.listeners[name] = l
	return l, nil
}

// DialContext connects to the listener of addr; it has the signature that
// http.Transport and most dialers ask for. The network's name is ignored.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: memAddr(addr), Err: err}
	}
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: memAddr(addr), Err: syscall.ECONNREFUSED}
	}
	client, server := newMemPair(memAddr("client"), memAddr(addr))
	select {
	case l.accept <- server:
		return client, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: memAddr(addr), Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: memAddr(addr), Err: ctx.Err()}
	}
}

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

type memListener struct {
	net    *Network
	name   string
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.Addr(), Err: net.ErrClosed}
	case c := <-l.accept:
		return c, nil
	}
}

func (l *memListener) Addr() net.Addr { return memAddr(l.name) }

func (l *memListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.name)
		l.net.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.accept:
				c.(*memConn).Reset()
				continue
			default:
			}
			return
		}
	})
	return nil
}

// memConn is one end of a connection in memory.
type memConn struct {
	in, out       *memHalf // in is read, out is written
	local, remote net.Addr
}

func newMemPair(a, b net.Addr) (*memConn, *memConn) {
	x, y := newMemHalf(), newMemHalf()
	return &memConn{in: x, out: y, local: a, remote: b}, &memConn{in: y, out: x, local: b, remote: a}
}

// memHalf is one direction. A blackhole half takes what is written and gives
// nothing: the peer has fallen silent without a word.
type memHalf struct {
	mu        sync.Mutex
	cond      sync.Cond // on mu: anything below has changed
	buf       []byte
	off       int  // buf[:off] has been read
	eof       bool // the writing end is closed: read what there is, then io.EOF
	gone      bool // the reading end is closed: writing fails
	reset     bool // both fail at once, what is in buf is lost
	blackhole bool
	rclosed   bool // closed by the reader itself, for net.ErrClosed
	read      memDeadline
	write     memDeadline
	notify    []func() // called at each change, with h.mu held
}

type memDeadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *memDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newMemHalf() *memHalf {
	h := new(memHalf)
	h.cond.L = &h.mu
	return h
}

// setDeadline is called with h.mu held.
func (h *memHalf) setDeadline(d *memDeadline, t time.Time) {
	d.at = t
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if left := time.Until(t); left > 0 { // what has passed is seen below; in a bubble of synctest, two timers without a wait crash the race detector
		d.timer = time.AfterFunc(left, func() {
			h.mu.Lock()
			h.cond.Broadcast()
			h.mu.Unlock()
		})
	}
	h.cond.Broadcast()
}

// update changes h under its lock and wakes whoever waits for it.
func (h *memHalf) update(f func()) {
	h.mu.Lock()
	f()
	h.changed()
	h.mu.Unlock()
}

// changed wakes whoever waits for h. It is called with h.mu held.
func (h *memHalf) changed() {
	h.cond.Broadcast()
	for _, f := range h.notify {
		f()
	}
}

func (c *memConn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.read.passed() && !h.rclosed && !h.reset {
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		}
		if n, ok, err := c.readLocked(p); ok {
			return n, err
		}
		h.cond.Wait()
	}
}

// readLocked reads what there is; ok is false if it must wait for something.
func (c *memConn) readLocked(p []byte) (n int, ok bool, err error) {
	h := c.in
	switch {
	case h.rclosed:
		return 0, true, c.opError("read", net.ErrClosed)
	case h.reset:
		return 0, true, c.opError("read", syscall.ECONNRESET)
	case len(p) == 0:
		return 0, true, nil
	case !h.blackhole && h.off < len(h.buf):
		n := copy(p, h.buf[h.off:])
		if h.off += n; h.off == len(h.buf) {
			h.buf, h.off = h.buf[:0], 0
			if cap(h.buf) > 4096 {
				h.buf = nil // thousands of idle connections must stay small
			}
		}
		h.changed()
		return n, true, nil
	case !h.blackhole && h.eof:
		return 0, true, io.EOF
	}
	return 0, false, nil
}

func (c *memConn) Write(p []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.write.passed() && !h.eof && !h.reset {
			return n, c.opError("write", os.ErrDeadlineExceeded)
		}
		k, err := c.writeLocked(p)
		n, p = n+k, p[k:]
		if err != nil || len(p) == 0 {
			return n, err
		}
		if k == 0 {
			h.cond.Wait()
		}
	}
}

// writeLocked writes what there is room for.
func (c *memConn) writeLocked(p []byte) (n int, err error) {
	h := c.out
	switch {
	case h.eof:
		return 0, c.opError("write", net.ErrClosed)
	case h.reset:
		return 0, c.opError("write", syscall.ECONNRESET)
	case h.blackhole:
		return len(p), nil
	case h.gone:
		return 0, c.opError("write", syscall.EPIPE)
	}
	if h.off > memBuffer {
		h.buf = append(h.buf[:0], h.buf[h.off:]...)
		h.off = 0
	}
	if n = min(memBuffer-(len(h.buf)-h.off), len(p)); n > 0 {
		h.buf = append(h.buf, p[:n]...)
		h.changed()
	}
	return n, nil
}

// Close sends what was written, then the end. The peer can write no more.
func (c *memConn) Close() error {
	closed := false
	c.in.update(func() {
		closed = c.in.rclosed
		c.in.rclosed, c.in.gone = true, true
		c.in.buf, c.in.off = nil, 0
		c.in.stopTimer(&c.in.read)
	})
	c.out.update(func() {
		c.out.eof = true
		c.out.stopTimer(&c.out.write)
	})
	if closed {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

func (h *memHalf) stopTimer(d *memDeadline) {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// CloseWrite ends the writing direction alone.
func (c *memConn) CloseWrite() error {
	c.out.update(func() { c.out.eof = true })
	return nil
}

// Reset breaks the connection as an RST does: what is in flight is lost, both
// ends see ECONNRESET.
func (c *memConn) Reset() {
	for _, h := range []*memHalf{c.in, c.out} {
		h.update(func() { h.reset, h.buf, h.off = true, nil, 0 })
	}
	c.Close()
}

// Blackhole makes the network between the two ends swallow everything.
func (c *memConn) Blackhole() {
	for _, h := range []*memHalf{c.in, c.out} {
		h.update(func() { h.blackhole, h.buf, h.off = true, nil, 0 })
	}
}

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.setDeadline(&c.in.read, t)
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.setDeadline(&c.out.write, t)
	return nil
}

func (c *memConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}
