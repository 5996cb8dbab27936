// This file is another shard count, as it is shown.

package status

import (
	"time"

	"sluice/engine"
)

// Reshard is a resharding at work, or the last one.
type Reshard struct {
	Stage    string  `json:"stage"` // connecting, comparing, switching, ending or leaving; empty: it has ended
	From     int     `json:"from"`  // shard counts
	To       int     `json:"to"`
	Ready    int     `json:"ready"`           // of the new shards
	Since    float64 `json:"since"`           // it began
	Agreed   int64   `json:"agreed"`          // events that the old and the new shards have shown
	OldAlone int64   `json:"old_alone"`       // that the new ones have not
	NewAlone int64   `json:"new_alone"`       // that the old ones have not
	Pending  int     `json:"pending"`         // that one side has shown and the other not yet
	Failures int     `json:"failures"`        // switches that were taken back
	Error    string  `json:"error,omitempty"` // of the last of them; or why it was called off
}

func reshard(now time.Time, s engine.ReshardStatus) *Reshard {
	if s.Began.IsZero() {
		return nil
	}
	return &Reshard{
		Stage: string(s.Stage), From: s.From, To: s.To, Ready: s.Ready, Since: seconds(now.Sub(s.Began)),
		Agreed: s.Overlap.Agreed, OldAlone: s.Overlap.Older, NewAlone: s.Overlap.Next, Pending: s.Overlap.Ahead + s.Overlap.Kept,
		Failures: s.Failures, Error: s.Failure,
	}
}
