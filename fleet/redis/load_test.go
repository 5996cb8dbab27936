//go:build unix

// This file measures what a fleet costs Redis.

package redis

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/sinks/sinktest/redistest"
)

// BenchmarkBeat has 50 members beat in a fleet of 10,000 shards, of which none, or ten in each second of beats,
// are handed over. It reports the CPU of Redis for a beat, and what part of a core that is with all beats of a second.
func BenchmarkBeat(b *testing.B) {
	for name, every := range map[string]int{"steady": 0, "moving": 5} {
		b.Run(name, func(b *testing.B) { beats(b, every) })
	}
}

// beats hands a shard over with each beat of that number.
func beats(b *testing.B, every int) {
	const members, shards = 50, 10_000
	srv := redistest.Start(b)
	c := open(b, srv.Addr, "bot")
	var all []fleet.Member
	var owned []fleet.Shard
	for i := range members {
		m := member(fmt.Sprintf("ABCDEFGHIJKLMNOPQRSTUVW%02d", i))
		all = append(all, m)
		join(b, c, m.Incarnation)
		var ids []int
		for shard := i * shards / members; shard < (i+1)*shards/members; shard++ {
			ids = append(ids, shard)
		}
		owned = append(owned, acquire(b, c, m.Incarnation, ids...)...)
	}
	since := make([]int64, members)
	for i := range all {
		since[i] = must[fleet.View](b)(c.Beat(b.Context(), all[i], 0)).Revision
	}
	before, n := cpu(b, srv), 0
	for b.Loop() {
		i := n % members
		all[i].Beat++
		since[i] = must[fleet.View](b)(c.Beat(b.Context(), all[i], since[i])).Revision
		if n++; every > 0 && n%every == 0 {
			s := &owned[n*997%shards]
			if to := all[(i+1)%members].Incarnation; s.Owner.Incarnation != to {
				s.Owner = must[fleet.Owner](b)(c.Give(b.Context(), s.ID, s.Owner, to))
				if err := c.Take(b.Context(), s.ID, s.Owner); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	whole := (cpu(b, srv) - before).Seconds() / float64(n)
	b.ReportMetric(whole*1e6, "redis-µs/beat")
	b.ReportMetric(whole*members*100, "%core")
}

// cpu returns what the server has used.
func cpu(b *testing.B, srv *redistest.Server) (sum time.Duration) {
	for _, m := range regexp.MustCompile(`used_cpu_(?:sys|user):([0-9.]+)`).FindAllStringSubmatch(srv.CLI("INFO", "cpu"), -1) {
		s, _ := strconv.ParseFloat(m[1], 64)
		sum += time.Duration(s * 1e9)
	}
	return sum
}

// BenchmarkAsk has 50 members ask for turns, 10,000 shards waiting: as a beat, each does so once a second.
func BenchmarkAsk(b *testing.B) {
	const members, shards = 50, 10_000
	srv := redistest.Start(b)
	c := open(b, srv.Addr, "bot")
	if err := c.Budget(b.Context(), fleet.Budget{Total: shards, Remaining: shards, Concurrency: 16, Reset: time.Now()}, time.Now()); err != nil {
		b.Fatal(err)
	}
	var waiting [members][]int
	for shard := range shards {
		waiting[shard*members/shards] = append(waiting[shard*members/shards], shard)
	}
	ask := func(i int) {
		must[fleet.Grants](b)(c.Ask(b.Context(), fmt.Sprintf("ABCDEFGHIJKLMNOPQRSTUVW%02d", i), 1, waiting[i]))
	}
	for i := range members {
		ask(i)
	}
	before, n := cpu(b, srv), 0
	for b.Loop() {
		ask(n % members)
		n++
	}
	whole := (cpu(b, srv) - before).Seconds() / float64(n)
	b.ReportMetric(whole*1e6, "redis-µs/ask")
	b.ReportMetric(whole*members*100, "%core")
}
