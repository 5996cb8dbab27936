// This file finds the shards that are behind.

package page

import (
	"cmp"
	"slices"

	"sluice/cmd/gateway/status"
)

// maxBehind bounds how many shards that are behind are listed, beside the grid.
const maxBehind = 12

// behind are the shards that are not ready, or ready and not keeping up.
type behind struct {
	Count int           `json:"count"`
	List  []behindShard `json:"list"` // those of most concern first
}

type behindShard struct {
	ID    int     `json:"id"`
	State string  `json:"state"`
	Since float64 `json:"since"` // seconds in it
	Why   string  `json:"why"`
	order int
}

// findBehind returns them. Shards that are stopped or wait for a connection come before those that
// are on their way, and those before the ones that are ready; among equals, the longest first.
func findBehind(shards []status.Shard) behind {
	b := behind{List: []behindShard{}}
	for i := range shards {
		s := &shards[i]
		n := behindShard{ID: s.ID, State: s.State, Since: s.Since, Why: s.Why}
		switch {
		case s.State == "stopped":
			n.order = 0
		case s.State == "backoff":
			n.order = 1
		case s.State != readyState:
			n.order = 2
		case late(s):
			n.order, n.Since, n.Why = 3, s.LastACK, "heartbeat not acknowledged"
		case s.Paused:
			n.order, n.Why = 4, "paused: the event queue is full"
		default:
			continue
		}
		b.Count++
		compare := func(x, y behindShard) int {
			return cmp.Or(cmp.Compare(x.order, y.order), -cmp.Compare(x.Since, y.Since), cmp.Compare(x.ID, y.ID))
		}
		at, _ := slices.BinarySearchFunc(b.List, n, compare)
		if at < maxBehind {
			b.List = slices.Insert(b.List, at, n)
			b.List = b.List[:min(len(b.List), maxBehind)]
		}
	}
	return b
}
