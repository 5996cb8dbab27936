// This file tests shards that are removed in whatever state, often, through faults, and at the end.

package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// A shard is removed in each state on the way to READY: at once, and with its place in the identify queue.
func TestRemoveWhileConnecting(t *testing.T) {
	for _, state := range []engine.State{engine.IdentifyQueued, engine.Connecting, engine.Hello, engine.IdentifyWait, engine.Identifying, engine.Backoff} {
		for _, how := range []string{"remove", "depose"} {
			t.Run(fmt.Sprint(how, " in ", state), func(t *testing.T) {
				onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
					so := sim.Options{Shards: 3, ReadyDelay: time.Second}
					switch state {
					case engine.Hello:
						so.Faults.Script = []sim.Rule{{When: sim.BeforeHello, Times: 1, Do: sim.Action{Kind: sim.HalfOpen}}}
					case engine.Backoff:
						so.Faults.Script = []sim.Rule{{When: sim.BeforeHello, Times: 1, Do: sim.Action{Kind: sim.CutFIN}}}
					}
					w := newWorld(t, reader, so, engine.Options{IDs: none})
					reached, once := make(chan struct{}), new(sync.Once)
					w.hook(func(shard int, to engine.State) {
						if shard == 1 && to == state {
							once.Do(func() { close(reached) })
						}
					})
					if state == engine.IdentifyQueued || state == engine.IdentifyWait {
						w.add(0, resume.Session{}) // which has the turn first, and its window
					}
					if state == engine.Connecting {
						w.srv.SetGateway(sim.GateSilent)
					}
					w.add(1, resume.Session{})
					<-reached
					synctest.Wait()
					began := time.Now()
					if how == "remove" {
						if s := w.remove(1); s != (resume.Session{}) {
							t.Errorf("removed with %+v", s)
						}
					} else {
						w.engine.Depose(1)
						w.add(1, resume.Session{}) // waits until it is gone
						w.engine.Depose(1)
					}
					if took := time.Since(began); took > 1100*time.Millisecond {
						t.Errorf("after %v", took)
					}
					w.srv.SetGateway(sim.GateOpen)
					w.add(2, resume.Session{})
					w.wait("the others", func() bool { n := w.engine.Status(); return n.Ready == n.Running })
					if took := time.Since(began); took > 12*time.Second {
						t.Errorf("the next one has waited for %v", took)
					}
					identified := 0
					for _, id := range w.srv.Ledger().Identifies() {
						if id.Shard == 1 && state != engine.Identifying {
							identified++
						}
					}
					if how == "depose" {
						identified-- // that of the second may be on its way when it is deposed
					}
					if identified > 0 {
						t.Error("a removed shard has identified")
					}
					sound(t, w)
					w.end()
				})
			})
		}
	}
}

// Shards come and go a thousand times: no goroutine, slot, place in a queue or session is left behind.
func TestShardsComeAndGo(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4, Rate: 1, ReplayLimit: 50_000, ReplayAge: 10 * time.Hour, SessionTTL: time.Hour}, engine.Options{IDs: none, Readers: 2})
		sessions := make([]resume.Session, 4)
		var goroutines int
		for round := range 250 {
			for id := range sessions {
				w.add(id, sessions[id])
			}
			w.ready(4)
			for id := range sessions {
				if (round+id)%4 == 0 {
					synctest.Wait() // the sink has acknowledged what it has
					sessions[id] = w.sessions()[id]
					w.engine.Depose(id)
				} else {
					sessions[id] = w.remove(id)
				}
			}
			time.Sleep(2 * time.Second) // the peers close
			synctest.Wait()
			if round == 10 {
				goroutines = runtime.NumGoroutine()
			}
		}
		// Those of the simulator and of other tests come and go; one for each shard that went is 960.
		if n := runtime.NumGoroutine(); n > goroutines+200 {
			t.Errorf("%d goroutines, after ten rounds there were %d", n, goroutines)
		}
		if left := w.engine.Left(); left != (engine.LeftBehind{Slots: left.Slots}) || left.Slots > 4 {
			t.Errorf("left behind: %+v", left)
		}
		if n := w.srv.Connected(); n != 0 {
			t.Errorf("%d connections", n)
		}
		for id := range sessions {
			w.add(id, sessions[id])
		}
		w.ready(4)
		w.srv.Silence()
		whole(t, w.quiet())
		if s := w.srv.Ledger().Summary(); s.Identifies != 4 {
			t.Errorf("%d identifies", s.Identifies)
		}
		whole(t, w.end())
	})
}

