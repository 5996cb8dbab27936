// This file tests that a session's events wait until it is persisted.

package engine_test

import (
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

// No event of a session is published before the session is persisted, or 10 s have passed.
func TestHold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(w *world, persist func()) // 3 s, in which a session has begun
		wait  time.Duration
	}{
		{"persisted", func(w *world, persist func()) { persist() }, 0},
		{"never persisted", func(*world, func()) {}, 7 * time.Second},
		{"cut, and persisted", func(w *world, persist func()) { w.srv.Cut(0, true); persist() }, 0},
		{"cut, and persisted later", func(w *world, persist func()) {
			w.srv.Cut(0, true)
			time.Sleep(3 * time.Second)
			persist()
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				c := new(checkpoints)
				persist := c.stall()
				w := newWorld(t, reader, sim.Options{Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c, CheckpointEvery: time.Hour})
				w.ready(1)
				time.Sleep(3 * time.Second)
				if _, begun := c.state(); w.sink.count("") > 0 || begun != 1 {
					t.Errorf("%d events of a session that is not persisted; %d saves", w.sink.count(""), begun)
				}
				tt.after(w, persist)
				if tt.wait > 0 {
					time.Sleep(tt.wait - time.Second)
					if n := w.sink.count(""); n > 0 {
						t.Errorf("%d events after %v", n, tt.wait-time.Second)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(2 * time.Second) // at 20 events a second
				if n := w.sink.count(""); n <= 10 {
					t.Errorf("%d events although the session is persisted, or has waited for 10 s", n)
				}
				w.srv.Cut(0, true)
				time.Sleep(time.Minute)
				if s := w.srv.Ledger().Summary(); s.Identifies != 1 || w.sink.count("READY") != 1 {
					t.Errorf("%v", s)
				}
				w.srv.Silence()
				whole(t, w.quiet())
				sound(t, w)
				persist()
				whole(t, w.end())
			})
		})
	}
}

// A Save that began before a session did is none of it, whatever its id.
func TestHoldBehindSave(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := new(checkpoints)
		w := newWorld(t, reader, sim.Options{Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c})
		w.wait("events", func() bool { return w.sink.count("") > 10 })
		first := c.stall()
		w.wait("a save", c.saving)
		w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
		w.wait("another session", func() bool { return w.engine.Status().Counts.Sessions == 2 })
		second := c.stall()
		first()
		time.Sleep(5 * time.Second)
		if n := w.sink.count("READY"); n != 1 {
			t.Errorf("%d READY before the second session is persisted", n)
		}
		second()
		w.wait("the second session", func() bool { return w.sink.count("READY") == 2 })
		w.end()
	})
}

// While an event is held and the sink stands still, room alone does not let it go, nor do the
// checkpoints without room.
func TestHoldWithoutRoom(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		gate := make(chan struct{})
		c := new(checkpoints)
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 1, Rate: 50, ReplayLimit: 100_000}, engine.Options{Checkpoints: c, QueueBytes: 64 << 10})
		w.wait("events of the first", func() bool { return w.sink.count("") > 10 && w.engine.Status().Ready == 1 })
		persist := c.stall()
		w.ready(2) // the second is held
		w.sink.hold(gate)
		time.Sleep(5 * time.Second)
		persist()
		time.Sleep(20 * time.Second)
		close(gate)
		w.sink.hold(nil)
		time.Sleep(time.Minute)
		w.srv.Silence()
		whole(t, w.quiet())
		if n := w.sink.count("READY"); n != 2 {
			t.Errorf("%d READY", n)
		}
		whole(t, w.end())
	})
}
