// This file tests when an engine counts as one that makes progress.

package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
)

// alwaysLive fails the test if the engine is not live at any minute of the hours to come.
func (w *world) alwaysLive(d time.Duration) {
	w.t.Helper()
	for range d / time.Minute {
		time.Sleep(time.Minute)
		if err := w.engine.Live(time.Now()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// A reader that does not come back from one shard is found, on both readers, and no longer when it does.
func TestStuckReaderIsNotLive(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4}, engine.Options{Readers: 2})
		w.ready(4)
		time.Sleep(time.Hour)
		if err := w.engine.Live(time.Now()); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		blocked := make(chan struct{})
		var once atomic.Bool
		w.hook(func(shard int, to engine.State) {
			if to != engine.Backoff || once.Swap(true) {
				return
			}
			w.mu.Unlock() // others go on
			close(blocked)
			<-gate
			w.mu.Lock()
		})
		w.srv.Cut(2, false)
		<-blocked
		time.Sleep(29 * time.Second)
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("after 29 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		err := w.engine.Live(time.Now())
		if err == nil || !strings.Contains(err.Error(), "reader") || !strings.Contains(err.Error(), "31s") {
			t.Errorf("after 31 s: %v", err)
		}
		stuck := 0
		for _, r := range w.engine.Status().Readers {
			if !r.Waits && time.Since(r.Turned) > 30*time.Second {
				stuck++
			}
		}
		if stuck != 1 {
			t.Errorf("%d readers are stuck: %+v", stuck, w.engine.Status().Readers)
		}
		close(gate)
		w.ready(4)
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("when it has gone on: %v", err)
		}
		w.end()
	})
}

// To wait is not to be stuck: for the turn to identify, for a broker that takes nothing, for
// Discord that is away, for its API, for a new session to be persisted.
func TestWaitingIsLive(t *testing.T) {
	t.Run("identify queue", func(t *testing.T) {
		shards, d := 1000, time.Hour
		if testing.Short() {
			shards, d = 200, 12*time.Minute
		}
		byTurns(t, 1, func(t *testing.T, reader engine.ReaderKind) {
			w := newWorld(t, reader, sim.Options{Shards: shards, MaxConcurrency: 1, Guilds: 1}, engine.Options{})
			w.alwaysLive(d)
			if s := w.engine.Status(); s.Ready < shards/2 || s.Identify.Waiting < shards/10 {
				t.Errorf("%d of %d are ready and %d wait after %v", s.Ready, shards, s.Identify.Waiting, d)
			}
			w.end()
		})
	})
	t.Run("broker", func(t *testing.T) {
		onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
			w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20}, engine.Options{QueueBytes: 64 << 10})
			w.ready(2)
			gate := make(chan struct{})
			w.sink.hold(gate)
			w.alwaysLive(time.Hour)
			if q := w.engine.Status().Queue; q.Oldest < 50*time.Minute || q.Paused == 0 {
				t.Errorf("queue %+v", q)
			}
			close(gate)
			w.end()
		})
	})
	t.Run("Discord", func(t *testing.T) {
		onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
			w := newWorld(t, reader, sim.Options{Shards: 3, MaxConcurrency: 3}, engine.Options{})
			w.ready(3)
			w.srv.SetGateway(sim.GateRefuse)
			w.srv.SetResumeHost(sim.GateRefuse)
			w.srv.SetAPI(sim.GateRefuse)
			for shard := range 3 {
				w.srv.Cut(shard, false)
			}
			w.alwaysLive(time.Hour)
			if s := w.engine.Status(); s.Ready != 0 || ended(s, "connect failed", 0) < 100 || s.Counts.Connections != 3 {
				t.Errorf("%+v", s)
			}
			w.srv.SetGateway(sim.GateOpen)
			w.srv.SetAPI(sim.GateOpen)
			w.ready(3)
			w.end()
		})
	})
	t.Run("API", func(t *testing.T) {
		onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
			gone := &sim.Network{}
			w := newWorld(t, reader, sim.Options{Listen: gone.Listen}, engine.Options{}) // on another network
			w.alwaysLive(time.Hour)
			w.end()
		})
	})
}

// keptSink acknowledges nothing until it is closed.
type keptSink struct {
	events int
	acked  func(int)
}

func (s *keptSink) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	s.events, s.acked = s.events+len(batch), acked
	return nil
}

func (s *keptSink) Close() error { return nil }

// A publisher that works on a turn for long is found. Here it lingers, while the sink has the
// events before, for a minute.
func TestStuckPublisherIsNotLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(keptSink)
		w := newWorld(t, engine.ReaderGoroutine, sim.Options{Guilds: -1}, engine.Options{Sink: sink, Linger: time.Minute})
		w.ready(1)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("while the sink acknowledges nothing: %v", err)
		}
		w.srv.Dispatch(0, "TYPING_START", []byte("{}"))
		time.Sleep(25 * time.Second)
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("after 25 s: %v", err)
		}
		time.Sleep(20 * time.Second)
		if err := w.engine.Live(time.Now()); err == nil || !strings.Contains(err.Error(), "publisher") {
			t.Errorf("after 45 s: %v", err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if err := w.engine.Live(time.Now()); err != nil {
			t.Errorf("when it has gone on: %v", err)
		}
		sink.acked(sink.events)
		w.end()
	})
}
