// This file finds how long the events of a shard stood still when it moved.

package crash

import (
	"fmt"
	"slices"
	"time"

	"sluice/bench/sim"
)

// leastPause is the shortest time without an event of a shard that is noted: shards with few events have such by
// chance. A move with a shorter one counts as this.
const leastPause = 50 * time.Millisecond

// clockGrain is how exactly a broker says when it took an event.
const clockGrain = 2 * time.Millisecond

// span is a time without an event of a shard.
type span struct{ from, to time.Time }

// moves are the pauses of the moves, ascending, that the server saw as Resumes from the first on, of sessions that were
// resumed. still are the times without events.
func moves(resumes []sim.Resume, still map[int][]span) (pauses []time.Duration, times map[int]int) {
	times = make(map[int]int)
	for _, r := range resumes {
		if r.Shard < 0 || r.Outcome != "resumed" {
			continue
		}
		times[r.Shard]++
		pause := leastPause
		for _, s := range still[r.Shard] {
			if !s.from.After(r.Time.Add(clockGrain)) && !s.to.Before(r.Time.Add(-clockGrain)) {
				pause = max(pause, s.to.Sub(s.from))
			}
		}
		pauses = append(pauses, pause)
	}
	slices.Sort(pauses)
	return pauses, times
}

// pauseText says how long ascending pauses are.
func pauseText(pauses []time.Duration) string {
	n := len(pauses)
	if n == 0 {
		return "no move"
	}
	at := func(i int) time.Duration { return pauses[i].Round(time.Millisecond) }
	return fmt.Sprintf("%d moves, pause of a shard: median %v, 99 %% %v, longest %v", n, at(n/2), at((n-1)*99/100), at(n-1))
}

// timesText says how many shards have moved how often.
func timesText(times map[int]int, shards int) (text string, most int) {
	how := make(map[int]int)
	for _, n := range times {
		how[n]++
		most = max(most, n)
	}
	how[0] = shards - len(times)
	for n := range most + 1 {
		if n > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%d shards %d times", how[n], n)
	}
	return text, most
}
