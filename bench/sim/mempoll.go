// This file lets an event loop use a connection of a Network: it asks instead of
// waiting.

package sim

import "net"

// PollConn is the client's end of a connection of a Network.
type PollConn interface {
	net.Conn
	// TryRead and TryWrite do what can be done without waiting: 0 and no
	// error when that is nothing.
	TryRead(p []byte) (n int, err error)
	TryWrite(p []byte) (n int, err error)
	// Ready reports whether TryRead and TryWrite would do something or fail.
	Ready() (read, write bool)
	// Notify has f called, from now on, whenever that may have changed. f must
	// not use the connection.
	Notify(f func())
}

func (c *memConn) TryRead(p []byte) (int, error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	n, _, err := c.readLocked(p)
	return n, err
}

func (c *memConn) TryWrite(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.writeLocked(p)
}

func (c *memConn) Ready() (read, write bool) {
	h := c.in
	h.mu.Lock()
	read = h.rclosed || h.reset || !h.blackhole && (h.off < len(h.buf) || h.eof)
	h.mu.Unlock()
	h = c.out
	h.mu.Lock()
	write = h.eof || h.reset || h.blackhole || h.gone || len(h.buf)-h.off < memBuffer
	h.mu.Unlock()
	return read, write
}

func (c *memConn) Notify(f func()) {
	for _, h := range []*memHalf{c.in, c.out} {
		h.update(func() { h.notify = append(h.notify, f) })
	}
}
