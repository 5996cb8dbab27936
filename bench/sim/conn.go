// This file is a connection: its queue, its writer and its end. What it reads
// is in receive.go.

package sim

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/wire"
)

// state is how far a connection has come.
type state int

const (
	stateNew     state = iota // HELLO is in flight, neither Identify nor Resume went well
	stateWaiting              // identified, READY is to come
	stateReady                // READY or RESUMED is in the queue
)

// conn is one WebSocket connection.
type conn struct {
	srv        *Server
	id         int64
	host       string // role of the listener
	hostNumber int    // which connection of the host it is, from 1
	refused    bool   // by its query: it is closed at once
	query      string // v, encoding, compress, in that form
	version    int
	compress   string
	nc         net.Conn // of the WebSocket, TLS or not

	done     chan struct{} // closed when the connection is over
	wake     chan struct{} // capacity 1: the queue or the recording has something
	overOnce sync.Once

	mute  atomic.Bool // half-open: nothing is written, nothing read is looked at
	noACK atomic.Bool
	// starved: no event is written, whatever the session gets.
	starved atomic.Bool

	mu      sync.Mutex
	queue   []item
	queued  int // bytes in queue
	state   state
	sess    *session
	about   *session // sess, or the last one that was attached or asked for
	shard   int      // -1 before Identify or Resume
	number  int      // which connection of the shard it is, from 1
	closing bool     // a close frame or a cut is in the queue: nothing after it is sent
	over    bool
	closed  bool // the ledger has the close
	events  int  // dispatches queued on this connection
	beats   int  // heartbeats received
	plan    []planned
	timers  []*time.Timer
	silence *time.Timer // closes a client that does not heartbeat
	payload bool        // payload compression

	// Owned by the writer.
	enc      encoder
	wbuf     []byte
	seqs     []int64 // dispatches in wbuf
	seqLog   *sessionLog
	playNext int // message of the recording that the compressor is ready to go on with, -1
	split    splitMode
	splitRNG *rand.Rand

	// Owned by the reader.
	sends     []time.Time // in the last SendWindow
	presences []time.Time
}

// item is something for the writer: a message, a control frame or an action.
type item struct {
	msg    []byte // a message; shared with the replay buffer, never changed
	seq    int64  // of a dispatch
	log    *sessionLog
	frame  []byte // a whole control frame
	last   bool   // nothing follows, the writer ends
	action *Action
}

// push puts it into the queue.
func (c *conn) push(it item) {
	c.mu.Lock()
	c.pushLocked(it)
	c.mu.Unlock()
}

func (c *conn) pushLocked(it item) {
	if c.closing || c.over || it.seq != 0 && c.starved.Load() {
		return
	}
	c.queue = append(c.queue, it)
	c.queued += len(it.msg)
	c.closing = it.last
	if it.seq != 0 {
		c.events++
		for len(c.plan) > 0 && c.plan[0].after <= c.events && !c.closing {
			a := c.plan[0].action
			c.plan = c.plan[1:]
			c.actLocked(a)
		}
	}
	c.wakeWriter()
}

func (c *conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// send queues a message that is not a dispatch.
func (c *conn) send(msg string) { c.push(item{msg: []byte(msg)}) }

// later runs f after d unless the connection is over by then. With no delay it
// runs f at once.
func (c *conn) later(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.timers = append(c.timers, time.AfterFunc(d, func() {
		if !c.isOver() {
			f()
		}
	}))
}

// soon runs f on a goroutine of its own, for callers that hold locks f takes.
func (c *conn) soon(f func()) { go f() }

func (c *conn) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// current returns the session, nil before READY and RESUMED.
func (c *conn) current() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sess
}

// write is the writer.
func (c *conn) write() {
	defer c.srv.wg.Done()
	defer func() {
		if c.enc != nil {
			c.enc.release()
		}
	}()
	var items []item
	for {
		c.mu.Lock()
		items, c.queue, c.queued = c.queue, items[:0], 0
		c.mu.Unlock()
		if len(items) == 0 {
			more, ok := c.writeRecorded()
			if !ok {
				return
			}
			if more {
				continue
			}
			select {
			case <-c.wake:
			case <-c.done:
				return
			}
			continue
		}
		if !c.writeItems(items) {
			return
		}
		if cap(items) > 1024 {
			items = nil
		}
		clear(items)
	}
}

// writeItems writes a batch and reports whether the writer goes on.
func (c *conn) writeItems(items []item) bool {
	for _, it := range items {
		switch {
		case it.action != nil:
			if !c.flush() || !c.perform(it.action) {
				return false
			}
		case it.frame != nil:
			c.wbuf = append(c.wbuf, it.frame...)
		default:
			if it.log != nil && it.log != c.seqLog {
				if !c.flush() {
					return false
				}
				c.seqLog = it.log
			}
			if !c.appendMessage(it.msg) {
				return false
			}
			c.playNext = -1
			if it.seq != 0 {
				c.seqs = append(c.seqs, it.seq)
			}
		}
		if it.last {
			if c.flush() {
				c.finish()
			}
			return false
		}
		if len(c.wbuf) >= 32<<10 && !c.flush() {
			return false
		}
	}
	return c.flush()
}

