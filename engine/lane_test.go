// This file tests the queue, the lane and the checkpoint.

package engine

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/valyala/bytebufferpool"
)

// stubReader counts wake-ups.
type stubReader struct{ woken []int }

func (r *stubReader) start([]*shard) {}
func (r *stubReader) wake(s *shard)  { r.woken = append(r.woken, s.id) }
func (r *stubReader) wait()          {}

// pushEvent pushes event seq of the session with a body of n bytes.
func pushEvent(q *queue, s *session, seq int64, n int) {
	buf := bytebufferpool.Get()
	buf.B = strconv.AppendInt(buf.B[:0], seq, 10)
	s.seq, s.queued = seq, seq
	q.push(Event{Session: s.id, Seq: seq, Data: buf.B, origin: s, buf: buf, size: n})
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
	q, ses := newQueue(1<<20), newSession("a", "", 0)
	for seq := int64(1); seq <= 5; seq++ {
		pushEvent(q, ses, seq, 100)
	}
	q.close()
	sink := &scriptedSink{script: []int{2, 1}}
	if err := runLane(context.Background(), q, sink); err != nil {
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
	if q.bytes != 0 {
		t.Errorf("%d bytes are still counted", q.bytes)
	}
}

func TestCheckpointStaysBehindTheSink(t *testing.T) {
	q, ses := newQueue(1<<20), newSession("a", "", 0)
	for seq := int64(1); seq <= 5; seq++ {
		pushEvent(q, ses, seq, 100)
	}
	ses.seq = 7 // two more were filtered out
	if got := ses.checkpoint(); got != 0 {
		t.Errorf("checkpoint %d before any acknowledgement", got)
	}
	sink := &scriptedSink{script: []int{3, -1}}
	if err := runLane(context.Background(), q, sink); !errors.Is(err, errSink) {
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
	synctest.Test(t, func(t *testing.T) {
		r := &stubReader{}
		s := &shard{id: 7, env: &environment{reader: r}}
		q, ses := newQueue(1000), newSession("a", "", 0)
		sink := &scriptedSink{gate: make(chan struct{})}
		done := make(chan error)
		go func() { done <- runLane(context.Background(), q, sink) }()

		for seq := int64(1); seq <= 10; seq++ {
			if q.full(s) {
				t.Fatalf("full with %d of 1000 bytes", 100*(seq-1))
			}
			pushEvent(q, ses, seq, 100)
			synctest.Wait() // the lane takes the first one alone
		}
		if !q.full(s) {
			t.Fatal("not full with 1000 bytes")
		}
		sink.gate <- struct{}{} // the first event: 900 bytes are left
		synctest.Wait()
		if len(r.woken) != 0 {
			t.Error("woken before half of the bound was free")
		}
		close(sink.gate)
		synctest.Wait()
		if len(r.woken) != 1 || r.woken[0] != 7 || s.mail.take() != mailRoom {
			t.Errorf("woken %v", r.woken)
		}
		q.close()
		if err := <-done; err != nil || len(sink.got) != 10 {
			t.Errorf("got %v, %v", sink.got, err)
		}
	})
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
