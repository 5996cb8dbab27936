// This file tests the heap of timers.

package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever is set, moved and taken out, the first is the earliest, and each knows its place.
func TestTimers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var timers timers
	shards := make([]*loopShard, 50)
	for i := range shards {
		shards[i] = &loopShard{at: -1}
	}
	for range 10_000 {
		var due time.Time
		if n := r.IntN(40); n > 0 {
			due = time.Unix(int64(n), 0)
		}
		timers.set(shards[r.IntN(len(shards))], due)
		waiting := 0
		for _, e := range shards {
			switch {
			case e.due.IsZero() != (e.at < 0):
				t.Fatalf("due at %v and at %d", e.due, e.at)
			case e.due.IsZero():
				continue
			case timers[e.at] != e:
				t.Fatal("a shard does not know its place")
			case e.due.Before(timers[0].due):
				t.Fatalf("%v is first, and %v is due", timers[0].due, e.due)
			}
			waiting++
		}
		if waiting != len(timers) {
			t.Fatalf("%d timers for %d shards", len(timers), waiting)
		}
	}
}
