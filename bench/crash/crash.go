// This file says what a run is, and what comes of it.

// Package crash kills the gateway again and again, and compares what a simulated Discord
// has sent with what has arrived behind the gateway's broker: it is what
// "gateway-bench crash" does.
package crash

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sluice/cmd/gateway/cli"
	"sluice/cmd/gateway/config"
)

// Options say what is killed, and how often. Gateway, Sink and Store are required.
type Options struct {
	// Gateway is the program's file. Points of its code, too, are chosen to kill it at if
	// it was built with the tag failpoints.
	Gateway string
	Sink    string // one of Sinks
	Store   string // one of Stores
	Kills   int
	Seed    uint64  // of what happens when; the moments depend on the machine besides
	Shards  int     // 0: 4
	Rate    float64 // events a second of each shard; 0: 250
	// Faults has the sockets cut, the sessions refused, the broker killed and the gateway
	// stopped for a moment besides.
	Faults bool
	// Restarts are orderly ends in place of kills, and upgrades in turn with them.
	Restarts int
	// Spool has the gateway keep events on the disk, and the broker gone for whole rounds.
	Spool bool
	Log   io.Writer // takes a line for each round
}

// file is the name of standard output that goes into a file, and that of the store.
const file = "file"

// Sinks returns the names that Options.Sink takes: those of the gateway's brokers.
func Sinks() (names []string) {
	for _, b := range cli.Brokers() {
		names = append(names, nameOf(b))
	}
	return names
}

// Stores returns the names that Options.Store takes. All but file need the sink of the same name,
// whose server it is.
func Stores() []string {
	names := []string{file}
	for _, b := range cli.Brokers() {
		if b.Stores {
			names = append(names, b.Name)
		}
	}
	return names
}

// nameOf returns the name of a broker here.
func nameOf(b cli.Broker) string {
	if b.Name == config.BrokerStdio {
		return file
	}
	return b.Name
}

// deduplicates reports whether a sink's events come once, whatever happens.
func deduplicates(sink string) bool {
	return slices.ContainsFunc(cli.Brokers(), func(b cli.Broker) bool { return nameOf(b) == sink && b.Deduplicates })
}

// Result is what came of a run. Lost, OutOfOrder and Unknown are 0, and Wrong is empty, if the
// gateway keeps its promises; with a broker that deduplicates, Repeated is 0 too.
type Result struct {
	Kills      int
	Events     int // that arrived, each once
	Lost       int // that Discord would have sent again, and of which no gap has told
	Repeated   int
	Former     int // of former owners in a fleet, which its consumer dropped
	OutOfOrder int
	Unknown    int
	Told       int // lost with a session that Discord refused, and told of by a gap
	Gaps       int // events GATEWAY_GAP
	Sessions   int
	Refused    int // sessions that Discord ended
	Unseen     int // sessions that were begun when the process was killed, and of which nothing arrived
	Identifies int
	Torn       int // unfinished lines in a file
	Restarts   int
	Pause      time.Duration // longest between two events of a shard
	Wrong      []string      // what else should not be
}

// Check returns what is wrong, or nil.
func (r *Result) Check(sink string) error {
	wrong := r.Wrong
	add := func(n int, what string) {
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("%d events %s", n, what))
		}
	}
	add(r.Lost, "are lost")
	add(r.OutOfOrder, "are out of order")
	add(r.Unknown, "were never sent")
	if r.Restarts > 0 {
		add(r.Repeated, "are repeated")
		if r.Identifies > r.Sessions-r.Refused || r.Refused > 0 {
			wrong = append(wrong, fmt.Sprintf("%d identifies", r.Identifies))
		}
	}
	if deduplicates(sink) && r.Restarts == 0 {
		add(r.Repeated, "are repeated")
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// String returns the result in a line.
func (r *Result) String() string {
	if r.Restarts > 0 {
		return fmt.Sprintf("%d restarts: %d events, lost %d, repeated %d, out of order %d, unknown %d; %d identifies for %d sessions; longest pause of a shard %v",
			r.Restarts, r.Events, r.Lost, r.Repeated, r.OutOfOrder, r.Unknown, r.Identifies, r.Sessions, r.Pause.Round(time.Millisecond))
	}
	return fmt.Sprintf("%d kills: %d events, lost %d, repeated %d, out of order %d, unknown %d; "+
		"%d sessions, %d refused by Discord, %d never observed, %d identifies; %d gaps reported, with %d events; %d torn lines",
		r.Kills, r.Events, r.Lost, r.Repeated, r.OutOfOrder, r.Unknown,
		r.Sessions, r.Refused, r.Unseen, r.Identifies, r.Gaps, r.Told, r.Torn)
}
