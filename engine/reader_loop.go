// This file is the reader of Linux: a few goroutines, each of which reads the
// sockets of many shards.

package engine

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readBuffer is what a loop reads into. A TLS record, 16 KiB at most, fits
	// whole, so that crypto/tls keeps nothing of it back.
	readBuffer = 64 << 10
	// turnBytes is what a shard may read before the others have their turn.
	turnBytes = 256 << 10
	// longRead is what a shard may read before the loop looks at the clock
	// again: inflated, so much takes milliseconds. longWork is the same for what was
	// read of all shards since, inflated.
	longRead = 8 << 10
	longWork = 256 << 10
	// burst is what arrives on one socket when there is more behind it: it is
	// more than an event or two.
	burst = 4 << 10
	// maxReady is how many ready sockets one wait returns.
	maxReady = 512
	// noSlot is that of a shard which is not in its loop.
	noSlot = -1
)

// loopReader divides the shards among its loops, where they stay.
type loopReader struct {
	ctx          context.Context // done when connections shall not be made any more
	dialer       func(wrap func(net.Conn) net.Conn) dialFunc
	pollInterval time.Duration
	queueBytes   int
	loops        []*loop
	live         sync.WaitGroup // of loops
}

func newLoopReader(ctx context.Context, dialer func(func(net.Conn) net.Conn) dialFunc, o *Options) (reader, error) {
	loops := o.Readers
	if loops <= 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	r := &loopReader{ctx: ctx, dialer: dialer, pollInterval: o.PollInterval, queueBytes: o.QueueBytes}
	for range loops {
		p, err := o.newPoller()
		if err != nil {
			for _, l := range r.loops {
				l.poller.close()
			}
			return nil, err
		}
		l := &loop{r: r, poller: p, buf: make([]byte, readBuffer)}
		l.work.rests()
		r.loops = append(r.loops, l)
	}
	return r, nil
}

// status appends every loop.
func (r *loopReader) status(dst []ReaderStatus, _ []*shard) []ReaderStatus {
	for _, l := range r.loops {
		dst = append(dst, l.work.status(l.queue.publisher))
	}
	return dst
}

func (r *loopReader) start(p *publisher) {
	for _, l := range r.loops {
		l.queue = p.newQueue(max(r.queueBytes/len(r.loops), 1), false) // 0 would be always full
		r.live.Go(l.run)
	}
}

func (r *loopReader) add(shards ...*shard) {
	handles := make([]*loopShard, len(shards))
	for i, s := range shards {
		l := r.loops[0]
		for _, o := range r.loops[1:] {
			if o.assigned.Load() < l.assigned.Load() {
				l = o
			}
		}
		l.assigned.Add(1)
		handles[i] = &loopShard{s: s, loop: l, slot: noSlot, at: -1}
		handles[i].woken.Store(true) // until it is in the loop, which looks at its wakeups then
		s.waker, s.queue = handles[i], l.queue
	}
	for _, s := range shards {
		s.begin()
	}
	for _, e := range handles {
		e.loop.post(e)
	}
}

// wakeOwner gives the shard a turn.
func (e *loopShard) wakeOwner() {
	if !e.woken.Swap(true) {
		e.loop.post(e)
	}
}

func (r *loopReader) wait() {
	for _, l := range r.loops {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.poller.ring()
	}
	r.live.Wait()
}

// loopShard is the reader's handle of a shard. But for woken, and for dialed
// while the loop's lock is held, it belongs to the loop.
type loopShard struct {
	s    *shard
	loop *loop
	slot int // in loop.shards, or noSlot

	conn    net.Conn // what is read and written: sock, or TLS over it; nil: none
	sock    *socket
	watched readiness // what the poller watches sock for
	closing rawSocket // to be closed when the peer has closed, or has had time to
	unread  bool      // in loop.again
	gone    bool      // released, or about to be when its dial has ended
	due     time.Time
	at      int                // in the timers
	undial  context.CancelFunc // ends the dial; nil: there is none

	woken  atomic.Bool
	dialed *dialed // how the dial ended
}

// dialed is how a dial ended.
type dialed struct {
	conn net.Conn
	sock *socket
	rest []byte
	err  error
}

// loop is one goroutine with its poller.
type loop struct {
	r        *loopReader
	poller   poller
	assigned atomic.Int32 // shards
	work     turn

	// owned by the goroutine
	queue  *queue
	buf    []byte
	now    time.Time    // as of the last look at the clock
	shards []*loopShard // by slot; nil: the slot is free
	free   []int        // slots
	timers timers
	worked int          // bytes, inflated, since the last look at the clock
	busy   bool         // a socket had a burst since the last wait
	again  []*loopShard // that have more to be read than their turn allowed

	mu     sync.Mutex
	woken  []*loopShard // new, woken, or with a dial that has ended
	closed bool         // no shard is added any more
}