// flush writes what was gathered and reports whether the connection lives.
func (c *conn) flush() bool {
	if len(c.wbuf) == 0 {
		return true
	}
	buf := c.wbuf
	c.wbuf = c.wbuf[:0]
	if cap(c.wbuf) > 64<<10 {
		c.wbuf = nil
	}
	seqs := c.seqs
	c.seqs = c.seqs[:0]
	if c.mute.Load() {
		return true
	}
	if len(seqs) > 0 {
		// Before the write: a client may have an event before Write returns.
		c.noteWritten(c.seqLog, seqs)
	}
	if err := c.writeRaw(buf); err != nil {
		c.drop()
		return false
	}
	return true
}

// noteWritten records in the ledger, and for whoever asked, what is about to be
// written.
func (c *conn) noteWritten(log *sessionLog, seqs []int64) {
	c.srv.ledger.written(log, seqs)
	if f := c.srv.opt.OnWrite; f != nil {
		f(log.info.Shard, seqs)
	}
}

// writeRaw writes to the socket, in pieces if a fault asked for it.
func (c *conn) writeRaw(buf []byte) error {
	for c.split&splitWrites != 0 && len(buf) > 1 {
		n := 1 + c.splitRNG.IntN(min(len(buf)-1, 4096))
		if _, err := c.nc.Write(buf[:n]); err != nil {
			return err
		}
		buf = buf[n:]
		if c.splitRNG.IntN(8) == 0 {
			// Long enough for the peer to see the first piece alone.
			select {
			case <-time.After(time.Millisecond):
			case <-c.done:
			}
		}
	}
	_, err := c.nc.Write(buf)
	return err
}

// finish ends the connection after a close frame: the writing direction is
// closed, the reader goes on until the client closes, though not for ever, so
// that unread input does not turn the end into a reset.
func (c *conn) finish() {
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok {
		cw.CloseWrite()
	}
	c.later(2*time.Second, c.drop)
}

// close queues a close frame. 1005 stands for one without a code.
func (c *conn) close(code wire.CloseCode, reason string) {
	c.mu.Lock()
	c.closeLocked(code, reason)
	c.mu.Unlock()
}

func (c *conn) closeLocked(code wire.CloseCode, reason string) {
	if c.closing || c.over {
		return
	}
	c.noteCloseLocked(false, code, reason)
	c.pushLocked(item{frame: appendClose(nil, code, reason), last: true})
}

// closeForLocked queues a close frame and ends the session that the connection is
// about, if the code is one that ends sessions.
func (c *conn) closeForLocked(code wire.CloseCode, reason string) {
	c.closeLocked(code, reason)
	if s := c.about; s != nil && endsSession(code) {
		c.soon(func() { s.endFor(c, EndServer) })
	}
}

// noteCloseLocked writes the first close of the connection into the ledger.
func (c *conn) noteCloseLocked(fromClient bool, code wire.CloseCode, reason string) {
	if c.closed {
		return
	}
	c.closed = true
	e := Close{Time: time.Now(), Conn: c.id, Shard: c.shard, FromClient: fromClient, Code: code, Reason: reason}
	if c.sess != nil {
		e.Session = c.sess.id
	}
	l := c.srv.ledger
	l.with(func() { l.closes.add(e) })
	c.srv.opt.Log.Info("closed", "conn", c.id, "shard", c.shard, "by_client", fromClient, "code", int(code), "reason", reason)
}

// drop ends the connection at once, without a close frame.
func (c *conn) drop() { c.cut(false) }

// cut ends the connection at once, with a FIN or an RST under whatever lies
// above TCP.
func (c *conn) cut(rst bool) {
	c.overOnce.Do(func() {
		c.mu.Lock()
		c.noteCloseLocked(false, wire.CloseAbnormal, "")
		c.over, c.queue = true, nil
		for _, t := range c.timers {
			t.Stop()
		}
		c.timers = nil
		if c.silence != nil {
			c.silence.Stop()
		}
		c.mu.Unlock()
		close(c.done)
		if rst {
			reset(rawConn(c.nc))
		} else {
			rawConn(c.nc).Close()
		}
	})
}

func rawConn(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}

// fail closes the connection with a code and ends the session if the code is
// one after which there is nothing to resume.
func (c *conn) fail(code wire.CloseCode, reason string) {
	if s := c.current(); s != nil && endsSession(code) {
		s.endIf(c, EndServer)
	}
	c.close(code, reason)
}

// endsSession says after which codes Discord has no session to resume.
func endsSession(code wire.CloseCode) bool {
	switch code {
	case wire.CloseNotAuthenticated, wire.CloseSessionInvalid, wire.CloseInvalidSeq, wire.CloseSessionTimedOut,
		wire.CloseAuthenticationFailed, wire.CloseInvalidShard, wire.CloseShardingRequired,
		wire.CloseInvalidVersion, wire.CloseInvalidIntents, wire.CloseDisallowedIntents:
		return true
	}
	return false
}
