package fleetsim

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/fleet/memory"
)

var (
	seedCount = flag.Int("seeds", 10, "seeds of faults to run; make fleetseeds: 1000")
	firstSeed = flag.Uint64("from", 1, "the first seed")
	oneSeed   = flag.Uint64("seed", 0, "the one seed of faults to run")
	logWhole  = flag.Bool("whole", false, "log everything")
	logDebug  = flag.Bool("debug", false, "log more, which may change what a seed does")
)

// TestFleetSeeds runs a fleet of five processes and 64 shards for one or two minutes in which everything
// goes wrong that can. Each event that Discord sends, or would send again, is in the stream once and in order.
func TestFleetSeeds(t *testing.T) { seeds(t, *seedCount, false) }

// TestForgetfulSeeds does so with a coordinator that forgets steps, as a failover does: what is in the stream stays once
// and in order, and nothing is lost in silence; a turn to identify may be given twice.
func TestForgetfulSeeds(t *testing.T) { seeds(t, (*seedCount+3)/4, true) }

func seeds(t *testing.T, count int, forget bool) {
	// One at a time, and on one processor: then a seed is most often the same again.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	first := *firstSeed
	if testing.Short() {
		count = min(count, 3)
	}
	if *oneSeed != 0 {
		first, count = *oneSeed, 1
	}
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			synctest.Test(t, func(t *testing.T) { run(t, seed, forget) })
		})
	}
}

func run(t *testing.T, seed uint64, forget bool) {
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{t: t, seed: seed, rand: r, forget: forget, net: new(sim.Network), began: time.Now(), ended: make(chan struct{})}
	w.log = slog.New(slog.NewTextHandler(&w.lines, &slog.HandlerOptions{Level: level(), ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Duration("at", a.Value.Time().Sub(w.began).Round(time.Microsecond))
		}
		return a
	}}))
	w.stream = newStream(w)
	w.table = &table{Coordinator: memory.New(nil), w: w, saved: make(map[string]bool)}
	if forget {
		w.table.Remember(40)
	}
	kinds := sim.AllKinds &^ sim.Kinds(sim.HalfOpen, sim.SwallowACKs)
	if r.IntN(2) == 0 {
		kinds &^= sim.Kinds(sim.InvalidSession)
	}
	concurrency := []int{16, 16, 64}[r.IntN(3)]
	var err error
	w.srv, err = sim.New(sim.Options{
		Listen: w.net.Listen, Shards: shards, MaxConcurrency: concurrency, IdentifyTotal: 100_000, Guilds: 1, GuildMembers: 1, LargeEvery: -1, LargeEvents: -1,
		Rate: 0.3 + 3*r.Float64()*r.Float64(), ReplayLimit: 10_000, Seed: seed,
		Faults: sim.Faults{
			Seed: seed, Kinds: kinds, EveryPeriod: []time.Duration{0, time.Minute, 5 * time.Minute}[r.IntN(3)], Early: r.Float64() * r.Float64() / 3,
		},
		Log: w.log.With("member", "Discord"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.runs.Go(func() { w.budget(concurrency) })
	if r.IntN(2) == 0 {
		w.setWeather(newWeather(r))
	}
	for range 5 {
		w.join()
		time.Sleep(span(r, 3*time.Second))
	}
	if r.IntN(4) > 0 {
		time.Sleep(time.Duration(10+r.IntN(20)) * time.Second)
	}
	lasts := time.Duration(30+r.IntN(60)) * time.Second
	time.AfterFunc(lasts-10*time.Second, w.clear) // what comes late has come when the faults are over
	w.disturb(time.Now().Add(lasts))
	w.settle()
	for _, p := range w.up() {
		if w.failed() {
			p.kill()
		} else {
			p.term()
		}
	}
	close(w.ended)
	w.runs.Wait()
	w.srv.Close()
	time.Sleep(time.Minute) // for what comes late
	synctest.Wait()
	w.verdict()
	lines := 60
	if *logWhole {
		lines = 1 << 30
	}
	if w.failed() || *logWhole {
		w.lines.keep()
		t.Logf("the log until something was wrong:\n%s\n%s", w.lines.tail(lines), w.tell())
	}
	if w.failed() {
		t.Errorf("again: go test ./bench/fleetsim -run '^%s$' -seed %d -whole", strings.SplitN(t.Name(), "/", 2)[0], seed)
	}
}

func level() slog.Level {
	if *logDebug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