// Whatever happens to the connections, shards that move lose nothing.
func TestShardsMoveThroughFaults(t *testing.T) {
	seeds := 5
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			byTurns(t, seed, func(t *testing.T, reader engine.ReaderKind) {
				const shards = 6
				w := newWorld(t, reader, sim.Options{
					Shards: shards, MaxConcurrency: 2, Rate: 10, ReplayLimit: 50_000, SessionTTL: time.Hour, Seed: uint64(seed),
					Faults: sim.Faults{Seed: uint64(seed), EveryEvents: 300, Kinds: sim.Kinds(sim.CutFIN, sim.CutRST, sim.Reconnect, sim.SplitWrites, sim.SwallowACKs)},
				}, engine.Options{QueueBytes: 64 << 10, IDs: none})
				r := rand.New(rand.NewPCG(uint64(seed), 1))
				var movers sync.WaitGroup
				for id := range shards {
					pauses := rand.New(rand.NewPCG(r.Uint64(), 1))
					movers.Go(func() {
						var session resume.Session
						for range 20 {
							w.add(id, session)
							time.Sleep(time.Duration(pauses.IntN(20_000)) * time.Millisecond)
							session = w.remove(id)
							time.Sleep(time.Duration(pauses.IntN(1000)) * time.Millisecond)
						}
						w.add(id, session)
					})
				}
				movers.Wait()
				w.srv.Calm()
				w.ready(shards)
				w.srv.Silence()
				whole(t, w.quiet())
				sound(t, w)
				whole(t, w.end())
			})
		})
	}
}

// A peer that reads nothing holds up neither.
func TestRemoveFromStalledPeer(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, SessionTTL: time.Hour, HeartbeatGrace: time.Hour}, engine.Options{})
		w.ready(2)
		w.quiet()
		w.stalled.Store(true)
		for id := range 2 {
			packet := fmt.Sprintf(`{"op":4,"d":{"guild_id":"%d","channel_id":"1"}}`, (id+2)<<22)
			if err := w.engine.Send(t.Context(), sinks.Command{Shard: id, Packet: []byte(packet)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // the writes wait
		began := time.Now()
		session := w.remove(0)
		if took := time.Since(began); took > 2100*time.Millisecond {
			t.Errorf("removed after %v", took)
		}
		other := w.sessions()[1]
		w.engine.Depose(1)
		began = time.Now()
		w.add(1, other)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("let go of after %v", took)
		}
		w.stalled.Store(false)
		w.add(0, session)
		w.ready(2)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(2, 2)
		whole(t, w.end())
	})
}

// The engine stops while a shard is removed that the sink does not let go: so does Remove.
func TestStopWhileRemoved(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 5, ReplayLimit: 50_000}, engine.Options{})
		w.ready(2)
		gate := make(chan struct{})
		defer close(gate)
		w.sink.hold(gate)
		time.Sleep(10 * time.Second)
		removed := make(chan error, 1)
		go func() {
			_, err := w.engine.Remove(t.Context(), 0)
			removed <- err
		}()
		time.Sleep(10 * time.Second)
		w.stop()
		synctest.Wait()
		if err := w.engine.Add(t.Context(), 1, resume.Session{}); err == nil {
			t.Error("a shard was added to an engine that stops")
		}
		if err := <-w.ended; !errors.Is(err, engine.ErrDrain) {
			t.Errorf("Run: %v", err)
		}
		if err := <-removed; !errors.Is(err, sinks.ErrStopped) {
			t.Errorf("Remove: %v", err)
		}
		if s := w.sessions()[0]; s.Seq != w.sink.last(0) {
			t.Errorf("the checkpoint is %d, the sink has %d", s.Seq, w.sink.last(0))
		}
	})
}

// An engine without any shard takes many at once under one epoch, gives them all up, has none for a while, and takes
// them again under the next: they resume, and nothing is lost.
func TestManyAddedAtOnce(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		const shards = 64
		o, c := newOwners(true), new(checkpoints)
		w := newWorld(t, reader, sim.Options{Shards: shards, MaxConcurrency: 16, Rate: 5, ReplayLimit: 50_000}, engine.Options{
			IDs: none, Readers: 2, Checkpoints: c, Confirm: o.confirm, Trusted: o.trusted.Load,
		})
		sessions := make([]resume.Session, shards)
		for epoch := range int64(3) {
			w.wait("no shard", func() bool { return w.engine.Status().Running == 0 })
			time.Sleep(20 * time.Second)
			var all sync.WaitGroup
			for id := range sessions {
				sessions[id].Epoch = epoch + 1
				all.Go(func() { w.add(id, sessions[id]) })
			}
			all.Wait()
			w.ready(shards)
			time.Sleep(5 * time.Second)
			if epoch == 2 {
				break
			}
			for id := range sessions {
				all.Go(func() { sessions[id] = w.remove(id) })
			}
			all.Wait()
		}
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(shards, 2*shards)
		sound(t, w)
		whole(t, w.end())
	})
}
