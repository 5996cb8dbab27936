// This file is another shard count, as it is shown.

package status

import (
	"time"

	"sluice/engine"
	"sluice/fleet"
)

// Reshard is a resharding at work, or the last one.
type Reshard struct {
	Stage    string  `json:"stage"` // gathering, connecting, comparing, switching, ending or leaving; empty: it has ended
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

	Fleet *FleetReshard `json:"fleet"` // null: in no fleet, or it is not at work
}

// FleetReshard is one at work in a fleet. Ready and Failures beside it are the fleet's, what is compared this member's.
type FleetReshard struct {
	Classes  int `json:"classes"`  // of shards that have to be at one member
	Gathered int `json:"gathered"` // of them, those that are
	Members  int `json:"members"`  // that own shards
	Agreed   int `json:"agreed"`   // of them, those whose old and new shards show the same
	Prepared int `json:"prepared"` // and those that have persisted the sessions of the new ones, at the switch
}

// gathering is the stage in which shards move, so that those of a class are at one member.
const gathering = "gathering"

// reshardOf returns what becomes of a resharding, by the engine and, unless it is nil, the fleet.
func reshardOf(now time.Time, s engine.ReshardStatus, f *fleet.ReshardStatus) *Reshard {
	r := reshard(now, s)
	if f == nil || f.To == 0 {
		return r
	}
	if r == nil || r.To != f.To { // this member has had no part in it yet
		r = &Reshard{From: f.From, To: f.To, Since: since(now, f.Since), Error: f.Failure}
	}
	if f.Stage == fleet.ReshardNone {
		return r
	}
	switch {
	case f.Stage == fleet.ReshardSwitching:
		r.Stage = string(engine.ReshardSwitches)
	case f.Gathered < f.Classes:
		r.Stage = gathering
	case f.Ready < f.To:
		r.Stage = string(engine.ReshardConnects)
	default:
		r.Stage = string(engine.ReshardCompares)
	}
	r.Ready, r.Failures, r.Error = f.Ready, f.Attempt-1, f.Failure
	r.Fleet = &FleetReshard{Classes: f.Classes, Gathered: f.Gathered, Members: f.Owners, Agreed: f.Agreed, Prepared: f.Prepared}
	return r
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
