// This file says what a run is in which a bot gets other shard counts, and what comes of it.

package crash

import (
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/bench/sim"
)

// ReshardOptions say between which shard counts a bot goes to and fro. Gateway is required.
type ReshardOptions struct {
	Gateway  string // the program's file
	Sink     string // one of Sinks; empty: redis
	Store    string // file or redis; empty: redis
	From, To int
	Rate     float64 // events a second of all guilds; 0: 2000
	Rounds   int     // resharded so often; 0: 1
	Kills    int     // SIGKILL at random moments of that, and a few ends at failpoints if the program has them
	Seed     uint64
	Log      io.Writer // takes a line for each
}

// ReshardResult is what came of it.
type ReshardResult struct {
	Events, Arrived             int
	Lost, Repeated              int // of the payloads of each guild
	OutOfOrder                  int // guilds in which they did not come in the order in which they happened
	Gaps                        int
	Identifies, Kills, Reshards int
	Pauses                      []time.Duration // of each switch, as the log has it
	Again                       int             // (session, seq) that came twice, and were dropped
}

// String returns the result in a line.
func (r *ReshardResult) String() string {
	return fmt.Sprintf("%d events happened, %d arrived: lost %d, repeated %d, out of order in %d guilds, %d gaps; %d with the same session and seq dropped; resharded %d times with %d kills and %d identifies; pauses at the switch %v",
		r.Events, r.Arrived, r.Lost, r.Repeated, r.OutOfOrder, r.Gaps, r.Again, r.Reshards, r.Kills, r.Identifies, r.Pauses)
}

// Check returns an error if a promise is broken.
func (r *ReshardResult) Check() error {
	if r.Lost+r.Repeated+r.OutOfOrder+r.Gaps > 0 {
		return errors.New("lost, repeated and out of order are not 0")
	}
	return nil
}

// compareGuilds compares what happened in each guild with what arrived.
func compareGuilds(happened []sim.CommonEvent, arrived []sim.Received) (r ReshardResult) {
	want, got, guild := map[int][]uint64{}, map[int][]uint64{}, map[uint64]int{}
	for _, e := range happened {
		want[e.Guild] = append(want[e.Guild], e.Hash)
		guild[e.Hash] = e.Guild
	}
	for _, e := range arrived {
		if g, ok := guild[e.Hash]; ok {
			got[g] = append(got[g], e.Hash)
			r.Arrived++
		}
	}
	r.Events = len(happened)
	for g := range want {
		count := map[uint64]int{}
		for _, h := range want[g] {
			count[h]++
		}
		for _, h := range got[g] {
			count[h]--
		}
		differs := false
		for _, n := range count {
			r.Lost += max(n, 0)
			r.Repeated += max(-n, 0)
			differs = differs || n != 0
		}
		for i := range want[g] {
			if !differs && want[g][i] != got[g][i] {
				r.OutOfOrder++
				break
			}
		}
	}
	return r
}
