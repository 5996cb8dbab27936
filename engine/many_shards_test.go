// This file starts 2,000 shards. Under the race detector that takes a minute and
// shows nothing that fewer do not: it is left out there.

//go:build !race

package engine_test

import (
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/wire"
)

// 2,000 shards start in the order of their buckets, each bucket at Discord's
// pace, and stay ready while the others start.
func TestStartupOrder(t *testing.T) {
	const shards, buckets = 2000, 16
	byTurns(t, 1, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: shards, MaxConcurrency: buckets, IdentifyTotal: shards, Guilds: 1, Stored: true},
			engine.Options{Compression: wire.CompressionZstd})
		began := time.Now()
		w.ready(shards)
		t.Logf("%d shards, %d buckets: ready after %v of Discord's time; %v a bucket's round",
			shards, buckets, time.Since(began).Round(time.Second), time.Since(began)/(shards/buckets))
		last := map[int]sim.Identify{}
		for i, id := range w.srv.Ledger().Identifies() {
			if id.Shard/buckets != i/buckets {
				t.Errorf("identify %d is shard %d's", i, id.Shard)
			}
			before, ok := last[id.Bucket]
			if ok && (id.Shard != before.Shard+buckets || id.Time.Sub(before.Time) < 5*time.Second) {
				t.Errorf("shard %d identified %v after shard %d", id.Shard, id.Time.Sub(before.Time), before.Shard)
			}
			last[id.Bucket] = id
		}
		whole(t, w.quiet())
		w.wantSummary(shards, 0)
		sound(t, w)
		whole(t, w.end())
	})
}
