// This file bounds connections. A listener that is full makes room by closing the oldest
// connection on which no request is being answered: who sends its header byte by byte, or nothing,
// goes before whoever asks. A new one has a moment to send its request: until then others wait, so
// that a burst of connections does not reset that of a probe. The moment begins when it is read: on
// a busy machine what was sent long ago may have to wait for that. It is longer where nothing has come
// yet: who has connected may have to wait for a processor as well.

package admin

import (
	"container/list"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// connections are a set of at most max.
type connections struct {
	max     int
	grace   time.Duration // how long after it was first read one does not have to go for another, if something has come
	crowded func()        // is called when one had to go; may be nil

	mu         sync.Mutex
	idle, busy list.List // of *conn, the oldest first
}

// conn is a connection of a set.
type conn struct {
	net.Conn
	set *connections

	begun, heard atomic.Bool // it is read, or was; something has come

	// Guarded by set.mu:
	read time.Time     // first; zero: it was not yet
	elem *list.Element // in set.idle or set.busy; nil: in neither
	busy bool
}

// boundedListener accepts into a set.
type boundedListener struct {
	net.Listener
	set *connections

	closing sync.Once
	closed  chan struct{}
}

func newBoundedListener(l net.Listener, set *connections) *boundedListener {
	return &boundedListener{Listener: l, set: set, closed: make(chan struct{})}
}

// Close ends Accept, which may wait.
func (l *boundedListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *boundedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if b, ok := c.(interface{ SetWriteBuffer(int) error }); ok {
		b.SetWriteBuffer(writeBuffer)
	}
	added := l.set.add(c, l.closed)
	if added == nil {
		c.Close()
		return nil, net.ErrClosed
	}
	return added, nil
}

// writeBuffer bounds what the kernel keeps for a client that does not read: of its own accord it
// keeps megabytes.
const writeBuffer = 128 << 10

// add adds a connection once there is room; nil: it has waited for that until closed.
func (s *connections) add(nc net.Conn, closed <-chan struct{}) *conn {
	c := &conn{Conn: nc, set: s}
	for {
		s.mu.Lock()
		old, wait := s.full()
		if wait > 0 {
			s.mu.Unlock()
			select {
			case <-time.After(min(wait, roomEvery)):
				continue
			case <-closed:
				return nil
			}
		}
		c.elem = s.idle.PushBack(c)
		s.mu.Unlock()
		if old != nil {
			old.drop()
			if s.crowded != nil {
				s.crowded()
			}
		}
		return c
	}
}

// roomEvery is how often a connection that waits looks for room: others may have been closed meanwhile.
const roomEvery = 5 * time.Millisecond

// silence is how many times as long one has of which nothing has come.
const silence = 5

// full returns the connection that has to go for another, already out of the set; nil: none has to.
// wait is how long it takes until one may have to go.
func (s *connections) full() (old *conn, wait time.Duration) {
	if s.idle.Len()+s.busy.Len() < s.max {
		return nil, 0
	}
	from, elem := &s.idle, s.idle.Front()
	for now := time.Now(); elem != nil; elem = elem.Next() {
		c, left := elem.Value.(*conn), s.grace
		if !c.heard.Load() {
			left *= silence
		}
		if !c.read.IsZero() {
			left -= now.Sub(c.read)
		}
		if left <= 0 {
			break
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	switch {
	case elem == nil && wait > 0:
		return nil, wait
	case elem == nil:
		from, elem = &s.busy, s.busy.Front()
	}
	old = from.Remove(elem).(*conn)
	old.elem = nil
	return old, 0
}

// drop closes a connection at once: what it has not read is not kept for it.
func (c *conn) drop() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Conn.Close()
}

// Read reads.
func (c *conn) Read(p []byte) (int, error) {
	if c.begun.CompareAndSwap(false, true) {
		c.set.mu.Lock()
		c.read = time.Now()
		c.set.mu.Unlock()
	}
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

// Write writes. What a client has not taken in time is not kept for it.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if tcp, ok := c.Conn.(*net.TCPConn); ok && errors.Is(err, os.ErrDeadlineExceeded) {
		tcp.SetLinger(0)
	}
	return n, err
}

// Close closes the connection and leaves the set.
func (c *conn) Close() error {
	s := c.set
	s.mu.Lock()
	if c.elem != nil {
		c.list().Remove(c.elem)
		c.elem = nil
	}
	s.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) list() *list.List {
	if c.busy {
		return &c.set.busy
	}
	return &c.set.idle
}

// answering notes whether a request is being answered. A nil conn, as of a handler's test, is fine.
func (c *conn) answering(busy bool) {
	if c == nil {
		return
	}
	s := c.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.elem == nil || c.busy == busy {
		return
	}
	c.list().Remove(c.elem)
	c.busy = busy
	c.elem = c.list().PushBack(c)
}

type connKey struct{}

// connOf returns the connection of a request; nil: of none.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
