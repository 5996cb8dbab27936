// This file tests shards that are run under epochs, as in a fleet.

package engine_test

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// orders is a recorder that remembers what orders events, too.
type orders struct {
	*recorder
	events []sinks.Event // without Type and Data
}

func (o *orders) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	o.mu.Lock()
	for _, ev := range batch {
		ev.Type, ev.Data = nil, nil
		o.events = append(o.events, ev)
	}
	o.mu.Unlock()
	return o.recorder.Publish(ctx, batch, acked)
}

// taken returns the events so far, and begins anew.
func (o *orders) taken() []sinks.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.events
	o.events = nil
	return taken
}

// snapshots are Checkpoints that remember all that they were given.
type snapshots struct {
	checkpoints
	allMu sync.Mutex
	all   []resume.Session
}

func (c *snapshots) Save(ctx context.Context, given iter.Seq2[int, resume.Session], starts resume.Starts) error {
	for _, s := range given {
		c.allMu.Lock()
		c.all = append(c.all, s)
		c.allMu.Unlock()
	}
	return c.checkpoints.Save(ctx, given, starts)
}

func (c *snapshots) taken() []resume.Session {
	c.allMu.Lock()
	defer c.allMu.Unlock()
	all := c.all
	c.all = nil
	return all
}

// Every event and every snapshot has the epoch under which the shard is run, and sessions are ordered by
// the epoch in which they began, and by how many began in it, whoever runs them later.
func TestEpochs(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		sink, c := &orders{recorder: new(recorder)}, new(snapshots)
		w := newWorld(t, reader, sim.Options{Rate: 20, ReplayLimit: 10_000}, engine.Options{Sink: sink, Checkpoints: c, IDs: none, Gaps: true})
		w.sink = sink.recorder
		const first, second = int64(1_764_000_000_000), int64(1_764_000_000_900)
		check := func(epoch int64, began ...int64) {
			t.Helper()
			var seen []int64
			gaps := 0
			for _, ev := range sink.taken() {
				if ev.Epoch != epoch {
					t.Fatalf("an event of epoch %d, want %d", ev.Epoch, epoch)
				}
				if ev.Gap {
					gaps++
				}
				if n := len(seen); n == 0 || seen[n-1] != ev.Began {
					seen = append(seen, ev.Began)
				}
			}
			if !slices.Equal(seen, began) || gaps != len(began)-1 {
				t.Errorf("events of sessions that began at %v and %d gaps, want %v", seen, gaps, began)
			}
			without := 0
			for _, s := range c.taken() {
				if s.Epoch != epoch || s.ID != "" && !slices.Contains(began, s.Began) {
					t.Fatalf("saved %+v", s)
				}
				if s.ID == "" {
					without++
				}
			}
			if without == 0 && len(began) > 1 {
				t.Error("no snapshot without a session")
			}
		}
		w.add(0, resume.Session{Epoch: first})
		w.ready(1)
		w.wait("events", func() bool { return w.sink.count("") > 50 })
		w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
		w.wait("another session", func() bool { return w.sink.count("READY") == 2 })
		time.Sleep(5 * time.Second)
		session := w.remove(0)
		if session.Epoch != first || session.Began != first*1e6+2 {
			t.Errorf("removed with %+v", session)
		}
		check(first, first*1e6+1, first*1e6+2)

		session.Epoch = second
		w.add(0, session)
		w.ready(1)
		w.srv.Cut(0, true)
		time.Sleep(10 * time.Second)
		w.ready(1)
		session = w.remove(0)
		if session.Epoch != second || session.Began != first*1e6+2 {
			t.Errorf("removed with %+v", session)
		}
		check(second, first*1e6+2)

		session.Epoch = second + 1
		w.add(0, session)
		w.ready(1)
		time.Sleep(5 * time.Second)
		w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
		w.wait("another session", func() bool { return w.sink.count("READY") == 3 })
		w.remove(0)
		check(second+1, first*1e6+2, (second+1)*1e6+1)

		// In no fleet it is the time, and a session of the store keeps what the store has.
		before := time.Now().UnixNano()
		w.add(0, resume.Session{})
		w.ready(1)
		time.Sleep(time.Second)
		session = w.remove(0)
		if session.Epoch != 0 || session.Began < before || session.Began > time.Now().UnixNano() {
			t.Errorf("removed with %+v", session)
		}
		check(0, session.Began)
		session.Began = 0
		w.add(0, session)
		w.ready(1)
		time.Sleep(time.Second)
		if s := w.remove(0); s.Began != 0 {
			t.Errorf("removed with %+v", s)
		}
		check(0, 0)
		w.srv.Silence()
		w.end()
	})
}

