// This file throws random faults at the engine, from seeds.

package engine_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

var (
	seedCount = flag.Int("seeds", 40, "seeds of faults to run; make seeds runs 1000")
	oneSeed   = flag.Uint64("seed", 0, "the one seed of faults to run")
)

// TestFaultSeeds runs some minutes of a simulated Discord that does to a client
// whatever can be done to it. Whatever that is, every event that can be had
// arrives once and in order, and no limit is exceeded.
func TestFaultSeeds(t *testing.T) {
	first, count := uint64(1), uint64(*seedCount)
	if testing.Short() {
		count = min(count, 5)
	}
	if *oneSeed != 0 {
		first, count = *oneSeed, 1
	}
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			byTurns(t, int(seed), func(t *testing.T, reader engine.ReaderKind) { runSeed(t, reader, seed) })
		})
	}
}

func runSeed(t *testing.T, reader engine.ReaderKind, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := sim.AllKinds
	if r.IntN(2) == 0 {
		kinds &^= sim.Kinds(sim.InvalidSession)
	}
	shards := 1 + r.IntN(4)
	var log *slog.Logger
	if *oneSeed != 0 {
		log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	w := newWorld(t, reader, sim.Options{
		Shards:         shards,
		MaxConcurrency: 1 + r.IntN(3),
		Guilds:         1 + r.IntN(4),
		Rate:           0.5 + 2*r.Float64(),
		ReplayLimit:    []int{0, 10_000}[r.IntN(2)],
		Seed:           seed,
		Faults: sim.Faults{
			Seed:        seed,
			EveryPeriod: time.Duration(5+r.IntN(60)) * time.Second,
			EveryEvents: []int{0, 200}[r.IntN(2)],
			Early:       r.Float64() / 2,
			Kinds:       kinds,
		},
	}, engine.Options{
		Compression: compressions[r.IntN(len(compressions))],
		QueueBytes:  []int{0, 64 << 10}[r.IntN(2)],
		Seed:        seed,
		Log:         log,
	})
	time.Sleep(time.Duration(60+r.IntN(240)) * time.Second)
	w.srv.Calm()
	w.ready(shards)
	w.srv.Silence()
	whole(t, w.quiet())
	sound(t, w)
	whole(t, w.end())
	if t.Failed() {
		t.Logf("again: make seeds SEED=%d\n%v", seed, w.srv.Ledger().Summary())
	}
}
