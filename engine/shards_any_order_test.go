// This file has shards added, removed and deposed by several goroutines at once.

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// Whatever calls of Add, Remove and Depose meet, with a sink that stands still, connections that are cut
// and checkpoints that wait: each returns, and nothing is left behind. Calls that meet the end of
// Run return, too.
func TestShardsInAnyOrder(t *testing.T) {
	seeds := 8
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			byTurns(t, seed/2, func(t *testing.T, reader engine.ReaderKind) { anyOrder(t, reader, uint64(seed)) })
		})
	}
}

func anyOrder(t *testing.T, reader engine.ReaderKind, seed uint64) {
	const shards, callers = 4, 3
	c := new(checkpoints)
	w := newWorld(t, reader, sim.Options{
		Shards: shards, MaxConcurrency: 4, Rate: 30, ReplayLimit: 50_000, SessionTTL: time.Hour, Seed: seed,
		Faults: sim.Faults{Seed: seed, EveryEvents: 200, Kinds: sim.Kinds(sim.CutFIN, sim.CutRST, sim.Reconnect, sim.SplitWrites)},
	}, engine.Options{QueueBytes: 64 << 10, IDs: none, Checkpoints: c, Readers: 2})
	ended, end := context.WithCancel(t.Context())
	defer end()
	r := rand.New(rand.NewPCG(seed, 2))
	var calls sync.WaitGroup
	pause := func(r *rand.Rand, most time.Duration) { time.Sleep(time.Duration(r.Int64N(int64(most)))) }
	for id := range shards {
		for range callers {
			r := rand.New(rand.NewPCG(r.Uint64(), 3))
			calls.Go(func() {
				for ended.Err() == nil {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(5000))*time.Millisecond)
					switch r.IntN(4) {
					case 0, 1:
						w.engine.Add(ctx, id, resume.Session{}) // or it is there
					case 2:
						_, err := w.engine.Remove(ctx, id)
						var elsewhere *sinks.NotLocalError
						if err != nil && ctx.Err() == nil && !errors.As(err, &elsewhere) && !errors.Is(err, sinks.ErrStopped) {
							t.Errorf("Remove: %v", err)
						}
					default:
						w.engine.Depose(id)
					}
					cancel()
					pause(r, 10*time.Second)
				}
			})
		}
	}
	for range 6 {
		pause(r, 10*time.Second)
		gate := make(chan struct{})
		w.sink.hold(gate)
		pause(r, 4*time.Second)
		persist := c.stall()
		pause(r, 4*time.Second)
		close(gate)
		pause(r, time.Second)
		persist()
	}
	if seed%2 == 0 { // Run ends in the middle of it
		w.stop()
		pause(r, 5*time.Second)
	}
	end()
	calls.Wait()
	if seed%2 == 0 {
		if err := <-w.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		return
	}
	w.srv.Calm()
	for id := range shards {
		if _, err := w.engine.Remove(t.Context(), id); err != nil && !errors.As(err, new(*sinks.NotLocalError)) {
			t.Errorf("Remove at the end: %v", err)
		}
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if left := w.engine.Left(); left != (engine.LeftBehind{Slots: left.Slots}) || left.Slots > 2*shards {
		t.Errorf("left behind: %+v", left)
	}
	if n := w.srv.Connected(); n != 0 {
		t.Errorf("%d connections", n)
	}
	for id := range shards {
		w.add(id, resume.Session{})
	}
	w.ready(shards)
	w.end()
}
