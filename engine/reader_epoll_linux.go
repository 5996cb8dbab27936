// This file is the reader of Linux: a few goroutines, each of which reads the
// sockets of many shards.

//go:build linux

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// readBuffer is what a loop reads into. A TLS record, 16 KiB at most, fits
	// whole, so that crypto/tls keeps nothing of it back.
	readBuffer = 64 << 10
	// turnBytes is what a shard may read before the others have their turn.
	turnBytes = 256 << 10
	// maxReady is how many sockets one epoll_wait tells.
	maxReady = 512
)

// epollReader divides the shards among its loops, where they stay.
type epollReader struct {
	ctx    context.Context // done when connections shall not be made any more
	dialer func(wrap func(net.Conn) net.Conn) dialFunc
	loops  []*epollLoop
	live   sync.WaitGroup // of loops
}

func newEpollReader(ctx context.Context, dialer func(func(net.Conn) net.Conn) dialFunc, loops int) (reader, error) {
	if loops <= 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	r := &epollReader{ctx: ctx, dialer: dialer}
	for range loops {
		l, err := newEpollLoop(r)
		if err != nil {
			for _, l := range r.loops {
				l.close()
			}
			return nil, fmt.Errorf("engine: epoll: %w", err)
		}
		r.loops = append(r.loops, l)
	}
	return r, nil
}

func (r *epollReader) start(shards []*shard) {
	for i, s := range shards {
		l := r.loops[i%len(r.loops)]
		e := &epollShard{s: s, loop: l, slot: len(l.shards), at: -1}
		l.shards = append(l.shards, e)
		s.link = e
	}
	for _, s := range shards {
		s.begin()
	}
	for _, l := range r.loops {
		r.live.Go(l.run)
	}
}

func (r *epollReader) wake(s *shard) {
	e := s.link.(*epollShard)
	if !e.woken.Swap(true) {
		e.loop.post(e)
	}
}

func (r *epollReader) wait() { r.live.Wait() }

// epollShard is the reader's handle of a shard. But for woken, and for dialed
// while the loop's lock is held, it belongs to the loop.
type epollShard struct {
	s    *shard
	loop *epollLoop
	slot int // in loop.shards

	conn    net.Conn // what is read and written: sock, or TLS over it; nil: none
	sock    *socket
	watched uint32 // events that epoll is asked for; 0: sock is not in the set
	unread  bool   // in loop.again
	stopped bool   // counted out of loop.running
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

// epollLoop is one goroutine with its epoll set.
type epollLoop struct {
	r      *epollReader
	fd     int // of the epoll set
	bell   int // an eventfd in the set, slot -1
	shards []*epollShard

	// owned by the goroutine
	buf     []byte
	timers  timers
	again   []*epollShard // that have more to be read than their turn allowed
	running int           // shards that have not stopped
	dialing int

	mu   sync.Mutex
	mail []*epollShard // woken, or with a dial that has ended
}

func newEpollLoop(r *epollReader) (*epollLoop, error) {
	l := &epollLoop{r: r, buf: make([]byte, readBuffer), fd: -1, bell: -1}
	var err error
	if l.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	bell, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		l.close()
		return nil, errno
	}
	l.bell = int(bell)
	if err := syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_ADD, l.bell, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: -1}); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *epollLoop) close() {
	syscall.Close(l.fd)
	if l.bell >= 0 {
		syscall.Close(l.bell)
	}
}

// post puts e into the loop's mail. Any goroutine may call it, as long as the
// shard has not stopped or a dial of it is under way.
func (l *epollLoop) post(e *epollShard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mail = append(l.mail, e)
	if len(l.mail) == 1 && l.bell >= 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		syscall.Write(l.bell, one[:]) // fails only when the bell rings already
	}
}

// run drives the loop's shards until all have stopped.
func (l *epollLoop) run() {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.close()
		l.bell = -1 // a late wake-up rings nothing
	}()
	l.running = len(l.shards)
	for _, e := range l.shards {
		l.turn(e, time.Now())
	}
	ready := make([]syscall.EpollEvent, maxReady)
	var mail, again []*epollShard
	for l.running > 0 || l.dialing > 0 {
		n, err := syscall.EpollWait(l.fd, ready, l.patience())
		if err != nil && err != syscall.EINTR {
			panic("engine: epoll_wait: " + err.Error()) // the descriptor is ours: a bug
		}
		now := time.Now()
		again, l.again = l.again, again[:0]
		for _, e := range again {
			e.unread = false
			l.read(e, now)
		}
		for i := range max(n, 0) {
			if slot := ready[i].Fd; slot >= 0 {
				l.ready(l.shards[slot], ready[i].Events, now)
				continue
			}
			var count [8]byte
			syscall.Read(l.bell, count[:])
		}
		l.mu.Lock()
		mail, l.mail = l.mail, mail[:0]
		l.mu.Unlock()
		for _, e := range mail {
			e.woken.Store(false)
			l.finishDial(e, now)
			l.turn(e, now)
		}
		for len(l.timers) > 0 && !l.timers[0].due.After(now) {
			l.turn(l.timers[0], now)
		}
	}
}

