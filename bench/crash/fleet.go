// This file says what a run with a fleet is, and what comes of it.

package crash

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// FleetOptions say what becomes of the members of a fleet. Gateway is required.
type FleetOptions struct {
	Gateway string // the program's file
	Sink    string // one of Sinks; empty: redis
	Members int    // 0: 5
	Shards  int    // 0: 64
	Rate    float64
	Kills   int  // SIGKILL, and another in its place a while later
	Stops   int  // SIGSTOP for 5 to 20 s, then SIGCONT
	Cuts    int  // without a way to Redis for 5 to 20 s
	Lonely  int  // without a way to Discord for 5 to 60 s
	Reboots int  // the Redis that they have together is killed, and comes back a while later
	Promote bool // the fleet's Redis has a replica, which falls behind and is promoted by a Sentinel
	Outages int  // without a way to Redis, while the broker is gone and comes back
	Rolls   int  // each member once with SIGTERM, and another in its place
	Joins   int  // so many new members at once
	// Old is what Discord does with the open connection of a session that is resumed: one of Olds; empty: it ends.
	Old  string
	Seed uint64
	Log  io.Writer // takes a line for each
}

// Olds returns the names that FleetOptions.Old takes.
func Olds() []string { return []string{"closed", "starved", "invalid", "kept"} }

// FleetResult is what came of it.
type FleetResult struct {
	Result
	Sink string          // as in FleetOptions
	Back []time.Duration // from each kill until all shards had delivered again, ascending
	// Of Rolls and Joins.
	Pauses []time.Duration // of the shards that moved, ascending
	Begun  int             // Identifies meanwhile
	Joined map[int]int     // how often each shard has moved for Joins
	// Of Promote: the entries of the stream that were acknowledged, and that the replica did not have. Not all have been
	// read before, so that as many events may be lost, and repeated: the marks are forgotten, too.
	Forgotten int
}

// String returns the result in two or three lines.
func (r *FleetResult) String() string {
	text := r.Result.String()
	if !deduplicates(r.Sink) {
		text += fmt.Sprintf("\nthe consumer has dropped %d events of former owners, and then %d that were repeated", r.Former, r.Repeated)
	}
	if n := len(r.Back); n > 0 {
		text += fmt.Sprintf("\nall shards delivered again after a kill: median %v, worst %v", r.Back[n/2].Round(time.Millisecond), r.Back[n-1].Round(time.Millisecond))
	}
	if len(r.Pauses) > 0 {
		text += fmt.Sprintf("\nrestarts and new members: %s; %d identifies", pauseText(r.Pauses), r.Begun)
	}
	if r.Forgotten > 0 {
		text += fmt.Sprintf("\nthe promoted replica had not %d entries that the old master had acknowledged", r.Forgotten)
	}
	return text
}

// Check returns what is wrong, or nil.
func (r *FleetResult) Check() error {
	forgiven := r.Result
	if r.Forgotten >= forgiven.Lost+forgiven.Repeated {
		forgiven.Lost, forgiven.Repeated = 0, 0
	}
	err := forgiven.Check(r.Sink)
	if r.Begun > 0 {
		err = errors.Join(err, fmt.Errorf("%d identifies for shards that moved", r.Begun))
	}
	if text, most := timesText(r.Joined, len(r.Joined)); most > 2 {
		err = errors.Join(err, fmt.Errorf("new members: %s", text))
	}
	return err
}
