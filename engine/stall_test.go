// This file tests what a sink in trouble does to the shards: nothing but that
// they wait.

package engine_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// The sink takes nothing for some minutes. The gateway reads no further than its
// bound, keeps its connections alive meanwhile, and loses nothing.
func TestSinkStalls(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		// The server holds back what the client does not read, as Discord's
		// kernel would; it counts the heartbeats all the while.
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10})
		w.ready(2)
		w.quiet()
		gate := make(chan struct{})
		w.sink.hold(gate)
		before := w.engine.Status().Counts.Events
		w.srv.Burst(0, 20_000)
		time.Sleep(10 * time.Minute)
		// An event of the burst counts 200 bytes at least; each of the shards
		// may add one message, and the publisher holds a batch.
		if n := w.engine.Status().Counts.Events - before; n > 64<<10/200+2 {
			t.Errorf("%d events were read into a queue of 64 KiB", n)
		}
		close(gate)
		w.wait("the burst", func() bool { return w.sink.count("TYPING_START") == 20_000 })
		whole(t, w.quiet())
		sound(t, w)
		w.wantSummary(2, 0)
		if n := w.srv.Ledger().Summary().Connects; n != 2 {
			t.Errorf("%d connections: a shard that waits is no zombie", n)
		}
		whole(t, w.end())
	})
}

// A sink slower than a burst: heartbeats go on in time while the shard reads on.
func TestSinkSlow(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		slow := &slowSink{recorder: new(recorder), perEvent: 10 * time.Millisecond}
		w := newWorld(t, reader, sim.Options{ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10, Sink: slow})
		w.sink = slow.recorder
		w.ready(1)
		w.srv.Burst(0, 30_000) // five minutes
		w.wait("the burst", func() bool { return w.sink.count("TYPING_START") == 30_000 })
		whole(t, w.quiet())
		var last time.Time
		beats := w.srv.Ledger().Heartbeats()
		for _, b := range beats {
			// Among so many events the epoll reader looks at its timers every 4 ms.
			if !last.IsZero() && b.Time.Sub(last) > 41_250*time.Millisecond+4*time.Millisecond {
				t.Errorf("%v without a heartbeat", b.Time.Sub(last))
			}
			last = b.Time
		}
		if len(beats) < 7 {
			t.Errorf("%d heartbeats in five minutes", len(beats))
		}
		w.wantSummary(1, 0)
		whole(t, w.end())
	})
}

// slowSink is a recorder that takes its time.
type slowSink struct {
	*recorder
	perEvent time.Duration
}

func (s *slowSink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	time.Sleep(time.Duration(len(batch)) * s.perEvent)
	return s.recorder.Publish(ctx, batch, acked)
}

// failingSink is a recorder that fails in the middle of a batch.
type failingSink struct {
	*recorder
	after int // events that it still takes
}

var errBroker = errors.New("the broker is gone")

func (s *failingSink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	if len(batch) <= s.after {
		s.after -= len(batch)
		return s.recorder.Publish(ctx, batch, acked)
	}
	s.recorder.Publish(ctx, batch[:s.after], acked)
	return errBroker
}

// Events that were received and not acknowledged when the sink failed are no
// resume point: the next engine has them again from Discord.
func TestSinkFails(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		sink := &failingSink{new(recorder), 500}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 10, ReplayLimit: 50_000}, engine.Options{Sink: sink})
		if err := <-w.ended; !errors.Is(err, errBroker) {
			t.Fatalf("Run = %v, want the sink's error", err)
		}
		if n := sink.count(""); n != 500 {
			t.Fatalf("the sink took %d", n)
		}
		time.Sleep(5 * time.Second)
		w.sink.received = sink.received
		w.start(engine.Options{Checkpoints: keep(w.sessions())})
		w.ready(2)
		time.Sleep(time.Minute)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(2, 2)
		whole(t, w.end())
	})
}

