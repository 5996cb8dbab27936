// This file tests the queues, the publisher and the checkpoint.

package engine

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

// stubWaker counts wakeups.
type stubWaker struct{ woken int }

func (w *stubWaker) wakeOwner() { w.woken++ }

// pushEvent pushes event seq of the session, which counts for n bytes.
func pushEvent(o *queue, s *session, seq int64, n int) {
	buf := o.publisher.buffers.Get(20)
	buf.B = strconv.AppendInt(buf.B, seq, 10)
	s.last, s.lastQueued = seq, seq
	s.show()
	o.push(entry{sinks.Event{Session: s.id, Seq: seq, Data: buf.B}, held{s, o, buf, uint32(n), 0}})
}

// heldSink keeps what it is given until it is told to acknowledge.
type heldSink struct {
	mu    sync.Mutex
	got   []int64
	calls int
	held  int
	acked func(int)
	fail  error
}

func (s *heldSink) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	if s.fail != nil {
		return s.fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.acked = acked
	s.held += len(batch)
	return s.see(batch)
}

func (s *heldSink) see(batch []sinks.Event) error {
	for _, ev := range batch {
		if string(ev.Data) != strconv.FormatInt(ev.Seq, 10) {
			return errors.New("an event's bytes have changed")
		}
		s.got = append(s.got, ev.Seq)
	}
	return nil
}

func (s *heldSink) ack(n int) {
	s.mu.Lock()
	s.held -= n
	acked := s.acked
	s.mu.Unlock()
	acked(n)
}

// seen returns the calls of Publish and the events that they had, and held.
func (s *heldSink) seen() (calls, events, held int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, len(s.got), s.held
}

func (s *heldSink) Close() error { return nil }

// gatedSink acknowledges each batch at once, after it was let through the gate.
type gatedSink struct {
	heldSink
	gate chan struct{} // nil: open
}

func (s *gatedSink) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	if s.gate != nil {
		<-s.gate
	}
	err := s.see(batch)
	acked(len(batch))
	return err
}

var errSink = errors.New("sink failed")

// What is acknowledged late is borrowed until then, however much follows, and the publisher
// does not end before all of it is.
func TestPublisherOwnsUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(heldSink)
		l := newPublisher(sink, 0)
		o, ses := l.newQueue(64<<20, false), newSession("a", "", 0)
		seq := int64(0)
		push := func(n int) {
			for range n {
				seq++
				pushEvent(o, ses, seq, 100)
			}
			o.publish()
			synctest.Wait()
		}
		done := make(chan error, 1)
		go func() { done <- l.run(context.Background()) }()
		push(10)
		push(5)
		if calls, _, held := sink.seen(); calls != 2 || held != 15 || ses.acked.Load() != 0 {
			t.Fatalf("%d calls with %d events, acknowledged up to %d", calls, held, ses.acked.Load())
		}
		sink.ack(12) // one batch and a part of the next
		if got := ses.checkpoint(); got != 12 {
			t.Fatalf("checkpoint %d, want 12", got)
		}
		push(maxFlight + 100)
		if _, _, held := sink.seen(); held != maxFlight {
			t.Fatalf("the sink holds %d events, want %d", held, maxFlight)
		}
		sink.ack(1)
		synctest.Wait()
		sink.ack(maxFlight - 1)
		synctest.Wait()
		if _, _, held := sink.seen(); held != 103 {
			t.Fatalf("the sink holds %d events, want the last 103", held)
		}
		l.close()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("the publisher has ended before the last acknowledgement")
		default:
		}
		sink.ack(103)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for i, got := range sink.got {
			if got != int64(i+1) {
				t.Fatalf("event %d came after event %d", got, i)
			}
		}
		if o.ring.Full() || len(sink.got) != int(seq) || ses.checkpoint() != seq {
			t.Errorf("%d of %d events, checkpoint %d", len(sink.got), seq, ses.checkpoint())
		}
	})
}

// The end of ctx ends the publisher although the sink never acknowledges.
func TestPublisherGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPublisher(new(heldSink), 0)
		pushEvent(l.newQueue(1<<20, false), newSession("a", "", 0), 1, 100)
		l.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("run: %v", err)
		}
	})
}

// A lone event leaves at once. Behind it, while the sink is busy, a few wait
// for each other.
func TestPublisherGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(heldSink)
		l := newPublisher(sink, time.Millisecond)
		o, ses := l.newQueue(1<<20, false), newSession("a", "", 0)
		done := make(chan error, 1)
		go func() { done <- l.run(context.Background()) }()
		pushEvent(o, ses, 1, 100)
		o.publish()
		synctest.Wait()
		if calls, _, _ := sink.seen(); calls != 1 {
			t.Fatal("the first event is held up")
		}
		for seq := int64(2); seq < 6; seq++ {
			pushEvent(o, ses, seq, 100)
			o.publish()
			synctest.Wait()
		}
		if calls, _, _ := sink.seen(); calls != 1 {
			t.Error("the second event left alone")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if calls, events, _ := sink.seen(); calls != 2 || events != 5 {
			t.Errorf("%d calls with %d events", calls, events)
		}
		sink.ack(5)
		l.close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestPublisherTellsTooManyAcknowledgements(t *testing.T) {
	l := newPublisher(new(heldSink), 0)
	pushEvent(l.newQueue(1<<20, false), newSession("a", "", 0), 1, 100)
	l.queues[0].publish()
	l.publish(t.Context(), l.take())
	defer func() {
		if recover() == nil {
			t.Error("two acknowledgements of one event")
		}
	}()
	l.acknowledge(2)
}

func TestCheckpointStaysBehindTheSink(t *testing.T) {
	sink := new(heldSink)
	l := newPublisher(sink, 0)
	o, ses := l.newQueue(1<<20, false), newSession("a", "", 0)
	for seq := int64(1); seq <= 5; seq++ {
		pushEvent(o, ses, seq, 100)
	}
	o.publish()
	ses.last = 7 // two more were filtered out
	ses.show()
	if got := ses.checkpoint(); got != 0 {
		t.Errorf("checkpoint %d before any acknowledgement", got)
	}
	if err := l.publish(t.Context(), l.take()); err != nil {
		t.Fatal(err)
	}
	sink.ack(3)
	sink.fail = errSink
	pushEvent(o, newSession("b", "", 0), 1, 100)
	o.publish()
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

func TestQueuePausesAndWakes(t *testing.T) {
	for name, shared := range map[string]bool{"one goroutine's": false, "shared": true} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testPause(t, shared) }) })
	}
}

