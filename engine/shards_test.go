// This file tests shards that come and go while the engine runs.

package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// none are the ids of an engine that starts without shards.
var none = []int{}

// add adds a shard.
func (w *world) add(shard int, from resume.Session) {
	w.t.Helper()
	if err := w.engine.Add(w.t.Context(), shard, from); err != nil {
		w.t.Errorf("Add(%d): %v", shard, err)
	}
}

// remove removes a shard and returns its session.
func (w *world) remove(shard int) resume.Session {
	w.t.Helper()
	s, err := w.engine.Remove(w.t.Context(), shard)
	if err != nil {
		w.t.Errorf("Remove(%d): %v", shard, err)
	}
	return s
}

// last returns the seq of the last event of a shard that the sink has taken.
func (r *recorder) last(shard int) (seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.received {
		if ev.Shard == shard {
			seq = ev.Seq
		}
	}
	return seq
}

// An engine without shards runs on, and takes those that are added.
func TestAdd(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4, Rate: 5}, engine.Options{IDs: none})
		w.wait("the start", func() bool { _, _, err := w.engine.Shards(t.Context()); return err == nil })
		time.Sleep(time.Hour)
		for _, id := range []int{2, 0, 3} {
			w.add(id, resume.Session{})
		}
		if _, ids, _ := w.engine.Shards(t.Context()); !slices.Equal(ids, []int{0, 2, 3}) {
			t.Errorf("the engine runs %v", ids)
		}
		w.ready(3)
		if err := w.engine.Add(t.Context(), 2, resume.Session{}); err == nil {
			t.Error("one shard was added twice")
		}
		var wrong *engine.ShardIDError
		for _, id := range []int{-1, 4} {
			if err := w.engine.Add(t.Context(), id, resume.Session{}); !errors.As(err, &wrong) {
				t.Errorf("Add(%d): %v", id, err)
			}
		}
		w.add(1, resume.Session{})
		w.ready(4)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(4, 0)
		sound(t, w)
		whole(t, w.end())
		if err := w.engine.Add(t.Context(), 1, resume.Session{}); !errors.Is(err, sinks.ErrStopped) {
			t.Errorf("Add after the end: %v", err)
		}
	})
}

// Remove returns when the sink has acknowledged the last event, with what continues there: nothing is lost
// and nothing published twice. Commands for the shard are refused from the beginning. Other shards go on.
func TestRemoveDrains(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 50_000}, engine.Options{})
		w.ready(2)
		time.Sleep(time.Minute)
		gate := make(chan struct{})
		w.sink.hold(gate)
		time.Sleep(5 * time.Second)
		var session resume.Session
		removed := make(chan struct{})
		go func() {
			defer close(removed)
			session = w.remove(0)
		}()
		time.Sleep(20 * time.Second)
		var elsewhere *sinks.NotLocalError
		command := sinks.Command{Shard: 0, Packet: []byte(`{"op":31,"d":{"guild_ids":["1"]}}`)}
		if err := w.engine.Send(t.Context(), command); !errors.As(err, &elsewhere) || elsewhere.Shard != 0 {
			t.Errorf("Send while the shard is removed: %v", err)
		}
		select {
		case <-removed:
			t.Fatal("removed although the sink has not acknowledged its events")
		default:
		}
		if got, ok := w.sessions()[0]; !ok || got.Seq > w.sink.last(0) {
			t.Errorf("the checkpoint is %d (%v), the sink has %d", got.Seq, ok, w.sink.last(0))
		}
		if n := w.srv.Connected(); n != 2 || w.shard(0).State != engine.Draining {
			t.Errorf("%d connections while one shard of two drains, which is %v", n, w.shard(0).State)
		}
		close(gate)
		<-removed
		if last := w.sink.last(0); session.ID == "" || session.Seq != last {
			t.Errorf("removed at %+v, the sink has %d", session, last)
		}
		if _, ok := w.sessions()[0]; ok || w.engine.Status().Running != 1 {
			t.Errorf("the removed shard is there: %+v", w.engine.Status())
		}
		if err := w.engine.Send(t.Context(), command); !errors.As(err, &elsewhere) {
			t.Errorf("Send to a removed shard: %v", err)
		}
		if _, err := w.engine.Remove(t.Context(), 0); !errors.As(err, &elsewhere) {
			t.Errorf("Remove of a removed shard: %v", err)
		}
		for _, c := range w.srv.Ledger().Closes() {
			if !c.FromClient || c.Code != wire.CloseKeepSession {
				t.Errorf("closed with %v, by the client %v", c.Code, c.FromClient)
			}
		}
		events := w.engine.Status().Counts.Events
		time.Sleep(20 * time.Second)
		if w.engine.Status().Counts.Events < events+100 {
			t.Error("the other shard stands still")
		}
		w.add(0, session)
		w.ready(2)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(2, 1)
		if n := w.engine.Status().Counts.Sessions; n != 2 {
			t.Errorf("%d sessions counted", n)
		}
		sound(t, w)
		whole(t, w.end())
	})
}

