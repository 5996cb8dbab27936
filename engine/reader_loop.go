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
	// maxTold is how many sockets one wait tells.
	maxTold = 512
)

// loopReader divides the shards among its loops, where they stay.
type loopReader struct {
	ctx        context.Context // done when connections shall not be made any more
	dialer     func(wrap func(net.Conn) net.Conn) dialFunc
	pace       time.Duration
	queueBytes int
	loops      []*loop
	live       sync.WaitGroup // of loops
}

func newLoopReader(ctx context.Context, dialer func(func(net.Conn) net.Conn) dialFunc, o *Options) (reader, error) {
	loops := o.Readers
	if loops <= 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	r := &loopReader{ctx: ctx, dialer: dialer, pace: o.Pace, queueBytes: o.QueueBytes}
	for range loops {
		p, err := o.newPoller()
		if err != nil {
			for _, l := range r.loops {
				l.poller.close()
			}
			return nil, err
		}
		r.loops = append(r.loops, &loop{r: r, poller: p, buf: make([]byte, readBuffer)})
	}
	return r, nil
}

func (r *loopReader) start(shards []*shard, to *publisher) {
	for _, l := range r.loops {
		l.queue = to.newQueue(max(r.queueBytes/len(r.loops), 1), 0) // 0 would be always full
	}
	for i, s := range shards {
		l := r.loops[i%len(r.loops)]
		e := &loopShard{s: s, loop: l, slot: len(l.shards), at: -1}
		l.shards = append(l.shards, e)
		s.waker, s.queue = e, l.queue
	}
	for _, s := range shards {
		s.begin()
	}
	for _, l := range r.loops {
		r.live.Go(l.run)
	}
}

// wakeOwner gives the shard a turn.
func (e *loopShard) wakeOwner() {
	if !e.woken.Swap(true) {
		e.loop.post(e)
	}
}

func (r *loopReader) wait() { r.live.Wait() }

// loopShard is the reader's handle of a shard. But for woken, and for dialed
// while the loop's lock is held, it belongs to the loop.
type loopShard struct {
	s    *shard
	loop *loop
	slot int // in loop.shards

	conn    net.Conn // what is read and written: sock, or TLS over it; nil: none
	sock    *socket
	watched readiness // what the poller watches sock for
	unread  bool      // in loop.again
	stopped bool      // counted out of loop.running
	due     time.Time
	at      int // in the timers

	woken  atomic.Bool
	dialed *dialed
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
	r      *loopReader
	poller poller
	shards []*loopShard

	// owned by the goroutine
	queue   *queue
	buf     []byte
	now     time.Time // as of the last look at the clock
	timers  timers
	worked  int          // bytes, inflated, since the last look at the clock
	busy    bool         // a socket had a burst since the last wait
	again   []*loopShard // that have more to be read than their turn allowed
	running int          // shards that have not stopped
	dialing int

	mu    sync.Mutex
	woken []*loopShard // woken, or with a dial that has ended
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

// run drives the loop's shards until all have stopped.
func (l *loop) run() {
	defer l.poller.close()
	l.running = len(l.shards)
	l.now = time.Now()
	for _, e := range l.shards {
		l.turn(e)
	}
	told := make([]readySlot, maxTold)
	var woken, again []*loopShard
	for l.running > 0 || l.dialing > 0 {
		l.rest()
		n := l.poller.wait(told, l.patience())
		l.now = time.Now()
		again, l.again = l.again, again[:0]
		for _, e := range again {
			e.unread = false
			l.read(e)
		}
		for _, t := range told[:n] {
			l.ready(l.shards[t.slot], t.what)
		}
		l.mu.Lock()
		woken, l.woken = l.woken, woken[:0]
		l.mu.Unlock()
		for _, e := range woken {
			e.woken.Store(false)
			l.finishDial(e)
			l.turn(e)
		}
		l.tick()
		l.queue.publish()
	}
}

// rest lets the pace pass since the last look, while the publisher works. It does not
// when much arrives on one socket: that would fill its window and stop the sender.
func (l *loop) rest() {
	busy := l.busy || len(l.again) > 0
	l.busy = false
	if busy {
		return
	}
	if d := l.r.pace - time.Since(l.now); d > 0 {
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

// ready serves a socket that epoll has told of.
func (l *loop) ready(e *loopShard, what readiness) {
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
	case s.state() == Stopped && !e.stopped:
		e.stopped = true
		l.running--
	case s.state() == Connecting && e.conn == nil && e.dialed == nil:
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
	if raw := e.sock.raw; e.s.state() == Stopped {
		// What was sent last may be commands, which nobody sends again.
		l.r.live.Go(func() { raw.linger(farewellTimeout) })
	} else {
		raw.Close()
	}
	e.conn, e.sock, e.watched = nil, nil, 0
	e.s.hangup, e.s.out = false, nil
}

// watch tells the poller what to look for.
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
	e.dialed = new(dialed)
	l.dialing++
	go func() {
		var sock *socket
		conn, rest, err := l.r.dialer(func(c net.Conn) net.Conn {
			sock = &socket{conn: c, tls: target.Scheme == "wss"}
			return sock
		})(l.r.ctx, target)
		if err == nil {
			if err = sock.adopt(l.poller); err != nil {
				sock.Close()
			}
		}
		l.mu.Lock()
		*e.dialed = dialed{conn, sock, rest, err}
		l.mu.Unlock()
		l.post(e)
	}()
}

// finishDial gives the shard the connection that was made for it.
func (l *loop) finishDial(e *loopShard) {
	l.mu.Lock()
	var d dialed
	if e.dialed != nil && (e.dialed.conn != nil || e.dialed.err != nil) {
		d, e.dialed = *e.dialed, nil
	}
	l.mu.Unlock()
	if d.conn == nil && d.err == nil {
		return
	}
	l.dialing--
	switch {
	case e.s.state() != Connecting || l.r.ctx.Err() != nil: // the engine stops
		if d.err == nil {
			d.sock.Close()
		}
		if e.s.state() == Connecting {
			e.dialed = new(dialed) // nothing more is dialed until the wakeup that stops it
		}
	case d.err != nil:
		e.s.connectFailed(l.now, d.err)
	default:
		e.conn, e.sock = d.conn, d.sock
		e.sock.records = max(e.sock.records, 1) // the handshakes may have left something to be read, in several records
		e.s.connected(l.now, d.rest)
	}
}