// partSink takes events and acknowledges as many as a test wants.
type partSink struct {
	orders
	ackMu sync.Mutex
	ack   func(int)
	epoch []int64 // of those that are not acknowledged
}

func (s *partSink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	s.ackMu.Lock()
	s.ack = acked
	for _, ev := range batch {
		s.epoch = append(s.epoch, ev.Epoch)
	}
	s.ackMu.Unlock()
	return s.orders.Publish(ctx, batch, func(int) {})
}

// acknowledge acknowledges the events of an epoch, which are before all others.
func (s *partSink) acknowledge(epoch int64) (n int) {
	s.ackMu.Lock()
	defer s.ackMu.Unlock()
	for n < len(s.epoch) && s.epoch[n] == epoch {
		n++
	}
	if s.epoch = s.epoch[n:]; n > 0 {
		s.ack(n)
	}
	return n
}

// A shard that is deposed in the middle of everything and added again at once, under a higher epoch, from the same
// session: what the sink has of the old one moves the old session alone, no event of it is given behind one of
// the new, and no Save that begins has a snapshot of it.
func TestDeposeAndAdd(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		sink, c := &partSink{orders: orders{recorder: new(recorder)}}, new(snapshots)
		w := newWorld(t, reader, sim.Options{Rate: 50, ReplayLimit: 10_000}, engine.Options{Sink: sink, Checkpoints: c, IDs: none})
		w.add(0, resume.Session{Epoch: 1})
		w.wait("events", func() bool { return sink.last(0) > 50 })
		sink.acknowledge(1)
		session := w.sessions()[0]
		for epoch := int64(2); epoch < 6; epoch++ {
			was := sink.last(0)
			w.wait("events in flight", func() bool { return sink.last(0) > was+50 })
			gate := make(chan struct{})
			sink.hold(gate) // those that come now are not given
			time.Sleep(3 * time.Second)
			persist := c.stall()
			w.wait("a save", c.saving)
			w.engine.Depose(0)
			c.taken()
			session.Epoch = epoch
			w.add(0, session)
			w.ready(1)
			persist()
			sink.hold(nil)
			close(gate)
			w.wait("its events", func() bool { return sink.last(0) > was+300 })
			if s := w.sessions()[0]; s != session {
				t.Errorf("%+v before an event is acknowledged, want %+v", s, session)
			}
			if n := sink.acknowledge(epoch - 1); n < 50 {
				t.Errorf("%d events of the old one were in flight", n)
			}
			synctest.Wait()
			time.Sleep(time.Second)
			if s := w.sessions()[0]; s != session {
				t.Errorf("%+v when those of the old one are acknowledged, want %+v", s, session)
			}
			for _, s := range c.taken() {
				if s.Epoch != epoch {
					t.Fatalf("saved %+v", s)
				}
			}
			highest := int64(0)
			for _, ev := range sink.taken() {
				if ev.Epoch < highest {
					t.Fatalf("seq %d of epoch %d is given behind epoch %d", ev.Seq, ev.Epoch, highest)
				}
				highest = max(highest, ev.Epoch)
			}
			sink.acknowledge(epoch)
			w.wait("the checkpoint", func() bool { return w.sessions()[0].Seq > session.Seq+50 })
			session = w.sessions()[0]
		}
		w.srv.Silence()
		time.Sleep(10 * time.Second)
		w.stop()
		sink.acknowledge(5)
		<-w.ended
	})
}