// post puts e among the loop's woken shards. Any goroutine may call it.
func (l *loop) post(e *loopShard) {
	l.mu.Lock()
	l.woken = append(l.woken, e)
	first := len(l.woken) == 1
	l.mu.Unlock()
	if first {
		l.poller.ring()
	}
}

// run drives the loop's shards until the loop is closed and all are released.
func (l *loop) run() {
	defer l.poller.close()
	defer l.work.rests()
	l.now = time.Now()
	ready := make([]readySlot, maxReady)
	var woken, again []*loopShard
	for closed := false; !closed || l.assigned.Load() > 0; {
		l.work.rests()
		l.rest()
		n := l.poller.wait(ready, l.patience())
		l.now = time.Now()
		l.work.works(l.queue.publisher.since(l.now))
		again, l.again = l.again, again[:0]
		for _, e := range again {
			e.unread = false
			l.read(e)
		}
		clear(again) // no shard is kept that is gone
		for _, t := range ready[:n] {
			if e := l.shards[t.slot]; e != nil { // not released since
				l.serve(e, t.what)
			}
		}
		l.mu.Lock()
		woken, l.woken = l.woken, woken[:0]
		closed = l.closed
		l.mu.Unlock()
		for _, e := range woken {
			l.place(e)
			e.woken.Store(false)
			l.finishDial(e)
			l.turn(e)
		}
		clear(woken)
		l.tick()
		l.queue.publish()
	}
}

// place gives a new shard a slot. Slots are given here alone, so that what the poller returns for one
// is of the shard that has it.
func (l *loop) place(e *loopShard) {
	if e.slot != noSlot || e.gone {
		return
	}
	if n := len(l.free); n > 0 {
		e.slot, l.free = l.free[n-1], l.free[:n-1]
		l.shards[e.slot] = e
		return
	}
	e.slot = len(l.shards)
	l.shards = append(l.shards, e)
}

// release lets go of a shard that has stopped, and of its connection. It waits for the end of its
// dial, after which finishDial comes here again.
func (l *loop) release(e *loopShard) {
	if e.undial != nil {
		e.undial()
		return
	}
	l.shards[e.slot] = nil
	l.free = append(l.free, e.slot)
	e.slot = noSlot
	l.assigned.Add(-1)
	if e.closing == nil {
		close(e.s.released)
		return
	}
	l.r.live.Go(func() {
		e.closing.linger(farewellTimeout)
		close(e.s.released)
	})
}

// rest lets the poll interval pass since the last look, while the publisher works. It does not
// when much arrives on one socket: that would fill its window and stop the sender.
func (l *loop) rest() {
	busy := l.busy || len(l.again) > 0
	l.busy = false
	if busy {
		return
	}
	if d := l.r.pollInterval - time.Since(l.now); d > 0 {
		time.Sleep(d)
	}
}

// patience returns how long the poller may wait; negative: for ever.
func (l *loop) patience() time.Duration {
	switch {
	case len(l.again) > 0:
		return 0
	case len(l.timers) == 0:
		return -1
	}
	return max(0, time.Until(l.timers[0].due))
}

// tick gives the shards that are due their turn. It is called between shards
// that have much to read, too: heartbeats do not wait for all of them.
func (l *loop) tick() {
	for len(l.timers) > 0 && !l.timers[0].due.After(l.now) {
		l.turn(l.timers[0])
	}
}

// turn does what is due for a shard, and then what it asks for.
func (l *loop) turn(e *loopShard) {
	if e.s.state() != Stopped {
		e.s.step(l.now)
	}
	l.settle(e)
}

// serve serves a socket that the poller has found ready.
func (l *loop) serve(e *loopShard, what readiness) {
	if e.conn == nil {
		return // closed since
	}
	if what&writable != 0 {
		if err := e.sock.flush(); err != nil {
			e.s.disconnected(l.now, err)
			l.settle(e)
			return
		}
		if len(e.sock.out) == 0 {
			e.s.written()
		}
	}
	if what&readable != 0 && !e.unread {
		l.read(e)
		return
	}
	l.settle(e)
}

