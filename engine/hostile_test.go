// This file has a shard's peer send what Discord does not: each must cost the connection at
// most, and no more than it is worth.

package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zlib"

	"sluice/wire"
)

// zeros is n zeros in a list, without its end: it compresses a thousandfold.
func zeros(n int) string { return strings.Repeat("0,", n/2) }

// words is n bytes that compress as text does.
func words(n int) string {
	text := someWords()
	return strings.Repeat(text, n/len(text)+1)[:n]
}

// someWords is a MiB of text, more than a window.
var someWords = sync.OnceValue(func() string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < 1<<20 {
		fmt.Fprintf(&b, "member %d of this guild, whose roles nobody has counted; ", r.IntN(1e6))
	}
	return b.String()
})

// loggedPath returns a path whose log is kept, with a budget as a running engine has.
func loggedPath(t *testing.T, c wire.Compression) (p *path, log *bytes.Buffer) {
	stream := record(t, c, 0)
	p = newPath(t, c, &stream)
	t.Cleanup(p.close)
	log = new(bytes.Buffer)
	p.s.log = slog.New(slog.NewTextHandler(log, nil))
	return p, log
}

// again makes the shard's next connection, up to before its Hello.
func (p *path) again() {
	p.now = p.s.retryAt
	p.s.step(p.now)
	p.s.connected(p.now, nil)
}

// binary has a binary message arrive.
func (p *path) binary(payload []byte) {
	b, err := ws.CompileFrame(ws.NewBinaryFrame(payload))
	if err != nil {
		panic(err)
	}
	p.read(b)
}

const helloText = `{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}`

// A text message is JSON, whatever compression was asked for.
func TestTextIsJSON(t *testing.T) {
	for _, c := range []wire.Compression{wire.CompressionZstd, wire.CompressionZlib, wire.CompressionPayload, wire.CompressionNone} {
		p, _ := loggedPath(t, c)
		p.event(2)
		p.event(3)
		if p.drain(); p.s.state() != Ready || p.sink.events != 3 {
			t.Errorf("%v: the shard is %v, %d events", c, p.s.state(), p.sink.events)
		}
	}
}

// What is not compressed as it was asked for says which setting is about that.
func TestCompressionNamed(t *testing.T) {
	for _, c := range []wire.Compression{wire.CompressionZstd, wire.CompressionZlib, wire.CompressionPayload, wire.CompressionNone} {
		p, log := loggedPath(t, c)
		p.binary([]byte("no stream that anybody knows\x00\x00\xff\xff")) // with zlib's marker
		if want := fmt.Sprintf("compression = \\\"%v\\\"", c); p.s.state() != Backoff || !strings.Contains(log.String(), want) {
			t.Errorf("the shard is %v; no %s in %s", p.s.state(), want, log)
		}
	}
	// A zlib message of which no end comes is found when there is no Hello.
	p, log := loggedPath(t, wire.CompressionZlib)
	p.s.disconnected(p.now, nil)
	p.again()
	p.binary([]byte("\x78\x9cwhatever"))
	p.now = p.s.helloBy
	p.s.step(p.now)
	if p.s.state() != Backoff || !strings.Contains(log.String(), "10 bytes came") || !strings.Contains(log.String(), "zlib-stream") {
		t.Errorf("the shard is %v: %s", p.s.state(), log)
	}
}

// Until Identify or Resume is sent a message has little to say.
func TestHandshakeBound(t *testing.T) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	fmt.Fprintf(z, `{"op":10,"d":{"heartbeat_interval":41250,"x":[%s0]}}`, zeros(32<<20))
	z.Flush()
	for name, send := range map[string]func(p *path){
		"hello": func(p *path) {
			p.text(`{"op":10,"d":{"heartbeat_interval":41250,"x":[` + zeros(handshakeMessage) + `0]}}`)
		},
		"frame announced": func(p *path) {
			p.s.feed(p.now, []byte{0x82, 127, 0, 0, 0, 0, 0, 2, 0, 0})
		},
		"hello of more than it may hold": func(p *path) {
			p.text(`{"op":10,"d":{"heartbeat_interval":41250,"x":[` + zeros(wire.MaxControl) + `0]}}`)
		},
		"inflated": func(p *path) { p.binary(packed.Bytes()) },
	} {
		p, log := loggedPath(t, wire.CompressionZlib)
		p.s.disconnected(p.now, nil)
		p.again()
		send(p)
		if p.s.state() != Backoff || !strings.Contains(log.String(), "code=1009") {
			t.Errorf("%s: the shard is %v: %s", name, p.s.state(), log)
		}
		// The bound ends with the handshake.
		p.again()
		p.text(helloText)
		p.text(`{"t":"A","s":2,"op":0,"d":[` + zeros(1<<20) + `0]}`)
		if p.drain(); p.s.state() != Resuming || p.sink.events != 2 {
			t.Errorf("%s: then the shard is %v with %d events: %s", name, p.s.state(), p.sink.events, log)
		}
	}
}