// entrySink is a recorder that counts the events of each shard as they are given to it.
type entrySink struct {
	*recorder
	given sync.Map // shard: count
}

func (s *entrySink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	for _, ev := range batch {
		s.given.Store(ev.Shard, s.count(ev.Shard)+1)
	}
	return s.recorder.Publish(ctx, batch, acked)
}

func (s *entrySink) count(shard int) int {
	n, _ := s.given.Load(shard)
	count, _ := n.(int)
	return count
}

// Nothing of a deposed shard is given to the sink any more, and no checkpoint of it is seen. Its connection ends
// without a close frame. Others are published, and the id can be added again.
func TestDepose(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		sink := &entrySink{recorder: new(recorder)}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 50_000}, engine.Options{Sink: sink})
		w.sink = sink.recorder
		w.ready(2)
		time.Sleep(time.Minute)
		gate := make(chan struct{})
		w.sink.hold(gate)
		time.Sleep(10 * time.Second) // 200 events of each shard wait
		session := w.sessions()[0]
		w.engine.Depose(0)
		if _, ok := w.sessions()[0]; ok {
			t.Error("a deposed shard has a checkpoint")
		}
		w.engine.Depose(0) // there is none
		time.Sleep(time.Second)
		if n := w.srv.Connected(); n != 1 {
			t.Errorf("%d connections", n)
		}
		given, other := sink.count(0), sink.count(1)
		close(gate)
		time.Sleep(10 * time.Second)
		if n := sink.count(0); n != given {
			t.Errorf("%d events of a deposed shard", n-given)
		}
		if n := sink.count(1); n < other+200 {
			t.Errorf("%d events of the other shard", n-other)
		}
		for _, c := range w.srv.Ledger().Closes() {
			if c.FromClient || c.Code != wire.CloseAbnormal {
				t.Errorf("closed with %v, by the client %v", c.Code, c.FromClient)
			}
		}
		w.add(0, session) // published again are the events that the sink had and had not acknowledged
		w.ready(2)
		w.srv.Silence()
		r := w.quiet()
		if r.Lost+r.Abandoned+r.Unknown > 0 {
			t.Errorf("%v", r)
		}
		w.wantSummary(2, 1)
		for id := range w.engine.Snapshots() {
			if w.engine.Depose(1); id == 1 {
				t.Error("a shard that was deposed while the sessions were read has a checkpoint")
			}
		}
		w.end()
	})
}

// Remove while the shard waits for room in the queue: it waits for the sink, and may be
// asked again when its time was too short.
func TestRemoveWhileQueueIsFull(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10, Readers: 1})
		w.ready(2)
		w.quiet()
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.srv.Burst(0, 5_000)
		w.srv.Burst(1, 5_000)
		w.wait("a full queue", w.engine.Full)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if s, err := w.engine.Remove(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Remove: %+v, %v", s, err)
		}
		if err := w.engine.Add(t.Context(), 0, resume.Session{}); err == nil {
			t.Error("a shard was added that is not drained")
		}
		close(gate)
		session := w.remove(0)
		if last := w.sink.last(0); session.Seq != last {
			t.Errorf("removed at %d, the sink has %d", session.Seq, last)
		}
		w.add(0, session)
		w.wait("the bursts", func() bool { return w.sink.count("TYPING_START") == 10_000 })
		whole(t, w.quiet())
		w.wantSummary(2, 1)
		whole(t, w.end())
	})
}

// Of shards that wait for room the first is deposed; it does not keep the others waiting.
func TestDeposeWhileQueueIsFull(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10, Readers: 1})
		w.ready(2)
		w.quiet()
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.srv.Burst(0, 5_000)
		w.wait("a full queue", w.engine.Full)
		w.srv.Burst(1, 5_000)
		time.Sleep(time.Minute)
		w.engine.Depose(0)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := w.engine.Left().Paused; n != 1 {
			t.Errorf("%d shards wait for room, want the other one", n)
		}
		close(gate)
		of := func(shard int) (n int) {
			w.sink.mu.Lock()
			defer w.sink.mu.Unlock()
			for _, ev := range w.sink.received {
				if ev.Shard == shard && ev.Type == "TYPING_START" {
					n++
				}
			}
			return n
		}
		w.wait("the other burst", func() bool { return of(1) == 5_000 })
		if n := of(0); n > 1000 {
			t.Errorf("%d events of the deposed shard", n)
		}
		w.end()
	})
}