func testPause(t *testing.T, shared bool) {
	w := &stubWaker{}
	s := &shard{waker: w}
	sink := &gatedSink{gate: make(chan struct{})}
	l := newPublisher(sink, 0)
	o, ses := l.newQueue(32<<10, shared), newSession("a", "", 0)
	done := make(chan error)
	go func() { done <- l.run(context.Background()) }()

	for seq := int64(1); seq <= 10; seq++ {
		if o.full() {
			t.Fatalf("full with %d of 32 KiB", (seq-1)*3300)
		}
		pushEvent(o, ses, seq, 3300)
		o.publish()
		synctest.Wait() // the publisher takes the first one alone
	}
	if !o.full() || !o.await(s) {
		t.Fatal("not full with 33,000 bytes")
	}
	sink.gate <- struct{}{} // the first event is acknowledged, the others are offered
	synctest.Wait()
	if w.woken != 0 {
		t.Error("woken before half of the bound was free")
	}
	close(sink.gate)
	synctest.Wait()
	if w.woken != 1 || s.wakeups.take() != wakeRoom {
		t.Errorf("woken %d times", w.woken)
	}
	if o.full() {
		t.Error("full with nothing in it")
	}
	l.close()
	if err := <-done; err != nil || len(sink.got) != 10 {
		t.Errorf("got %v, %v", sink.got, err)
	}
}

// A shard waits for room no longer than others use it up.
func TestPausedShardIsNotStarved(t *testing.T) {
	one, two := &stubWaker{}, &stubWaker{}
	first, second := &shard{id: 1, waker: one}, &shard{id: 2, waker: two}
	l := newPublisher(new(gatedSink), 0)
	o, ses := l.newQueue(64<<10, false), newSession("a", "", 0)
	seq := int64(0)
	push := func() { seq++; pushEvent(o, ses, seq, 1024) }
	for !o.full() || !o.await(first) {
		push()
	}
	batch := make([]entry, 1)
	for range 1000 { // for each event that leaves, the other shard has one
		if one.woken+two.woken > 0 {
			break
		}
		l.queues[0].ring.Take(batch)
		o.ring.Release(int64(batch[0].size))
		if second.paused = second.paused || o.full() && o.await(second); !second.paused {
			push()
		}
	}
	if one.woken != 1 || two.woken != 1 {
		t.Errorf("woken %d and %d times, want once each", one.woken, two.woken)
	}
}

// Shards that find the ring full while the publisher empties it are woken, each time.
func TestQueueLosesNoWakeUp(t *testing.T) {
	const shards, events = 3, 200_000
	w := signalWaker{make(chan struct{}, 1)}
	l := newPublisher(new(gatedSink), 0)
	o := l.newQueue(8<<10, false)
	done := make(chan error)
	go func() { done <- l.run(context.Background()) }()
	var all [shards]*shard
	var sessions [shards]*session
	for i := range all {
		all[i] = &shard{id: i, waker: w}
		sessions[i] = newSession("a", "", 0)
	}
	pushed, pauses := 0, 0
	for pushed < events {
		idle := true
		for i, s := range all {
			if s.paused && s.wakeups.take()&wakeRoom == 0 {
				continue
			}
			idle = false
			if s.paused = o.full() && o.await(s); s.paused {
				pauses++
				continue
			}
			pushEvent(o, sessions[i], sessions[i].seq()+1, 1024)
			pushed++
		}
		if !idle {
			continue
		}
		select {
		case <-w.woken:
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

// signalWaker signals wakeups.
type signalWaker struct{ woken chan struct{} }

func (w signalWaker) wakeOwner() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// What the publisher takes from several queues keeps the order of each, and none has
// to wait for another to be empty.
func TestPublisherTakesTurns(t *testing.T) {
	sink := new(gatedSink)
	l := newPublisher(sink, 0)
	a, b := l.newQueue(4<<20, false), l.newQueue(4<<20, false)
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
		t.Errorf("of %d events the one of the other queue came at %d", len(sink.got), at)
	}
}

func TestBatchLen(t *testing.T) {
	sized := func(sizes ...int) []held {
		events := make([]held, len(sizes))
		for i, n := range sizes {
			events[i].size = uint32(n)
		}
		return events
	}
	many := make([]held, 3*maxBatchEvents)
	tests := []struct {
		events []held
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