// A payload that is no event is small at any time.
func TestControlBound(t *testing.T) {
	for _, op := range []wire.Opcode{wire.OpHeartbeat, wire.OpReconnect, wire.OpInvalidSession, wire.OpHello, wire.OpHeartbeatACK, 99} {
		p, log := loggedPath(t, wire.CompressionNone)
		p.text(fmt.Sprintf(`{"op":%d,"d":[%s0]}`, op, zeros(wire.MaxControl)))
		if p.s.state() != Backoff || !strings.Contains(log.String(), "code=1009") {
			t.Errorf("op %d: the shard is %v: %s", op, p.s.state(), log)
		}
	}
}

// A sequence number that nobody can have counted up to breaks the connection, and not the
// session: the next event is the one behind the last.
func TestSeqJumps(t *testing.T) {
	p, log := loggedPath(t, wire.CompressionNone)
	p.event(2)
	p.event(9_000_000_000_000_000_000)
	if p.s.state() != Backoff || p.s.plan != nextResume || !strings.Contains(log.String(), "jumps from 2 to 9000000000000000000") {
		t.Fatalf("the shard is %v: %s", p.s.state(), log)
	}
	p.again()
	p.text(helloText)
	p.event(3)
	p.event(4 + maxSeqJump/2)
	p.event(5 + maxSeqJump/2)
	if p.drain(); p.s.state() != Resuming || p.sink.events != 5 {
		t.Errorf("the shard is %v, %d events: %s", p.s.state(), p.sink.events, log)
	}
	// A peer that goes on so costs the session in the end.
	for range maxResumeFailures + 1 {
		p.event(1 << 60)
		if p.s.plan == nextIdentify {
			break
		}
		p.again()
		p.text(helloText)
	}
	if p.s.plan != nextIdentify || p.s.session != nil {
		t.Error("the session is never given up")
	}
}

// The same behind each RESUMED, which is an event like others.
func TestSeqJumpsBehindResumed(t *testing.T) {
	p, _ := loggedPath(t, wire.CompressionNone)
	p.event(2)
	for seq := int64(3); p.s.session != nil; seq++ {
		if p.event(1 << 60); p.s.state() != Backoff || seq > 20 {
			t.Fatalf("the shard is %v after %d connections", p.s.state(), seq-2)
		}
		if p.s.plan == nextResume {
			p.again()
			p.text(helloText)
			p.text(fmt.Sprintf(`{"t":"RESUMED","s":%d,"op":0,"d":{}}`, seq))
		}
	}
	if p.s.plan != nextIdentify || p.s.counters.resumes.Load() != maxOddSeqs-1 {
		t.Errorf("%d resumes", p.s.counters.resumes.Load())
	}
}

// An event's name becomes a stream, a key, a routing key.
func TestEventNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"A": true, "MESSAGE_CREATE": true, "X_1": true, strings.Repeat("A", 64): true,
		"": false, strings.Repeat("A", 65): false, "message": false, "A B": false, "A:B": false, "É": false, `A\u0000`: false,
	} {
		p, log := loggedPath(t, wire.CompressionNone)
		p.text(fmt.Sprintf(`{"t":"%s","s":2,"op":0,"d":{}}`, name))
		if p.drain(); (p.s.state() == Ready) != ok || (p.sink.events == 2) != ok {
			t.Errorf("%q: the shard is %v, %d events: %s", name, p.s.state(), p.sink.events, log)
		}
	}
}

// A READY that waits for the store counts against the budget, until it does not.
func TestHeldCounts(t *testing.T) {
	for _, stored := range []bool{true, false} {
		p, _ := loggedPath(t, wire.CompressionNone)
		p.s.env.saver = newSaver(nil)
		p.s.env.arriving = wire.NewBudget(0, 0) // 8 MiB
		free := func() bool {
			all := wire.Share{Budget: p.s.env.arriving}
			defer all.Hold(0)
			return all.Hold(8<<20) == nil
		}
		p.text(`{"op":9,"d":false}`)
		p.now = p.s.retryAt
		p.s.step(p.now)
		p.again2()
		p.text(`{"t":"READY","s":1,"op":0,"d":{"session_id":"b","x":"` + words(1<<20) + `"}}`)
		if p.s.held == nil || free() {
			t.Fatal("the event is not held, or not counted")
		}
		if stored {
			p.s.session.persisted.Store(true)
			p.s.wake(wakePersisted)
			p.s.step(p.now)
		} else {
			p.s.disconnected(p.now, nil)
		}
		if p.s.held != nil || !free() {
			t.Errorf("stored %v: the event is held, or counted", stored)
		}
	}
}

