// This file shortens a long list of shards.

package status

import (
	"strings"

	"sluice/engine"
)

// manyShards is the count above which Abridge shortens a list: 10,000 shards are to be below 2 MB.
const manyShards = 1000

// ordinaryACK is the age in seconds that the last acknowledgement of a heartbeat has on a good connection: one is
// sent every 41 s or so.
const ordinaryACK = 60

// Abridge leaves out of a list of more than 1,000 shards what is ordinary, or follows from other fields.
func Abridge(list []Shard) {
	if len(list) <= manyShards {
		return
	}
	for i := range list {
		list[i].abridge()
	}
}

func (s *Shard) abridge() {
	s.Epoch = 0
	if s.State == engine.Ready.String() {
		if s.LastACK <= ordinaryACK {
			s.LastACK = 0
		}
		if s.Rate > 0 || s.Paused { // it had one lately, or nothing is read
			s.LastEvent = 0
		}
		return
	}
	s.LastACK, s.RoundTrip, s.Paused = 0, 0, false // of a connection that is gone
	if s.Ended > 0 {
		s.LastEvent, s.Rate, s.Ended = 0, 0, 0 // before Since
	}
	s.Why, _, _ = strings.Cut(s.Why, " after: ") // Cause and Code
	s.Why, _, _ = strings.Cut(s.Why, ": ")
	if rest, found := strings.CutPrefix(s.Why, stateReasons[engine.IdentifyQueued]+" "); found { // State
		s.Why = rest
	}
}
