// This file tests what a loop does with the sockets of its shards, one turn at a
// time.

package engine

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zlib"

	"sluice/wire"
)

// scriptedConn is a connection whose reads follow a script.
type scriptedConn struct {
	net.Conn // nil: nothing else is called
	read     func(p []byte) (int, error)
	reads    int
	wrote    int // bytes
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	c.reads++
	return c.read(p)
}

func (c *scriptedConn) Write(p []byte) (int, error) {
	c.wrote += len(p)
	return len(p), nil
}

// rawStub is a socket that counts whether it is watched, if the poller has room for it.
type rawStub struct {
	rawSocket // nil
	full      error
	watched   int
}

func (*rawStub) Close() error { return nil }

func (s *rawStub) watch(_ int, was, want readiness) error {
	if want != 0 && s.full != nil {
		return s.full
	}
	s.watched += int(want&readable) - int(was&readable)
	return nil
}

// stubPoller is a poller that watches nothing.
type stubPoller struct{ poller }

func (stubPoller) wait([]readySlot, time.Duration) int { return 0 }
func (stubPoller) ring()                               {}
func (stubPoller) close()                              {}

// newLoop returns a loop with a shard that is ready for each connection.
func newLoop(t *testing.T, conns ...*scriptedConn) *loop {
	l := &loop{r: &loopReader{}, poller: stubPoller{}, buf: make([]byte, readBuffer), now: time.Now()}
	for i, c := range conns {
		p := plainPath(t)
		l.queue = p.s.queue
		e := &loopShard{s: p.s, loop: l, slot: i, at: -1, conn: c, sock: &socket{raw: &rawStub{}}}
		p.s.beat.at = l.now.Add(time.Hour)
		l.shards = append(l.shards, e)
		l.timers.set(e, p.s.due())
	}
	return l
}

// pings fills p with what needs no answer and makes no event.
func pings(p []byte) int {
	frame, err := ws.CompileFrame(ws.NewTextFrame([]byte(`{"op":11}`)))
	if err != nil {
		panic(err)
	}
	n := 0
	for n+len(frame) <= len(p) {
		n += copy(p[n:], frame)
	}
	return n
}

// A peer that sends without end has its turn, and then others have theirs.
func TestTurnIsBounded(t *testing.T) {
	c := &scriptedConn{}
	c.read = func(p []byte) (int, error) {
		if c.reads > 100 {
			return 0, errAgain
		}
		for i := range p { // a frame that fills it
			p[i] = 0
		}
		copy(p, []byte{0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 0})
		if c.reads > 1 {
			copy(p, "          ")
		}
		return len(p), nil
	}
	l := newLoop(t, c)
	l.read(l.shards[0])
	if want := turnBytes / readBuffer; c.reads != want {
		t.Errorf("%d reads in a turn, want %d", c.reads, want)
	}
}

// A heartbeat that becomes due while another shard reads is sent before the next
// shard reads.
func TestHeartbeatBetweenLongReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &scriptedConn{read: func(p []byte) (int, error) {
			time.Sleep(time.Second) // as inflating megabytes does
			return pings(p[:2*longRead]), nil
		}}
		other := &scriptedConn{}
		l := newLoop(t, slow, other)
		e := l.shards[1]
		e.s.beat.interval, e.s.beat.at = time.Minute, l.now.Add(time.Second/2)
		l.timers.set(e, e.s.due())
		l.read(l.shards[0])
		if other.wrote == 0 {
			t.Error("no heartbeat")
		}
	})
}

// A few bytes that inflate to much are a long read, too.
func TestHeartbeatBetweenInflatedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := &scriptedConn{}
		l := newLoop(t, other, &scriptedConn{})
		stream := record(t, wire.CompressionZlib, 0)
		p := newPath(t, wire.CompressionZlib, &stream)
		t.Cleanup(p.close)
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		fmt.Fprintf(z, `{"t":"A","s":2,"op":0,"d":"%s"}`, strings.Repeat("x", 3<<20))
		z.Flush()
		frame, err := ws.CompileFrame(ws.NewBinaryFrame(packed.Bytes()[2:]))
		if err != nil || len(frame) >= longRead {
			t.Fatal(len(frame), err)
		}
		slow := l.shards[1]
		slow.s, p.s.queue = p.s, l.queue
		slow.conn.(*scriptedConn).read = func(b []byte) (int, error) {
			time.Sleep(time.Second) // as inflating megabytes does
			return copy(b, frame), nil
		}
		e := l.shards[0]
		e.s.beat.interval, e.s.beat.at = time.Minute, l.now.Add(time.Second/2)
		l.timers.set(e, e.s.due())
		l.read(slow)
		if other.wrote == 0 || p.s.state() != Ready {
			t.Errorf("no heartbeat; the other shard is %v", p.s.state())
		}
	})
}

// What has no room is left in the system's buffers.
func TestFullQueueStopsReading(t *testing.T) {
	c := &scriptedConn{}
	l := newLoop(t, c)
	e := l.shards[0]
	ses := newSession("a", "", 0)
	for seq := int64(1); !l.queue.ring.Full(); seq++ {
		pushEvent(l.queue, ses, seq, 1<<20)
	}
	e.sock.raw.(*rawStub).watched, e.watched = 1, readable
	l.read(e)
	if c.reads != 0 || !e.s.paused || e.watched != 0 {
		t.Errorf("%d reads, paused %v, watched for %v", c.reads, e.s.paused, e.watched)
	}
}

// Without a session no event can come: the handshake goes on.
func TestFullQueueAndHandshake(t *testing.T) {
	c := &scriptedConn{}
	c.read = func(p []byte) (int, error) {
		f, err := ws.CompileFrame(ws.NewTextFrame([]byte(`{"op":10,"d":{"heartbeat_interval":41250}}`)))
		return copy(p, f), err
	}
	l := newLoop(t, c)
	e := l.shards[0]
	ses := newSession("a", "", 0)
	for seq := int64(1); !l.queue.ring.Full(); seq++ {
		pushEvent(l.queue, ses, seq, 1<<20)
	}
	e.s.disconnected(l.now, net.ErrClosed)
	l.now = e.s.retryAt
	e.s.step(l.now)
	e.s.hangup = false
	e.s.connected(l.now, nil)
	l.read(e)
	if e.s.state() != Resuming || c.wrote == 0 {
		t.Errorf("the shard is %v after Hello, and has written %d bytes", e.s.state(), c.wrote)
	}
	if l.read(e); c.reads != 1 || !e.s.paused {
		t.Errorf("%d reads, paused %v: what follows Resume are events", c.reads, e.s.paused)
	}
}

// A socket that the system's poller has no room for costs its connection alone.
func TestPollerFull(t *testing.T) {
	c := &scriptedConn{}
	l := newLoop(t, c)
	e := l.shards[0]
	e.sock.raw.(*rawStub).full = net.ErrClosed
	l.turn(e)
	if e.conn != nil || e.s.state() != Backoff || e.watched != 0 {
		t.Errorf("the shard is %v, its connection %v", e.s.state(), e.conn)
	}
}

// A bound smaller than the number of readers is one message for each of them.
func TestTinyQueue(t *testing.T) {
	r := &loopReader{queueBytes: 1}
	r.loops = []*loop{{r: r, poller: stubPoller{}}, {r: r, poller: stubPoller{}}}
	publisher := newPublisher(new(gatedSink), 0)
	r.start(publisher)
	r.wait()
	for _, o := range publisher.queues {
		if o.ring.Full() {
			t.Error("the queue is full before the first event")
		}
	}
}