// Numbers that have begun anew drop every event; not for ever, and not in silence.
func TestSeqRepeats(t *testing.T) {
	p, log := loggedPath(t, wire.CompressionNone)
	p.event(500_000)
	for range maxRepeats {
		p.event(3)
	}
	if p.s.state() != Ready {
		t.Fatalf("the shard is %v", p.s.state())
	}
	p.event(3)
	if p.s.state() != Backoff || !strings.Contains(log.String(), "10001 events in a row") || strings.Count(log.String(), "duplicate events dropped") != 1 {
		t.Errorf("the shard is %v: %s", p.s.state(), log)
	}
}

// READY begins a session with an id that can be stored and a number that can be counted from.
func TestReadyRefused(t *testing.T) {
	ready := func(seq, id string) string {
		return fmt.Sprintf(`{"t":"READY","s":%s,"op":0,"d":{"session_id":%q,"guilds":[]}}`, seq, id)
	}
	for _, text := range []string{
		ready("0", "a"), ready("-1", "a"), ready("null", "a"), ready("9000000000000000000", "a"), ready("1", ""), ready("1", "a b"), ready("1", strings.Repeat("a", 5000)),
	} {
		p, log := loggedPath(t, wire.CompressionNone)
		p.text(`{"op":9,"d":false}`)
		p.now = p.s.retryAt
		p.s.step(p.now) // the turn
		p.again2()
		p.text(text)
		if p.s.state() != Backoff || p.s.session != nil {
			t.Errorf("%.80s: the shard is %v: %s", text, p.s.state(), log)
		}
	}
}

// again2 makes the next connection of a shard that has its identify turn, up to Identify.
func (p *path) again2() {
	p.s.step(p.now)
	p.s.connected(p.now, nil)
	p.text(helloText)
	p.now = p.now.Add(identifyWindow)
	p.s.step(p.now)
}

// A Resume that is answered with another session has lost the first: consumers are told.
func TestResumeAnsweredWithReady(t *testing.T) {
	p, log := loggedPath(t, wire.CompressionNone)
	p.s.env.opts.Gaps = true
	p.event(2)
	p.s.disconnected(p.now, nil)
	p.again()
	p.text(helloText)
	p.text(`{"t":"READY","s":1,"op":0,"d":{"session_id":"other","guilds":[]}}`)
	if p.s.state() != Ready || p.s.session.id != "other" || !strings.Contains(log.String(), "session lost") {
		t.Fatalf("the shard is %v: %s", p.s.state(), log)
	}
	if p.drain(); p.s.counters.gaps.Load() != 1 || p.s.counters.lost.Load() != 1 {
		t.Errorf("%d gaps, %d sessions lost", p.s.counters.gaps.Load(), p.s.counters.lost.Load())
	}
}

// READY on a connection that is ready begins another session, and is not dropped as repeated; nor
// is one whose numbers begin anew under the old id.
func TestReadyAgain(t *testing.T) {
	for _, id := range []string{"other", "abc"} {
		p, log := loggedPath(t, wire.CompressionNone)
		p.s.env.opts.Gaps = true
		p.event(300)
		p.text(`{"t":"READY","s":1,"op":0,"d":{"session_id":"` + id + `","guilds":[]}}`)
		for seq := int64(2); seq <= 20; seq++ {
			p.event(seq)
		}
		if p.drain(); p.s.state() != Ready || p.s.session.id != id || p.s.session.seq() != 20 || p.sink.events != 2+1+20 {
			t.Errorf("%s: the shard is %v, %d events, seq %d: %s", id, p.s.state(), p.sink.events, p.s.session.seq(), log)
		}
		if p.s.counters.gaps.Load() != 1 || !strings.Contains(log.String(), "session lost") {
			t.Errorf("%s: %d gaps: %s", id, p.s.counters.gaps.Load(), log)
		}
	}
	// One that is replayed is just that.
	p, log := loggedPath(t, wire.CompressionNone)
	p.event(2)
	p.event(3)
	p.text(`{"t":"READY","s":1,"op":0,"d":{"session_id":"abc","guilds":[]}}`)
	p.event(4)
	if p.drain(); p.s.counters.lost.Load() != 0 || p.s.session.seq() != 4 || p.sink.events != 4 {
		t.Errorf("%d events, %s", p.sink.events, log)
	}
}

