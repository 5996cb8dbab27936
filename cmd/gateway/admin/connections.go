// This file bounds connections. A listener that is full makes room by closing the oldest
// connection on which no request is being answered: who sends its header byte by byte, or nothing,
// goes before whoever asks.

package admin

import (
	"container/list"
	"context"
	"errors"
	"net"
	"os"
	"sync"
)

// connections are a set of at most max.
type connections struct {
	max     int
	crowded func() // is called when one had to go; may be nil

	mu         sync.Mutex
	idle, busy list.List // of *conn, the oldest first
}

// conn is a connection of a set.
type conn struct {
	net.Conn
	set *connections

	elem *list.Element // in set.idle or set.busy; nil: in neither
	busy bool
}

// boundedListener accepts into a set.
type boundedListener struct {
	net.Listener
	set *connections
}

func (l *boundedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if b, ok := c.(interface{ SetWriteBuffer(int) error }); ok {
		b.SetWriteBuffer(writeBuffer)
	}
	return l.set.add(c), nil
}

// writeBuffer bounds what the kernel keeps for a client that does not read: of its own accord it
// keeps megabytes.
const writeBuffer = 128 << 10

func (s *connections) add(nc net.Conn) *conn {
	s.mu.Lock()
	c := &conn{Conn: nc, set: s}
	old := s.full()
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

// full returns the connection that has to go for another, already out of the set; nil: none has to.
func (s *connections) full() *conn {
	if s.idle.Len()+s.busy.Len() < s.max {
		return nil
	}
	from := &s.idle
	if from.Len() == 0 {
		from = &s.busy
	}
	old := from.Remove(from.Front()).(*conn)
	old.elem = nil
	return old
}

// drop closes a connection at once: what it has not read is not kept for it.
func (c *conn) drop() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Conn.Close()
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

// answer adds a connection to a set of those that get a long answer, and closes the oldest if they
// are too many: a client that does not read its answer is the oldest after a while. done takes it out.
func (s *connections) answer(c *conn) (done func()) {
	if c == nil {
		return func() {}
	}
	member := &conn{Conn: c.Conn, set: s, busy: true}
	s.mu.Lock()
	old := s.full()
	member.elem = s.busy.PushBack(member)
	s.mu.Unlock()
	if old != nil {
		old.drop()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if member.elem != nil {
			s.busy.Remove(member.elem)
			member.elem = nil
		}
	}
}

type connKey struct{}

// connOf returns the connection of a request; nil: of none.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