// A sink that hangs does not keep the process from ending, and what it did not
// take is no resume point either.
func TestSinkHangsAtShutdown(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		gate := make(chan struct{})
		w := newWorld(t, reader, sim.Options{Rate: 5, ReplayLimit: 50_000}, engine.Options{ShutdownTimeout: 7 * time.Second})
		w.ready(1)
		time.Sleep(time.Minute)
		w.sink.hold(gate)
		time.Sleep(time.Minute)
		began := time.Now()
		w.stop()
		if err := <-w.ended; !errors.Is(err, engine.ErrDrain) {
			t.Errorf("Run = %v, want ErrDrain", err)
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("ended after %v, want the 7 s of the setting", took)
		}
		w.sink.mu.Lock()
		taken := w.sink.received
		w.sink.mu.Unlock()
		if s := w.sessions()[0]; s.Seq != taken[len(taken)-1].Seq {
			t.Errorf("stored seq %d, taken %d", s.Seq, taken[len(taken)-1].Seq)
		}
		next := &recorder{received: taken}
		w.sink = next
		w.start(engine.Options{Checkpoints: keep(w.sessions())})
		w.ready(1)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(1, 1)
		whole(t, w.end())
	})
}

// Stopping in the middle of a burst leaves sessions from which the next engine
// goes on, without a gap and without a repeat.
func TestStopDuringBurst(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		slow := &slowSink{recorder: new(recorder), perEvent: time.Millisecond}
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4, ReplayLimit: 50_000},
			engine.Options{Sink: slow, QueueBytes: 256 << 10})
		w.ready(4)
		for shard := range 4 {
			w.srv.Burst(shard, 5_000)
		}
		time.Sleep(3 * time.Second)
		w.stop()
		if err := <-w.ended; err != nil {
			t.Fatal(err)
		}
		if n := slow.count(""); n < 1_000 || n > 15_000 {
			t.Errorf("%d events taken: the burst was not under way", n)
		}
		w.sink.received = slow.received
		w.start(engine.Options{Checkpoints: keep(w.sessions())})
		w.ready(4)
		whole(t, w.quiet())
		w.wantSummary(4, 4)
		whole(t, w.end())
	})
}

// The guilds that follow READY can be megabytes each. What was needed to take
// them is given back.
func TestFirstPayloadsGivenBack(t *testing.T) {
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Guilds: -1}, engine.Options{Compression: c, Sink: discard{}})
				w.ready(1)
				before := heap()
				const size = 8 << 20
				w.srv.Dispatch(0, "GUILD_CREATE", []byte(`"`+strings.Repeat("members ", size/8)+`"`))
				w.wait("the guild", func() bool { return w.engine.Status().Counts.Events == 2 })
				w.srv.Dispatch(0, "TYPING_START", []byte(`{}`))
				w.wait("the next event", func() bool { return w.engine.Status().Counts.Events == 3 })
				synctest.Wait()
				w.srv.Overrun(0) // the simulator keeps the guild for a resume
				if grown := heap() - before; grown > 2<<20 {
					t.Errorf("%d KiB are held after a message of %d KiB", grown>>10, size>>10)
				}
				w.end()
			})
		})
	}
}

// heap returns the bytes of live objects.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second empties the pools
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// discard is a sink that takes everything.
type discard struct{}

func (discard) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	acked(len(batch))
	return nil
}

func (discard) Close() error { return nil }

// Commands wait for shards that have not started, and are refused by those
// that have stopped.
func TestCommandsBeforeAndAfter(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Faults: sim.Faults{Script: []sim.Rule{
			{When: sim.OnREST, Times: 5, Do: sim.Action{Kind: sim.ServerError}},
		}}}, engine.Options{})
		command := sinks.Command{Packet: []byte(`{"op":31,"d":{"guild_ids":["1"]}}`)}
		if err := w.engine.Send(t.Context(), command); err != nil {
			t.Errorf("Send before the shards are known: %v", err)
		}
		arrived := func() bool {
			for _, c := range w.srv.Ledger().Commands() {
				if c.Op == wire.OpRequestSoundboardSounds {
					return true
				}
			}
			return false
		}
		w.wait("the command", arrived)
		w.end()
		if err := w.engine.Send(context.Background(), command); err == nil {
			t.Error("Send after the end: no error")
		}
	})
}
