// This file tests how long shards are said to have stood still.

package crash

import (
	"maps"
	"slices"
	"testing"
	"time"

	"sluice/bench/sim"
)

// A move counts with the pause that its Resume is in, by the times that the broker has, whenever they were read; a
// Resume that was refused is none.
func TestMoves(t *testing.T) {
	var a arrivals
	began := time.UnixMilli(1_700_000_000_000)
	add := func(shard int, seq int64, ms int) {
		a.at = began.Add(time.Duration(ms) * time.Millisecond)
		a.add(shard, "s", seq, "X", nil)
	}
	for i, ms := range []int{0, 10, 500, 520, 2000} {
		add(0, int64(i), ms)
	}
	for i, ms := range []int{0, 10, 20, 30} {
		add(1, int64(10+i), ms)
	}
	resume := func(shard, ms int, outcome string) sim.Resume {
		return sim.Resume{Shard: shard, Time: began.Add(time.Duration(ms) * time.Millisecond), Outcome: outcome}
	}
	pauses, times := moves([]sim.Resume{
		resume(0, 499, "resumed"), resume(1, 25, "resumed"), resume(0, 1500, "not resumable"), resume(-1, 1500, "resumed"), resume(0, 515, "resumed"),
	}, a.still)
	if want := []time.Duration{leastPause, leastPause, 490 * time.Millisecond}; !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	if want := map[int]int{0: 2, 1: 1}; !maps.Equal(times, want) {
		t.Errorf("moved %v, want %v", times, want)
	}
	if text, most := timesText(times, 4); most != 2 || text != "2 shards 0 times, 1 shards 1 times, 1 shards 2 times" {
		t.Errorf("%d, %q", most, text)
	}
	if text := pauseText(pauses); text != "3 moves, pause of a shard: median 50ms, 99 % 50ms, longest 490ms" {
		t.Errorf("%q", text)
	}
}
