// This file says what a run with a fleet is, and what comes of it.

package crash

import (
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
	Kills   int // SIGKILL, and another in its place a while later
	Stops   int // SIGSTOP for 5 to 20 s, then SIGCONT
	Rolls   int // each member once with SIGTERM, and another in its place
	Seed    uint64
	Log     io.Writer // takes a line for each
}

// FleetResult is what came of it.
type FleetResult struct {
	Result
	Back []time.Duration // from each kill until all shards had delivered again, ascending
}

// String returns the result in two lines.
func (r *FleetResult) String() string {
	text := r.Result.String()
	if n := len(r.Back); n > 0 {
		text += fmt.Sprintf("\nall shards delivered again after a kill: median %v, worst %v", r.Back[n/2].Round(time.Millisecond), r.Back[n-1].Round(time.Millisecond))
	}
	return text
}
