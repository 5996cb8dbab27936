// This file tests that a session's events wait until it is stored.

package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

// No event of a session is published before the session is persisted, or 10 s have passed.
func TestHold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		store func(w *world) // after 3 s, in which a session has begun
		wait  time.Duration
	}{
		{"stored", func(w *world) { w.engine.Stored(0, w.sessions()[0].ID) }, 0},
		{"another is stored", func(w *world) { w.engine.Stored(0, "another"); w.engine.Stored(1, w.sessions()[0].ID) }, 7 * time.Second},
		{"never stored", func(w *world) {}, 7 * time.Second},
		{"cut, and stored", func(w *world) { w.srv.Cut(0, true); w.engine.Stored(0, w.sessions()[0].ID) }, 0},
		{"cut, and stored later", func(w *world) {
			w.srv.Cut(0, true)
			time.Sleep(3 * time.Second)
			w.engine.Stored(0, w.sessions()[0].ID)
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				var held atomic.Int32
				w := newWorld(t, reader, sim.Options{Rate: 20, ReplayLimit: 10_000}, engine.Options{Hold: func() { held.Add(1) }})
				w.ready(1)
				time.Sleep(3 * time.Second)
				if n := w.sink.count(""); n > 0 || held.Load() != 1 {
					t.Errorf("%d events of a session that is not stored; held %d times", n, held.Load())
				}
				tt.store(w)
				if tt.wait > 0 {
					time.Sleep(tt.wait - time.Second)
					if n := w.sink.count(""); n > 0 {
						t.Errorf("%d events after %v", n, tt.wait-time.Second)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(2 * time.Second) // at 20 events a second
				if n := w.sink.count(""); n <= 10 {
					t.Errorf("%d events although the session is stored, or has waited for 10 s", n)
				}
				w.srv.Cut(0, true)
				time.Sleep(time.Minute)
				if s := w.srv.Ledger().Summary(); s.Identifies != 1 || w.sink.count("READY") != 1 {
					t.Errorf("%v", s)
				}
				w.srv.Silence()
				whole(t, w.quiet())
				sound(t, w)
				whole(t, w.end())
			})
		})
	}
}

// While an event is held and the sink stands still, room alone does not let it go, nor does the
// store without room.
func TestHoldWithoutRoom(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		gate := make(chan struct{})
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 50, ReplayLimit: 100_000}, engine.Options{Hold: func() {}, QueueBytes: 64 << 10})
		w.ready(2)
		store := func(shard int) { w.engine.Stored(shard, w.sessions()[shard].ID) }
		store(0)
		w.wait("events", func() bool { return w.sink.count("") > 10 })
		w.sink.hold(gate)
		time.Sleep(5 * time.Second)
		store(1)
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