// patience returns how many milliseconds epoll_wait may take.
func (l *epollLoop) patience() int {
	switch {
	case len(l.again) > 0:
		return 0
	case len(l.timers) == 0:
		return -1
	}
	wait := time.Until(l.timers[0].due)
	return int(min(max(0, (wait+time.Millisecond-1)/time.Millisecond), 1<<30))
}

// turn does what is due for a shard, and then what it asks for.
func (l *epollLoop) turn(e *epollShard, now time.Time) {
	if e.s.state() != Stopped {
		e.s.step(now)
	}
	l.settle(e, now)
}

// ready serves a socket that epoll has told of.
func (l *epollLoop) ready(e *epollShard, events uint32, now time.Time) {
	if e.conn == nil {
		return // closed since
	}
	if events&syscall.EPOLLOUT != 0 {
		if err := e.sock.flush(); err != nil {
			e.s.disconnected(now, err)
			l.settle(e, now)
			return
		}
	}
	if events&^syscall.EPOLLOUT != 0 && !e.unread {
		l.read(e, now)
		return
	}
	l.settle(e, now)
}

// read reads what has arrived, as far as a turn goes.
func (l *epollLoop) read(e *epollShard, now time.Time) {
	for left := turnBytes; e.conn != nil && !e.s.hangup && !e.s.paused; {
		n, err := e.conn.Read(l.buf)
		if n > 0 {
			e.sock.records--
			left -= n
			e.s.feed(now, l.buf[:n])
		}
		if errors.Is(err, errAgain) {
			e.sock.records = 0
			break
		}
		if err != nil {
			e.s.disconnected(now, err)
			break
		}
		// A read that came back short has emptied the socket.
		if left <= 0 || n < len(l.buf) && e.sock.records <= 0 {
			break
		}
	}
	// What was read may have made something due: timers, commands.
	l.turn(e, now)
}

// settle does what the shard asks for: writes, hangs up, connects, pauses.
func (l *epollLoop) settle(e *epollShard, now time.Time) {
	s := e.s
	for e.conn != nil && (s.hangup || len(s.out) > 0) {
		var err error
		if len(s.out) > 0 {
			_, err = e.conn.Write(s.out)
			s.out = s.out[:0]
		}
		if s.hangup {
			l.hangUp(e)
		} else if err != nil {
			s.disconnected(now, err)
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
		l.watch(e)
		if e.sock.records > 0 && !s.paused && !e.unread {
			// Whole records wait in crypto/tls: epoll does not know of them.
			e.unread = true
			l.again = append(l.again, e)
		}
	}
	l.timers.set(e, s.due())
}

// hangUp closes the connection without waiting for the peer. What the kernel
// did not take of the close frame is not sent.
func (l *epollLoop) hangUp(e *epollShard) {
	if e.watched != 0 {
		syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_DEL, e.sock.fd, nil)
	}
	e.sock.Close()
	e.conn, e.sock, e.watched = nil, nil, 0
	e.s.hangup, e.s.out = false, nil
}

// watch tells epoll what to look for. A shard that is paused is taken out of the
// set: an error of its socket would be told again and again.
func (l *epollLoop) watch(e *epollShard) {
	var want uint32
	if !e.s.paused {
		want = syscall.EPOLLIN | syscall.EPOLLRDHUP
	}
	if len(e.sock.out) > 0 {
		want |= syscall.EPOLLOUT
	}
	if want == e.watched {
		return
	}
	op := syscall.EPOLL_CTL_MOD
	switch {
	case want == 0:
		op = syscall.EPOLL_CTL_DEL
	case e.watched == 0:
		op = syscall.EPOLL_CTL_ADD
	}
	if err := syscall.EpollCtl(l.fd, op, e.sock.fd, &syscall.EpollEvent{Events: want, Fd: int32(e.slot)}); err != nil {
		panic("engine: epoll_ctl: " + err.Error()) // the descriptors are ours: a bug
	}
	e.watched = want
}

// dial makes the connection that the shard asks for, on a goroutine of its own.
func (l *epollLoop) dial(e *epollShard) {
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
			if err = sock.adopt(); err != nil {
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
func (l *epollLoop) finishDial(e *epollShard, now time.Time) {
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
			e.dialed = new(dialed) // nothing more is dialed until the mail that stops it
		}
	case d.err != nil:
		e.s.connectFailed(now, d.err)
	default:
		e.conn, e.sock = d.conn, d.sock
		e.sock.records = 1 // the handshakes may have left something to be read
		e.s.connected(now, d.rest)
	}
}
