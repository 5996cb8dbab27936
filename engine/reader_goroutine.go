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
	queue      *queue
	shards     sync.WaitGroup
}

// goroutineShard is the reader's handle of a shard.
type goroutineShard struct {
	*shard
	r      *goroutineReader
	work   turn
	awake  atomic.Bool        // set by wake, reset by the owner before it steps
	bell   chan struct{}      // wakes an owner that does not read
	mu     sync.Mutex         // orders the deadlines that wakeOwner and the owner set
	conn   net.Conn           // written by the owner with mu held
	undial context.CancelFunc // while the owner dials; likewise

	farewells sync.WaitGroup
}

func (r *goroutineReader) start(p *publisher) { r.queue = p.newQueue(r.queueBytes, true) }

func (r *goroutineReader) add(shards ...*shard) {
	handles := make([]*goroutineShard, len(shards))
	for i, s := range shards {
		handles[i] = &goroutineShard{shard: s, r: r, bell: make(chan struct{}, 1)}
		s.queue, s.waker = r.queue, handles[i]
		handles[i].work.rests()
	}
	for _, s := range shards {
		s.begin()
	}
	for _, g := range handles {
		r.shards.Go(func() {
			g.run()
			g.farewells.Wait()
			close(g.released)
		})
	}
}

func (r *goroutineReader) wait() { r.shards.Wait() }

// status appends the goroutines that work now: what the others wait for is their shards' matter.
func (r *goroutineReader) status(dst []ReaderStatus, shards []*shard) []ReaderStatus {
	for _, s := range shards {
		if t := s.waker.(*goroutineShard).work.status(r.queue.publisher); !t.Waits {
			dst = append(dst, t)
		}
	}
	return dst
}

// wakeOwner ends what the owner waits for.
func (g *goroutineShard) wakeOwner() {
	g.awake.Store(true)
	select {
	case g.bell <- struct{}{}:
	default:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	stops := g.wakeups.stops()
	if g.undial != nil && stops {
		g.undial()
	}
	if g.conn == nil {
		return
	}
	g.conn.SetReadDeadline(time.Unix(1, 0))
	if stops {
		// The owner may be writing to a peer that does not read.
		g.conn.SetWriteDeadline(time.Now().Add(g.farewellTimeout()))
	}
}

// farewellTimeout bounds what is written to the peer of a shard that stops.
func (g *goroutineShard) farewellTimeout() time.Duration {
	if g.deposed.Load() {
		return 0
	}
	return farewellTimeout
}

// run owns the shard until it has stopped.
func (g *goroutineShard) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer g.work.rests()
	for {
		now := time.Now()
		g.work.works(g.queue.publisher.since(now))
		g.awake.Store(false)
		g.step(now)
		g.flush()
		switch {
		case g.state() == Stopped:
			return
		case g.state() == Connecting:
			g.dial()
		case g.conn == nil || g.paused:
			g.sleep(timer)
		case g.more:
			g.received(time.Now())
		default:
			g.readOnce()
		}
		g.flush()
	}
}

// sleep waits for the moment at which something is due, if there is one, or for a wakeup.
func (g *goroutineShard) sleep(timer *time.Timer) {
	g.work.rests()
	due := g.due()
	if due.IsZero() {
		<-g.bell
		return
	}
	timer.Reset(time.Until(due))
	select {
	case <-timer.C:
	case <-g.bell:
	}
}

// set replaces the connection and what ends a dial, for wakeOwner as well.
func (g *goroutineShard) set(conn net.Conn, undial context.CancelFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn, g.undial = conn, undial
}

// dial makes the connection that the shard asks for.
func (g *goroutineShard) dial() {
	ctx, cancel := context.WithCancel(g.r.ctx)
	defer cancel()
	g.set(nil, cancel)
	if g.wakeups.stops() { // wakeOwner may have come before
		g.set(nil, nil)
		return
	}
	g.work.rests()
	conn, rest, err := g.r.dial(ctx, g.target)
	g.work.works(g.queue.publisher.since(time.Now()))
	stopped := ctx.Err() != nil
	g.set(nil, nil)
	switch {
	case stopped:
		if err == nil {
			closeNow(conn)
		}
		g.work.rests()
		<-g.bell // the wakeup that stops the shard has come, or follows
	case err != nil:
		g.connectFailed(time.Now(), err)
	default:
		g.set(conn, nil)
		g.connected(time.Now(), rest)
	}
}

// readOnce reads once, until the shard's next timer is due or a wakeup comes.
func (g *goroutineShard) readOnce() {
	due := g.due()
	g.mu.Lock()
	if g.awake.Load() {
		g.mu.Unlock()
		return
	}
	g.conn.SetReadDeadline(due)
	g.mu.Unlock()
	space := g.frames.Space(readSize)
	g.work.rests()
	n, err := g.conn.Read(space)
	now := time.Now()
	g.work.works(g.queue.publisher.since(now))
	if n > 0 {
		g.read(now, n)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		g.disconnected(now, err)
	}
}

// flush writes what the shard has left to be written and hangs up if it asks.
func (g *goroutineShard) flush() {
	if g.conn == nil {
		g.hangup = false
		return
	}
	if g.hangup {
		conn, out := g.conn, g.out
		g.set(nil, nil)
		g.out, g.hangup = nil, false
		if g.deposed.Load() {
			closeNow(conn)
			return
		}
		g.farewells.Go(func() { farewell(conn, out) })
		return
	}
	if len(g.out) == 0 {
		return
	}
	timeout := writeTimeout
	g.mu.Lock()
	if g.wakeups.stops() {
		timeout = g.farewellTimeout()
	}
	g.conn.SetWriteDeadline(time.Now().Add(timeout))
	g.mu.Unlock()
	_, err := g.conn.Write(g.out)
	g.out = g.out[:0]
	if err != nil {
		g.disconnected(time.Now(), err)
		g.flush()
		return
	}
	g.written()
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
