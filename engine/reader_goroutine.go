// This file is the reader that any system has: a goroutine for each shard.

package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readSize is the least room for one read. It is what an idle shard
	// holds while it waits.
	readSize = 4 << 10
	// writeTimeout bounds a write to a peer that no longer reads. Only the
	// connection's own goroutine waits for it.
	writeTimeout = 10 * time.Second
	// farewellTimeout bounds the write of a close frame, and the wait for the
	// peer to close.
	farewellTimeout = time.Second
)

// goroutineReader drives each shard with a goroutine of its own, which waits
// for the socket, or for the next timer and wakeup while there is no socket to
// read. A wake-up ends a read by moving its deadline into the past.
type goroutineReader struct {
	ctx        context.Context // done when connections shall not be made any more
	dial       dialFunc
	queueBytes int
	shards     sync.WaitGroup
	farewells  sync.WaitGroup
}

// goroutineLink is the reader's handle of a shard.
type goroutineLink struct {
	awake atomic.Bool   // set by wake, reset by the owner before it steps
	bell  chan struct{} // wakes an owner that does not read
	mu    sync.Mutex    // orders the deadlines that wake and the owner set
	conn  net.Conn      // written by the owner with mu held
}

func (r *goroutineReader) start(shards []*shard, l *publisher) {
	out := l.newQueue(r.queueBytes, len(shards))
	for _, s := range shards {
		s.queue = out
		s.link = &goroutineLink{bell: make(chan struct{}, 1)}
	}
	for _, s := range shards {
		s.begin()
	}
	for _, s := range shards {
		r.shards.Go(func() { r.run(s, s.link.(*goroutineLink)) })
	}
}

func (r *goroutineReader) wait() {
	r.shards.Wait()
	r.farewells.Wait()
}

func (r *goroutineReader) wake(s *shard) {
	l := s.link.(*goroutineLink)
	l.awake.Store(true)
	select {
	case l.bell <- struct{}{}:
	default:
	}
	l.mu.Lock()
	if l.conn != nil {
		l.conn.SetReadDeadline(time.Unix(1, 0))
		if s.wakeups.stops() {
			// The owner may be writing to a peer that does not read.
			l.conn.SetWriteDeadline(time.Now().Add(farewellTimeout))
		}
	}
	l.mu.Unlock()
}

// run owns the shard until it has stopped.
func (r *goroutineReader) run(s *shard, l *goroutineLink) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.awake.Store(false)
		s.step(time.Now())
		r.flush(s, l)
		switch {
		case s.state() == Stopped:
			return
		case s.state() == Connecting:
			r.connect(s, l)
		case l.conn == nil || s.paused:
			l.sleep(s.due(), timer)
		case s.more:
			s.received(time.Now())
		default:
			r.read(s, l)
		}
		r.flush(s, l)
	}
}

// sleep waits for the moment due, if there is one, or for a wake-up.
func (l *goroutineLink) sleep(due time.Time, timer *time.Timer) {
	if due.IsZero() {
		<-l.bell
		return
	}
	timer.Reset(time.Until(due))
	select {
	case <-timer.C:
	case <-l.bell:
	}
}

// connect makes the connection that the shard asks for.
func (r *goroutineReader) connect(s *shard, l *goroutineLink) {
	conn, rest, err := r.dial(r.ctx, s.target)
	if r.ctx.Err() != nil {
		if err == nil {
			conn.Close()
		}
		<-l.bell // the engine stops: the wakeup that says so follows
		return
	}
	if err != nil {
		s.connectFailed(time.Now(), err)
		return
	}
	l.mu.Lock()
	l.conn = conn
	l.mu.Unlock()
	s.connected(time.Now(), rest)
}

// read reads once, until the shard's next timer is due or a wake-up comes.
func (r *goroutineReader) read(s *shard, l *goroutineLink) {
	due := s.due()
	l.mu.Lock()
	if l.awake.Load() {
		l.mu.Unlock()
		return
	}
	l.conn.SetReadDeadline(due)
	l.mu.Unlock()
	n, err := l.conn.Read(s.frames.Space(readSize))
	now := time.Now()
	if n > 0 {
		s.read(now, n)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.disconnected(now, err)
	}
}

// flush writes what the shard has left to be written and hangs up if it asks.
func (r *goroutineReader) flush(s *shard, l *goroutineLink) {
	if l.conn == nil {
		s.hangup = false
		return
	}
	if s.hangup {
		conn, out := l.conn, s.out
		l.mu.Lock()
		l.conn = nil
		l.mu.Unlock()
		s.out, s.hangup = nil, false
		r.farewells.Add(1)
		go func() {
			defer r.farewells.Done()
			farewell(conn, out)
		}()
		return
	}
	if len(s.out) == 0 {
		return
	}
	timeout := writeTimeout
	l.mu.Lock()
	if s.wakeups.stops() {
		timeout = farewellTimeout
	}
	l.conn.SetWriteDeadline(time.Now().Add(timeout))
	l.mu.Unlock()
	_, err := l.conn.Write(s.out)
	s.out = s.out[:0]
	if err != nil {
		s.disconnected(time.Now(), err)
		r.flush(s, l)
		return
	}
	s.written()
}

// farewell writes the last bytes of a connection, the close frame among them, and
// closes it. Closed at once, with something unread, the system would reset it, and
// the peer lose what was sent to it last.
func farewell(conn net.Conn, out []byte) {
	conn.SetDeadline(time.Now().Add(farewellTimeout))
	if len(out) > 0 {
		conn.Write(out) // an error changes nothing: the connection ends here
	}
	raw := belowTLS(conn)
	if half, ok := raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.Copy(io.Discard, raw)
	}
	closeNow(conn)
}
