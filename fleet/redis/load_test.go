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

// BenchmarkBeat has 50 members beat in a fleet of 10,000 shards, of which ten change in each second. It reports
// the CPU of Redis for a beat, and what part of a core 50 a second take.
func BenchmarkBeat(b *testing.B) {
	const members, shards, moves = 50, 10_000, 10
	srv := redistest.Start(b)
	c := open(b, srv.Addr, "bot")
	var all []fleet.Member
	owned := make([]fleet.Shard, 0, shards)
	since := make([]int64, members)
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
	for i := range all {
		since[i] = must[fleet.View](b)(c.Beat(b.Context(), all[i], 0)).Revision
	}
	srv.CLI("CONFIG", "RESETSTAT")
	before, began := cpu(b, srv), time.Now()
	beats, moved := 0, 0
	for b.Loop() {
		i := beats % members
		if i%(members/moves) == 0 {
			s := owned[moved*997%shards]
			to := all[i].Incarnation
			if s.Owner.Incarnation != to {
				o := must[fleet.Owner](b)(c.Give(b.Context(), s.ID, s.Owner, to))
				if err := c.Take(b.Context(), s.ID, o); err != nil {
					b.Fatal(err)
				}
				owned[moved*997%shards].Owner = o
			}
			moved++
		}
		all[i].Beat++
		since[i] = must[fleet.View](b)(c.Beat(b.Context(), all[i], since[i])).Revision
		beats++
	}
	whole := cpu(b, srv) - before
	b.ReportMetric(whole.Seconds()/float64(beats)*1e6, "redis-µs/beat")
	b.ReportMetric(whole.Seconds()/float64(beats)*members*100, "%core")
	b.ReportMetric(float64(moved)/time.Since(began).Seconds(), "moves/s")
}

// cpu returns what the server has used.
func cpu(b *testing.B, srv *redistest.Server) (sum time.Duration) {
	for _, m := range regexp.MustCompile(`used_cpu_(?:sys|user):([0-9.]+)`).FindAllStringSubmatch(srv.CLI("INFO", "cpu"), -1) {
		s, _ := strconv.ParseFloat(m[1], 64)
		sum += time.Duration(s * 1e9)
	}
	return sum
}