// read reads what has arrived, as far as a turn goes.
func (l *loop) read(e *loopShard) {
	total := 0
	if e.conn != nil && e.s.more {
		e.s.received(l.now)
	}
	// What is read must be kept if there is no room for it: it stays with the
	// system, but for the one read in whose middle the ring has become full.
	if e.reads() {
		e.s.pauseIfFull()
	}
	for e.reads() {
		n, err := e.conn.Read(l.buf)
		if n > 0 {
			e.sock.records--
			total += n
			e.s.feed(l.now, l.buf[:n])
		}
		if errors.Is(err, errAgain) {
			e.sock.records = 0
			break
		}
		if err != nil {
			e.s.disconnected(l.now, err)
			break
		}
		// A read that came back short has emptied the socket.
		if total >= turnBytes || n < len(l.buf) && e.sock.records <= 0 {
			break
		}
	}
	l.busy = l.busy || total >= burst
	// What was read may have made something due: timers, commands.
	l.turn(e)
	l.worked += e.s.worked
	e.s.worked = 0
	if total >= longRead || l.worked >= longWork || e.s.more {
		l.worked = 0
		l.now = time.Now()
		l.tick()
	}
}

// reads reports whether the shard's socket is to be read.
func (e *loopShard) reads() bool {
	return e.conn != nil && !e.s.hangup && !e.s.more && !e.s.paused
}

// settle does what the shard asks for: writes, hangs up, connects, pauses.
func (l *loop) settle(e *loopShard) {
	s := e.s
	for e.conn != nil && (s.hangup || len(s.out) > 0) {
		var err error
		if len(s.out) > 0 {
			_, err = e.conn.Write(s.out)
			s.out = s.out[:0]
			if err == nil && len(e.sock.out) == 0 {
				s.written()
			}
		}
		if s.hangup {
			l.hangUp(e)
		} else if err != nil {
			s.disconnected(l.now, err)
		}
	}
	if e.conn == nil {
		s.hangup = false
	}
	switch {
	case s.state() == Stopped && !e.gone:
		e.gone = true
		l.release(e)
	case s.state() == Connecting && e.conn == nil && e.undial == nil && l.r.ctx.Err() == nil:
		l.dial(e)
	}
	if e.conn != nil {
		if err := l.watch(e); err != nil {
			s.disconnected(l.now, err)
			l.settle(e)
			return
		}
		if (e.sock.records > 0 || s.more) && !s.paused && !e.unread {
			// The poller does not know of what the shard has not worked through, and of
			// whole records that wait in crypto/tls.
			e.unread = true
			l.again = append(l.again, e)
		}
	}
	l.timers.set(e, s.due())
}

// hangUp closes the connection; the loop does not wait for the peer. What the system
// did not take of the close frame is not sent.
func (l *loop) hangUp(e *loopShard) {
	if e.watched != 0 {
		e.sock.raw.watch(e.slot, e.watched, 0)
	}
	if e.s.state() == Stopped && !e.s.deposed.Load() {
		e.closing = e.sock.raw // what was sent last may be commands, which nobody sends again
	} else {
		e.sock.raw.Close()
	}
	e.conn, e.sock, e.watched = nil, nil, 0
	e.s.hangup, e.s.out = false, nil
}

// watch has the poller look for what is wanted.
func (l *loop) watch(e *loopShard) error {
	var want readiness
	if !e.s.paused {
		want = readable
	}
	if len(e.sock.out) > 0 {
		want |= writable
	}
	if want == e.watched {
		return nil
	}
	err := e.sock.raw.watch(e.slot, e.watched, want)
	if err == nil {
		e.watched = want
	}
	return err
}

// dial makes the connection that the shard asks for, on a goroutine of its own.
func (l *loop) dial(e *loopShard) {
	target := e.s.target
	var ctx context.Context
	ctx, e.undial = context.WithCancel(l.r.ctx)
	l.r.live.Go(func() {
		var sock *socket
		conn, rest, err := l.r.dialer(func(c net.Conn) net.Conn {
			sock = &socket{conn: c, tls: target.Scheme == "wss"}
			return sock
		})(ctx, target)
		if err == nil {
			if err = sock.adopt(l.poller); err != nil {
				sock.Close()
			}
		}
		l.mu.Lock()
		e.dialed = &dialed{conn, sock, rest, err}
		l.mu.Unlock()
		l.post(e)
	})
}

// finishDial gives the shard the connection that was made for it.
func (l *loop) finishDial(e *loopShard) {
	l.mu.Lock()
	d := e.dialed
	e.dialed = nil
	l.mu.Unlock()
	if d == nil {
		return
	}
	stopped := e.s.state() != Connecting || l.r.ctx.Err() != nil
	e.undial()
	e.undial = nil
	switch {
	case stopped:
		if d.err == nil {
			d.sock.Close()
		}
		if e.gone {
			l.release(e)
		}
	case d.err != nil:
		e.s.connectFailed(l.now, d.err)
	default:
		e.conn, e.sock = d.conn, d.sock
		e.sock.records = max(e.sock.records, 1) // the handshakes may have left something to be read, in several records
		e.s.connected(l.now, d.rest)
	}
}
