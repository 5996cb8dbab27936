// This file declares what resumes a shard, as the engine has it.

// Package resume is the contract of what is kept of a bot's shards over the end of the process,
// between the engine, which has their sessions, and the stores below this package: a checkpoint
// for each shard, which a Keeper writes behind the events.
package resume

import (
	"time"

	"sluice/sinks"
)

// Session is what resumes a shard's stream of events. The zero value means
// that there is none.
type Session struct {
	ID        string // Discord's session id
	ResumeURL string // resume_gateway_url; empty: the main URL
	Seq       int64  // every event up to this one is acknowledged or filtered out
	Shards    int    // shard count that the session belongs to; 0: not known
	Began     int64  // orders the sessions of a shard: see sinks.Event.Began; 0: not known
	Epoch     int64  // of the ownership under which the shard is run (package fleet); 0: in no fleet
	// Skip are events above Seq that are acknowledged, too, as those of another session: AppendSkip of their sequence numbers.
	// They are not published when Discord sends them again. Empty: there are none.
	Skip string
	// Gaps are to be reported before the session's next event, oldest first; there may be some
	// without a session.
	Gaps [2]sinks.Gap
}

// AddGap adds one. Of more than two the first and the last are kept.
func (s *Session) AddGap(g sinks.Gap) {
	if s.Gaps[0] == (sinks.Gap{}) {
		s.Gaps[0] = g
	} else {
		s.Gaps[1] = g
	}
}

// Starts counts the Identifies of a bot, of which Discord allows a number in a StartsWindow.
type Starts struct {
	Count int
	Until time.Time // when the count begins anew
}

const (
	// StartsWindow is Discord's day, which begins with an Identify.
	StartsWindow = 24 * time.Hour
	// MaxStartsWindow is the longest that a count may last which somebody else has made: clocks
	// differ.
	MaxStartsWindow = StartsWindow + time.Hour
)
