// This file tests the connection of a shard that is removed: it is the last that goes.

package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// draining is a world of two shards, of which the first is being removed: the sink has not acknowledged what it has.
type draining struct {
	*world
	c       *checkpoints
	release func() // the sink
	cancel  context.CancelFunc
	session resume.Session // with removed
	removed chan error
}

func newDraining(t *testing.T, reader engine.ReaderKind) *draining {
	t.Helper()
	d := &draining{c: new(checkpoints), removed: make(chan error, 1)}
	d.world = newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 50_000, SessionTTL: time.Hour}, engine.Options{Checkpoints: d.c})
	d.ready(2)
	time.Sleep(10 * time.Second)
	gate := make(chan struct{})
	d.sink.hold(gate)
	d.release = func() { close(gate) }
	time.Sleep(5 * time.Second)
	d.remove(t.Context())
	time.Sleep(5 * time.Second)
	return d
}

// remove begins to remove the first shard.
func (d *draining) remove(ctx context.Context) {
	ctx, d.cancel = context.WithCancel(ctx)
	go func() {
		s, err := d.engine.Remove(ctx, 0)
		d.session = s
		d.removed <- err
	}()
}

// resumes adds the shard again: it resumes, and nothing is lost or repeated.
func (d *draining) resumes(resumes int) {
	d.t.Helper()
	d.add(0, d.session)
	d.ready(2)
	d.srv.Silence()
	whole(d.t, d.quiet())
	d.wantSummary(2, resumes)
	sound(d.t, d.world)
	whole(d.t, d.end())
}

// A connection stays open until the last event of its shard is acknowledged and the checkpoint is persisted. Its
// heartbeats go on, and nothing more of it is published. Then it is closed, with its session kept, and only then
// Remove returns.
func TestRemoveClosesLast(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		d := newDraining(t, reader)
		before := d.shard(0)
		time.Sleep(3 * time.Minute) // of several heartbeats, without which the peer would end it
		if n := d.srv.Connected(); n != 2 || d.shard(0).State != engine.Draining {
			t.Errorf("%d connections; the shard is %v", n, d.shard(0).State)
		}
		if now := d.shard(0); now.Events != before.Events || now.RoundTripCount != before.RoundTripCount {
			t.Errorf("%d events and %d acknowledgements of heartbeats are read", now.Events-before.Events, now.RoundTripCount-before.RoundTripCount)
		}
		persist := d.c.stall()
		d.release()
		d.wait("the checkpoint", func() bool { return d.c.saving() })
		time.Sleep(time.Second)
		if n := len(d.srv.Ledger().Closes()); n > 0 || d.srv.Connected() != 2 {
			t.Errorf("%d connections closed before the checkpoint is persisted", n)
		}
		persist()
		if err := <-d.removed; err != nil {
			t.Errorf("Remove: %v", err)
		}
		synctest.Wait()
		closes := d.srv.Ledger().Closes()
		if len(closes) != 1 || closes[0].Code != wire.CloseKeepSession || !closes[0].FromClient || d.srv.Connected() != 1 {
			t.Errorf("%d connections, closed: %+v", d.srv.Connected(), closes)
		}
		if d.session.Seq != d.sink.last(0) || d.c.last(0).Seq != d.session.Seq {
			t.Errorf("removed at %d, persisted at %d, the sink has %d", d.session.Seq, d.c.last(0).Seq, d.sink.last(0))
		}
		d.resumes(1)
	})
}

// Discord ends the connection of a shard while it is drained: nobody connects again, and the session goes on elsewhere.
func TestRemoveWhileDiscordCloses(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		for _, reset := range []bool{false, true} {
			d := newDraining(t, reader)
			dialed := d.dialed()
			d.srv.Cut(0, reset)
			time.Sleep(3 * time.Minute)
			if n := d.dialed(); n != dialed {
				t.Errorf("%d connections of a shard that is removed", n-dialed)
			}
			d.release()
			if err := <-d.removed; err != nil {
				t.Errorf("Remove: %v", err)
			}
			d.resumes(1)
		}
	})
}

// A drain that is called off leaves the shard as it is, connected, until the next.
func TestRemoveCalledOff(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		d := newDraining(t, reader)
		d.cancel()
		if err := <-d.removed; !errors.Is(err, context.Canceled) {
			t.Errorf("Remove: %v", err)
		}
		events := d.shard(0).Events
		time.Sleep(3 * time.Minute)
		if n := d.srv.Connected(); n != 2 || d.shard(0).Events != events {
			t.Errorf("%d connections, %d events", n, d.shard(0).Events-events)
		}
		d.remove(t.Context())
		d.release()
		if err := <-d.removed; err != nil {
			t.Errorf("Remove: %v", err)
		}
		d.resumes(1)
	})
}

// A shard that is deposed while it is drained is dropped at once, without a close frame.
func TestDeposeWhileRemoved(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		d := newDraining(t, reader)
		d.engine.Depose(0)
		time.Sleep(time.Second)
		if n := d.srv.Connected(); n != 1 {
			t.Errorf("%d connections", n)
		}
		for _, c := range d.srv.Ledger().Closes() {
			if c.FromClient {
				t.Errorf("closed with %v", c.Code)
			}
		}
		d.release()
		if err := <-d.removed; !errors.As(err, new(*sinks.NotLocalError)) {
			t.Errorf("Remove: %v", err)
		}
		synctest.Wait()
		if left := d.engine.Left(); left.Deposed > 0 {
			t.Errorf("left behind: %+v", left)
		}
		d.end()
	})
}

// A shard that is resuming when it is removed is drained of what was replayed, and closed last.
func TestRemoveWhileResuming(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 1, Rate: 20, ReplayLimit: 50_000}, engine.Options{QueueBytes: 16 << 10})
		w.ready(1)
		time.Sleep(10 * time.Second)
		session := w.remove(0)
		time.Sleep(time.Minute)
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.add(0, session)
		w.wait("a queue that is full of what is replayed", func() bool { return w.shard(0).State == engine.Resuming && w.engine.Full() })
		removed := make(chan struct{})
		go func() {
			defer close(removed)
			session = w.remove(0)
		}()
		time.Sleep(2 * time.Minute)
		if n := w.srv.Connected(); n != 1 || w.shard(0).State != engine.Draining || w.engine.Full() {
			t.Errorf("%d connections; the shard is %v, others wait behind it: %v", n, w.shard(0).State, w.engine.Full())
		}
		close(gate)
		<-removed
		w.add(0, session)
		w.ready(1)
		w.srv.Silence()
		whole(t, w.quiet())
		if s := w.srv.Ledger().Summary(); s.Identifies != 1 || s.Resumed != 2 {
			t.Errorf("%v", s)
		}
		whole(t, w.end())
	})
}
