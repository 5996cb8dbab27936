// This file tests the outlets, the lane and the checkpoint.

package engine

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// stubReader counts wake-ups.
type stubReader struct{ woken []int }

func (r *stubReader) start([]*shard, *lane) {}
func (r *stubReader) wake(s *shard)         { r.woken = append(r.woken, s.id) }
func (r *stubReader) wait()                 {}

// pushEvent pushes event seq of the session, which counts for n bytes.
func pushEvent(o *outlet, s *session, seq int64, n int) {
	buf := o.buffers.Get(20)
	buf.B = strconv.AppendInt(buf.B, seq, 10)
	s.seq, s.queued = seq, seq
	o.push(Event{Session: s.id, Seq: seq, Data: buf.B, origin: s, outlet: o, buf: buf, size: n})
}

// scriptedSink acknowledges what the script says for each call, then all.
type scriptedSink struct {
	script []int // events to acknowledge; -1: fail
	got    []int64
	calls  int
	gate   chan struct{} // if set, each call waits for it
}

var errSink = errors.New("sink failed")

func (s *scriptedSink) Publish(_ context.Context, batch []Event) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.calls++
	n := len(batch)
	var err error
	if len(s.script) > 0 {
		if s.script[0] < 0 {
			n, err = 0, errSink
		} else {
			n = min(n, s.script[0])
		}
		s.script = s.script[1:]
	}
	for _, ev := range batch[:n] {
		if string(ev.Data) != strconv.FormatInt(ev.Seq, 10) {
			return 0, errors.New("an event's bytes have changed")
		}
		s.got = append(s.got, ev.Seq)
	}
	return n, err
}

func (s *scriptedSink) Close() error { return nil }

func TestLaneOffersAgainWhatWasNotAcknowledged(t *testing.T) {
	sink := &scriptedSink{script: []int{2, 1}}
	l := newLane(sink)
	o, ses := l.newOutlet(1<<20, 0), newSession("a", "", 0)
	for seq := int64(1); seq <= 5; seq++ {
		pushEvent(o, ses, seq, 100)
	}
	l.close()
	if err := l.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(sink.got) != 5 || sink.calls != 3 {
		t.Errorf("got %v in %d calls", sink.got, sink.calls)
	}
	for i, seq := range sink.got {
		if seq != int64(i+1) {
			t.Fatalf("got %v", sink.got)
		}
	}
	if _, forever := l.empty(); !forever {
		t.Error("the lane has ended and is not empty")
	}
}

func TestCheckpointStaysBehindTheSink(t *testing.T) {
	sink := &scriptedSink{script: []int{3, -1}}
	l := newLane(sink)
	o, ses := l.newOutlet(1<<20, 0), newSession("a", "", 0)
	for seq := int64(1); seq <= 5; seq++ {
		pushEvent(o, ses, seq, 100)
	}
	o.publish()
	ses.seq = 7 // two more were filtered out
	if got := ses.checkpoint(); got != 0 {
		t.Errorf("checkpoint %d before any acknowledgement", got)
	}
	if err := l.run(context.Background()); !errors.Is(err, errSink) {
		t.Fatal(err)
	}
	if got := ses.checkpoint(); got != 3 {
		t.Errorf("checkpoint %d, want 3", got)
	}
	ses.acked.Store(5)
	if got := ses.checkpoint(); got != 7 {
		t.Errorf("checkpoint %d with nothing outstanding, want 7", got)
	}
}

func TestOutletPausesAndWakes(t *testing.T) {
	for name, shared := range map[string]int{"one goroutine's": 0, "shared": 3} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testPause(t, shared) }) })
	}
}

func testPause(t *testing.T, shared int) {
	r := &stubReader{}
	s := &shard{id: 7, env: &environment{reader: r}}
	sink := &scriptedSink{gate: make(chan struct{})}
	l := newLane(sink)
	o, ses := l.newOutlet(32<<10, shared), newSession("a", "", 0)
	done := make(chan error)
	go func() { done <- l.run(context.Background()) }()

	for seq := int64(1); seq <= 10; seq++ {
		if o.full(s) {
			t.Fatalf("full with %d of 32 KiB", (seq-1)*3300)
		}
		pushEvent(o, ses, seq, 3300)
		o.publish()
		synctest.Wait() // the lane takes the first one alone
	}
	if !o.full(s) {
		t.Fatal("not full with 33,000 bytes")
	}
	sink.gate <- struct{}{} // the first event is acknowledged, the others are offered
	synctest.Wait()
	if len(r.woken) != 0 {
		t.Error("woken before half of the bound was free")
	}
	close(sink.gate)
	synctest.Wait()
	if len(r.woken) != 1 || r.woken[0] != 7 || s.mail.take() != mailRoom {
		t.Errorf("woken %v", r.woken)
	}
	if o.full(s) {
		t.Error("full with nothing in it")
	}
	l.close()
	if err := <-done; err != nil || len(sink.got) != 10 {
		t.Errorf("got %v, %v", sink.got, err)
	}
}