// What arrives at once and inflates to much is worked through in turns, so that other shards
// have theirs.
func TestTurnWork(t *testing.T) {
	for _, c := range []wire.Compression{wire.CompressionZlib, wire.CompressionPayload} {
		p, _ := loggedPath(t, c)
		var frames []byte
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		for seq := 2; len(frames) < readBuffer; seq++ {
			packed.Reset()
			if c == wire.CompressionPayload {
				z.Reset(&packed)
			}
			fmt.Fprintf(z, `{"t":"A","s":%d,"op":0,"d":[%s0]}`, seq, zeros(200<<10))
			if z.Flush(); c == wire.CompressionPayload {
				z.Close()
			} else if seq == 2 {
				packed.Next(2) // the stream has begun
			}
			b, _ := ws.CompileFrame(ws.NewBinaryFrame(packed.Bytes()))
			frames = append(frames, b...)
		}
		n := copy(p.socket[:], frames)
		p.s.feed(p.now, p.socket[:n])
		turns := 1
		for before := p.s.session.seq(); p.s.more; turns++ {
			if after := p.s.session.seq(); (after-before)*200<<10 > turnWork+400<<10 {
				t.Fatalf("%v: %d events in a turn", c, after-before)
			}
			before = p.s.session.seq()
			clear(p.socket[:]) // what was borrowed is not used any more
			p.s.received(p.now)
		}
		whole := p.s.session.seq()
		if p.s.state() != Ready || turns < 20 || whole < 100 {
			t.Errorf("%v: %d turns, seq %d, the shard is %v", c, turns, whole, p.s.state())
		}
	}
}

// An event that fills a large buffer takes it along; nothing of it stays counted.
func TestLargeEventTaken(t *testing.T) {
	p, log := loggedPath(t, wire.CompressionZlib)
	p.s.env.bounds.Turns = wire.NewTurns(1)
	p.s.disconnected(p.now, nil)
	p.again()
	p.text(helloText)
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write([]byte(words(30 << 20)))
	z.Flush()
	large := b.Bytes()
	sizes := []int{100, 600 << 10, 900 << 10, 5 << 20, 7 << 20, 60 << 20, 300}
	if testing.Short() {
		sizes = slices.DeleteFunc(sizes, func(n int) bool { return n == 60<<20 })
	}
	for i, n := range sizes {
		data := fmt.Appendf(nil, `"%d %s"`, i, words(n))
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		fmt.Fprintf(z, `{"t":"A","s":%d,"op":0,"d":%s}`, i+2, data)
		z.Flush()
		if i > 0 {
			packed.Next(2)
		}
		p.binary(packed.Bytes())
		p.s.queue.publish()
		events := p.publisher.take()
		// Another's turn has come, while the event is still the sink's.
		other, err := wire.NewInflater(wire.CompressionZlib, 0, p.s.env.bounds)
		if err != nil {
			t.Fatal(err)
		}
		if out, complete, err := other.Inflate(nil, large); err != nil || !complete || len(out) != 30<<20 {
			t.Fatalf("behind an event of %d bytes: %v", n, err)
		}
		other.Close()
		if len(events) != 1 || !bytes.Equal(events[0].Data, data) || string(events[0].Type) != "A" {
			t.Fatalf("%d bytes: %d events; the shard is %v: %s", n, len(events), p.s.state(), log)
		}
		if size := p.publisher.held[(p.publisher.published.Load()-p.publisher.base)%maxFlight].size; n > 1000 && int(size) > 2*n+4096 {
			t.Errorf("an event of %d bytes counts %d", n, size)
		}
		p.publisher.publish(t.Context(), events)
		p.s.step(p.now) // one of 60 MiB has filled the queue
	}
}

// Identifies whose sessions do not last come further and further apart: the day's are not
// used up in it.
func TestIdentifyPause(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var day time.Duration
	n := 0
	for ; day < 24*time.Hour; n++ {
		pause := identifyPause(n, r)
		if n <= 4 && pause != 0 || n > 4 && (pause < 45*time.Second || pause > 15*time.Minute) {
			t.Errorf("%v after %d", pause, n)
		}
		day += max(pause, time.Second)
	}
	if n < 90 || n > 140 {
		t.Errorf("%d in a day", n)
	}
}
