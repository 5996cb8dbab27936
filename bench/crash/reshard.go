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
	// Members is how many gateways share the bot; 0: one has it alone. What follows is of them. Each happens to one of them, in the
	// middle of it.
	Members int
	Drains  int // SIGTERM, and another in its place
	Stops   int // SIGSTOP for 2 to 15 s, then SIGCONT
	Cuts    int // without a way to Redis for 2 to 15 s
	Cancels int // it calls the resharding off, and the bot is resharded again
	Seed    uint64
	Log     io.Writer // takes a line for each
}

// ReshardResult is what came of it.
type ReshardResult struct {
	Events, Arrived             int
	Lost, Repeated              int // of the payloads of each guild
	OutOfOrder                  int // guilds in which they did not come in the order in which they happened
	Gaps                        int
	Identifies, Kills, Reshards int
	Pauses                      []time.Duration // of each switch, as the log has it; of members: the longest of theirs
	Again                       int             // (session, seq) that came twice, and were dropped
	Wrong                       []string        // where events are missing, or came twice: the first of them
	Members                     bool            // there are such, and what follows is of them
	Drains, Stops, Cuts         int
	CalledOff                   int           // as it was asked for
	GivenUp                     int           // by the members themselves
	Aborted                     int           // attempts at a switch that came about
	Restarted                   int           // Identifies when all were restarted at the end
	Lull                        time.Duration // longest without an event of any shard before that, aborted attempts included
}

// String returns the result in a line or two.
func (r *ReshardResult) String() string {
	text := fmt.Sprintf("%d events happened, %d arrived: lost %d, repeated %d, out of order in %d guilds, %d gaps; %d with the same session and seq dropped; resharded %d times with %d kills and %d identifies; pauses at the switch %v",
		r.Events, r.Arrived, r.Lost, r.Repeated, r.OutOfOrder, r.Gaps, r.Again, r.Reshards, r.Kills, r.Identifies, r.Pauses)
	if r.Members {
		text += fmt.Sprintf("\n%d drains, %d stops, %d cuts; called off %d times as asked, and %d times by itself; %d attempts at a switch aborted, nothing came for %v at most; %d identifies when all were restarted",
			r.Drains, r.Stops, r.Cuts, r.CalledOff, r.GivenUp, r.Aborted, r.Lull.Round(time.Millisecond), r.Restarted)
	}
	return text
}

// Check returns an error if a promise is broken.
func (r *ReshardResult) Check() error {
	var errs []error
	if r.Lost+r.Repeated+r.OutOfOrder+r.Gaps > 0 {
		errs = append(errs, errors.New("lost, repeated and out of order are not 0"))
	}
	if r.Restarted > 0 {
		errs = append(errs, fmt.Errorf("%d identifies when all members were restarted", r.Restarted))
	}
	for _, text := range r.Wrong {
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

// maxWrong is how many events are named in ReshardResult.Wrong.
const maxWrong = 10

// compare compares what happened in each guild with what arrived.
func (r *ReshardResult) compare(happened []sim.CommonEvent, arrived []sim.Received) {
	want, got, guild := map[int][]sim.CommonEvent{}, map[int][]sim.Received{}, map[uint64]int{}
	for _, e := range happened {
		want[e.Guild] = append(want[e.Guild], e)
		guild[e.Hash] = e.Guild
	}
	for _, e := range arrived {
		if g, ok := guild[e.Hash]; ok {
			got[g] = append(got[g], e)
			r.Arrived++
		}
	}
	r.Events = len(happened)
	for g := range want {
		r.compareGuild(g, want[g], got[g])
	}
}

// compareGuild compares for one.
func (r *ReshardResult) compareGuild(guild int, want []sim.CommonEvent, got []sim.Received) {
	wrong := func(format string, args ...any) {
		if len(r.Wrong) < maxWrong {
			r.Wrong = append(r.Wrong, fmt.Sprintf("guild %d: ", guild)+fmt.Sprintf(format, args...))
		}
	}
	count := map[uint64]int{} // arrived less often than they happened
	for _, e := range want {
		count[e.Hash]++
	}
	for _, e := range got {
		count[e.Hash]--
	}
	differs := false
	for _, n := range count {
		r.Lost += max(n, 0)
		r.Repeated += max(-n, 0)
		differs = differs || n != 0
	}
	if differs {
		at := map[uint64]string{}
		for n, e := range got {
			where := fmt.Sprintf("shard %d seq %d of session %s, number %d of %d that arrived", e.Shard, e.Seq, e.Session, n, len(got))
			if count[e.Hash] < 0 && at[e.Hash] != "" {
				wrong("%s came twice: as %s, and as %s", e.Type, at[e.Hash], where)
			}
			at[e.Hash] = where
		}
		last := "nothing"
		for n, e := range want {
			if count[e.Hash] > 0 {
				wrong("%s, number %d of %d that happened, is lost, after %s", e.Type, n, len(want), last)
			} else {
				last = at[e.Hash]
			}
		}
		return
	}
	for i, e := range got {
		if want[i].Hash != e.Hash {
			r.OutOfOrder++
			wrong("%s is out of order: shard %d seq %d of session %s, number %d that arrived", e.Type, e.Shard, e.Seq, e.Session, i)
			return
		}
	}
}