// A shard waits for room no longer than others use it up.
func TestPausedShardIsNotStarved(t *testing.T) {
	r := &stubReader{}
	env := &environment{reader: r}
	first, second := &shard{id: 1, env: env}, &shard{id: 2, env: env}
	l := newLane(new(scriptedSink))
	o, ses := l.newOutlet(64<<10, 0), newSession("a", "", 0)
	seq := int64(0)
	push := func() { seq++; pushEvent(o, ses, seq, 1024) }
	for !o.full(first) {
		push()
	}
	batch := make([]Event, 1)
	for range 1000 { // for each event that leaves, the other shard has one
		if len(r.woken) > 0 {
			break
		}
		n := l.take(batch)
		l.offer(context.Background(), batch[:n])
		if second.paused = second.paused || o.full(second); !second.paused {
			push()
		}
	}
	if len(r.woken) != 2 || r.woken[0] != 1 || r.woken[1] != 2 {
		t.Errorf("woken: %v, want 1 and 2", r.woken)
	}
}

// Shards that find the ring full while the lane empties it are woken, each time.
func TestOutletLosesNoWakeUp(t *testing.T) {
	const shards, events = 3, 200_000
	r := &signalReader{woken: make(chan struct{}, 1)}
	l := newLane(new(scriptedSink))
	o := l.newOutlet(8<<10, 0)
	done := make(chan error)
	go func() { done <- l.run(context.Background()) }()
	var all [shards]*shard
	var sessions [shards]*session
	for i := range all {
		all[i] = &shard{id: i, env: &environment{reader: r}}
		sessions[i] = newSession("a", "", 0)
	}
	pushed, pauses := 0, 0
	for pushed < events {
		idle := true
		for i, s := range all {
			if s.paused && s.mail.take()&mailRoom == 0 {
				continue
			}
			idle = false
			if s.paused = o.full(s); s.paused {
				pauses++
				continue
			}
			pushEvent(o, sessions[i], sessions[i].seq+1, 1024)
			pushed++
		}
		if !idle {
			continue
		}
		select {
		case <-r.woken:
		case <-time.After(time.Minute):
			t.Fatalf("after %d events no shard is woken", pushed)
		}
	}
	l.close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if pauses < 100 {
		t.Errorf("only %d pauses", pauses)
	}
}

// signalReader tells of wake-ups.
type signalReader struct{ woken chan struct{} }

func (r *signalReader) start([]*shard, *lane) {}
func (r *signalReader) wait()                 {}
func (r *signalReader) wake(*shard) {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// The goroutines that share an outlet may all have asked before the first of them
// pushes.
func TestSharedOutletHasSlotsForAll(t *testing.T) {
	const goroutines = 5
	l := newLane(new(scriptedSink))
	o, ses := l.newOutlet(4<<10, goroutines), newSession("a", "", 0)
	s := &shard{env: &environment{reader: &stubReader{}}}
	for seq := int64(1); ; {
		full := false
		for range goroutines {
			full = full || o.full(s)
		}
		if full {
			break
		}
		for range goroutines {
			pushEvent(o, ses, seq, 1) // panics without a slot
			seq++
		}
	}
}

// What the lane takes from several outlets keeps the order of each, and none has
// to wait for another to be empty.
func TestLaneTakesTurns(t *testing.T) {
	sink := &scriptedSink{}
	l := newLane(sink)
	a, b := l.newOutlet(4<<20, 0), l.newOutlet(4<<20, 0)
	one, two := newSession("a", "", 0), newSession("b", "", 1<<20)
	for seq := int64(1); seq <= 3*maxBatchEvents; seq++ {
		pushEvent(a, one, seq, 1)
	}
	pushEvent(b, two, 1<<20+1, 1)
	l.close()
	if err := l.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	at, last := 0, int64(0)
	for i, seq := range sink.got {
		if seq > 1<<20 {
			at = i
		} else if seq != last+1 {
			t.Fatalf("seq %d after %d", seq, last)
		} else {
			last = seq
		}
	}
	if len(sink.got) != 3*maxBatchEvents+1 || at > 2*maxBatchEvents {
		t.Errorf("of %d events the one of the other outlet came at %d", len(sink.got), at)
	}
}

func TestBatchLen(t *testing.T) {
	sized := func(sizes ...int) []Event {
		events := make([]Event, len(sizes))
		for i, n := range sizes {
			events[i].size = n
		}
		return events
	}
	many := make([]Event, 3*maxBatchEvents)
	tests := []struct {
		events []Event
		want   int
	}{
		{sized(1), 1},
		{sized(1, 2, 3), 3},
		{sized(5*maxBatchBytes, 1), 1},
		{sized(1, 5*maxBatchBytes), 1},
		{sized(maxBatchBytes/2, maxBatchBytes/2, 1), 2},
		{many, maxBatchEvents},
	}
	for _, tt := range tests {
		if got := batchLen(tt.events); got != tt.want {
			t.Errorf("batchLen of %d events = %d, want %d", len(tt.events), got, tt.want)
		}
	}
}
