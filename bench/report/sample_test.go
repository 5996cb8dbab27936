// This file makes up Reports as the harness would find them, the same ones each time.

package report

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// program is what a made-up subject needs.
type program struct {
	name    string
	gateway bool
	cpu     float64 // seconds an event
	allocs  float64 // an event
	base    float64 // bytes without shards
	shard   float64 // bytes a shard
	delay   float64 // seconds, in the middle
	tail    float64 // how far the latency spreads: the deviation of its logarithm
}

var programs = []program{
	{"gateway epoll", true, 2.1e-6, 0.0004, 17e6, 6.1e3, 90e-6, 0.55},
	{"gateway goroutine", true, 5.4e-6, 0.0011, 19e6, 16.4e3, 140e-6, 0.6},
	{"disgo 0.19.6", false, 29e-6, 41, 25e6, 61e3, 420e-6, 0.8},
	{"discordgo 0.29.0", false, 24e-6, 57, 24e6, 63e3, 380e-6, 0.8},
	{"@discordjs/ws 2.0.4", false, 61e-6, -1, 88e6, 142e3, 1.1e-3, 0.9},
}

// sample returns a Report of ten scenarios with three runs of each subject, some
// of which failed. faster is how many times less CPU the gateway needs than usual.
func sample(seed uint64, faster float64) *Report {
	rng := rand.New(rand.NewPCG(seed, 4))
	r := &Report{
		Version: Version,
		Started: time.Date(2026, 11, 20, 14, 5, 0, 0, time.UTC),
		Seconds: 1874,
		Gateway: "v0.4.0-12-g5da1213",
		Machine: Machine{
			CPU: "AMD EPYC 7B13", Cores: 2, Memory: 8 << 30, OS: "linux/amd64",
			Kernel: "6.1.0-28-amd64", Go: "go1.26.8", Load: 0.31,
		},
	}
	scenarios := []struct {
		Scenario
		subjects int
		figures  func(p program, shards float64) map[string]float64
	}{
		{Scenario{Name: "flood-1", About: "One shard reads a recorded stream as fast as it can.", Shards: 1, Rate: -1, TLS: true}, 5, nil},
		{Scenario{Name: "flood-16", About: "Sixteen shards read a recorded stream as fast as they can.", Shards: 16, Rate: -1, TLS: true}, 5, nil},
		{Scenario{Name: "rate-64", About: "Mixed events at a steady rate over 64 shards.", Shards: 64, Rate: 20000}, 5, nil},
		{Scenario{Name: "rate-1000", About: "Many events over many shards.", Shards: 1000, Rate: 100000}, 4, nil},
		{Scenario{Name: "rate-20", About: "Twenty events a second on each of 1,000 shards.", Shards: 1000, Rate: 20000}, 4, nil},
		{Scenario{Name: "idle-1000", About: "Nothing but heartbeats.", Shards: 1000}, 5, idleFigures},
		{Scenario{Name: "idle-10000", About: "Nothing but heartbeats, over TLS.", Shards: 10000, TLS: true}, 4, idleFigures},
		{Scenario{Name: "guilds", About: "The guild streams of a start on every shard.", Shards: 64, Rate: -1, TLS: true}, 3, func(p program, _ float64) map[string]float64 {
			return map[string]float64{"seconds_to_ready": 3e5 * p.cpu, "heartbeat_late_max": 60 * p.delay}
		}},
		{Scenario{Name: "big", About: "Messages of 1 to 8 MiB.", Shards: 4, Rate: 40, TLS: true}, 3, nil},
		{Scenario{Name: "reconnect", About: "Every connection is cut at once.", Shards: 1000, Rate: 2000, TLS: true}, 5, func(p program, _ float64) map[string]float64 {
			return map[string]float64{"seconds_to_resume": 8e4 * p.cpu, "events_lost": 0}
		}},
	}
	for _, sc := range scenarios {
		for _, p := range programs[:sc.subjects] {
			if p.gateway {
				p.cpu /= faster
			}
			compression := "zstd-stream"
			switch {
			case !sc.TLS:
				compression = "none"
			case p.name == "discordgo 0.29.0":
				compression = "zlib-payload"
			}
			subject := Subject{Name: p.name, Gateway: p.gateway, Compression: compression}
			for range 3 {
				run := sampleRun(rng, p, &sc.Scenario)
				if sc.figures != nil {
					run.Figures = sc.figures(p, float64(sc.Shards))
					for _, name := range slices.Sorted(maps.Keys(run.Figures)) {
						run.Figures[name] *= 1 + 0.04*rng.Float64()
					}
				}
				subject.Runs = append(subject.Runs, run)
			}
			switch {
			case sc.Name == "rate-1000" && !p.gateway:
				for i := range subject.Runs {
					subject.Runs[i] = Run{Heap: -1, Allocs: -1, Goroutines: -1, Failure: "read 61,204 events/s of 100,000: it cannot keep up, and the simulator's buffers are full"}
				}
			case sc.Name == "reconnect" && p.name == "disgo 0.19.6":
				subject.Runs[1].Failure = "14 events lost on shard 381"
			}
			sc.Subjects = append(sc.Subjects, subject)
		}
		r.Scenarios = append(r.Scenarios, sc.Scenario)
	}
	return r
}

func idleFigures(p program, _ float64) map[string]float64 {
	return map[string]float64{"bytes_per_shard": p.shard, "heartbeat_late_max": 40 * p.delay}
}

func sampleRun(rng *rand.Rand, p program, sc *Scenario) Run {
	wobble := func() float64 { return 0.96 + 0.08*rng.Float64() }
	const window, warmup, step = 15.0, 3.0, 0.25
	cost := p.cpu * wobble()
	rate := sc.Rate
	if rate < 0 {
		rate = 1.1 / cost
	}
	shards := float64(sc.Shards)
	cores := cost*rate + 2e-6*shards + 0.001
	memory := (p.base + p.shard*shards) * wobble()
	events := int64(rate * window)
	run := Run{
		Seconds: window, Events: events,
		User: cores * window * 0.62, System: cores * window * 0.38,
		RSS: int64(memory), MaxRSS: int64(memory * 1.15),
		Heap: int64(memory * 0.4), Allocs: int64(p.allocs * float64(events)),
		Threads: 9, Goroutines: 14,
	}
	if !p.gateway {
		run.Heap, run.Allocs, run.Goroutines = -1, -1, -1
	}
	if sc.Rate != 0 {
		delays := make([]float64, 20000)
		for i := range delays {
			delays[i] = p.delay * math.Exp(rng.NormFloat64()*p.tail)
			if rng.IntN(400) == 0 {
				delays[i] += 20 * p.delay * rng.Float64()
			}
		}
		slices.Sort(delays)
		at := func(f float64) float64 { return delays[int(f*float64(len(delays)-1))] }
		run.Latency = Latency{Count: events / 16, P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: at(1)}
		for i := range 100 {
			f := 1 - math.Pow(10, -4*float64(i)/99)
			run.Latency.Curve = append(run.Latency.Curve, [2]float64{at(f), f})
		}
	}
	for at := -warmup; at <= window; at += step {
		grown := 1 - 0.5*math.Exp(-(at+warmup)/1.2)
		run.Samples = append(run.Samples, Sample{At: at, CPU: cores * grown * wobble(), RSS: int64(memory * grown)})
	}
	return run
}
