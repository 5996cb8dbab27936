// This file is a poller of connections in memory, for tests on fake time.

package engine

import (
	"io"
	"net"
	"slices"
	"time"

	"sluice/bench/sim"
)

// PollMemory has the epoll reader wait for connections of a sim.Network.
func (o *Options) PollMemory() {
	o.newPoller = func() (poller, error) { return &memPoller{bell: make(chan struct{}, 1)}, nil }
}

// memPoller looks at every socket each time something has changed.
type memPoller struct {
	bell    chan struct{}
	watched []watchedSocket // by slot
}

type watchedSocket struct {
	slot int
	want readiness
	conn sim.PollConn
}

func (p *memPoller) adopt(conn net.Conn) (rawSocket, error) {
	c := conn.(sim.PollConn)
	c.Notify(p.ring)
	return memSocket{c, p}, nil
}

func (s memSocket) watch(slot int, was, want readiness) error {
	p := s.poller
	i, found := slices.BinarySearchFunc(p.watched, slot, func(w watchedSocket, slot int) int { return w.slot - slot })
	switch {
	case found != (was != 0):
		panic("the poller watches something else than its loop believes")
	case want == 0:
		p.watched = slices.Delete(p.watched, i, i+1)
	case found:
		p.watched[i].want = want
	default:
		p.watched = slices.Insert(p.watched, i, watchedSocket{slot, want, s.PollConn})
	}
	return nil
}

func (p *memPoller) wait(ready []readySlot, d time.Duration) int {
	var passed <-chan time.Time
	if d >= 0 {
		passed = time.After(d)
	}
	for {
		n, stalled := p.look(ready)
		if n > 0 || d == 0 {
			return n
		}
		var again <-chan time.Time
		if stalled {
			again = time.After(10 * time.Millisecond) // that a stall ends nobody tells
		}
		select {
		case <-p.bell:
			n, _ = p.look(ready)
			return n
		case <-passed:
			return 0
		case <-again:
		}
	}
}

// look fills ready. stalled tells that a socket cannot be written to that the
// loop would write to.
func (p *memPoller) look(ready []readySlot) (n int, stalled bool) {
	for _, w := range p.watched {
		var what readiness
		read, write := w.conn.Ready()
		if read {
			what |= readable
		}
		if write {
			what |= writable
		}
		stalled = stalled || !write && w.want&writable != 0
		if what &= w.want; what != 0 && n < len(ready) {
			ready[n] = readySlot{w.slot, what}
			n++
		}
	}
	return n, stalled
}

func (p *memPoller) ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

func (p *memPoller) close() {}

type memSocket struct {
	sim.PollConn
	poller *memPoller
}

func (s memSocket) linger(d time.Duration) {
	s.PollConn.(interface{ CloseWrite() error }).CloseWrite()
	s.SetReadDeadline(time.Now().Add(d))
	io.Copy(io.Discard, s.PollConn) // whose Read waits
	s.Close()
}

func (s memSocket) Read(p []byte) (int, error) {
	n, err := s.TryRead(p)
	if n == 0 && err == nil && len(p) > 0 {
		err = errAgain
	}
	return n, err
}

func (s memSocket) Write(p []byte) (int, error) {
	n, err := s.TryWrite(p)
	if n < len(p) && err == nil {
		err = errAgain
	}
	return n, err
}
