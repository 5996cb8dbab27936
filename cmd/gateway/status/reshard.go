// This file is another shard count, as it is shown.

package status

import (
	"fmt"
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

// AtWork reports whether it has not ended.
func (r *Reshard) AtWork() bool { return r != nil && r.Stage != "" }

// Progress says how far one at work is.
func (r *Reshard) Progress() string {
	line, f := r.Stage, r.Fleet
	switch {
	case r.Stage == string(engine.ReshardConnects):
		line += fmt.Sprintf(": %d of %d ready", r.Ready, r.To)
	case f == nil:
	case r.Stage == string(engine.ReshardCompares):
		line += fmt.Sprintf(": %d of %s agree", f.Agreed, members(f.Members))
	case r.Stage == string(engine.ReshardSwitches):
		line += fmt.Sprintf(": %d of %s prepared", f.Prepared, members(f.Members))
	case r.Stage == gathering:
		line += fmt.Sprintf(": %d of %d classes of shards are at one member", f.Gathered, f.Classes)
	}
	switch {
	case r.Error == "":
	case r.Failures > 0:
		line += "; the last switch was taken back: " + r.Error
	default:
		line += "; " + r.Error
	}
	return line
}

// Summary says in a line what one at work does, and what it waits for.
func (r *Reshard) Summary() string {
	line := fmt.Sprintf("from %d to %d shards, attempt %d, %s", r.From, r.To, r.Failures+1, r.Progress())
	if until := awaits[r.Stage]; until != "" {
		line += "; it waits until " + until
	}
	return line
}

// awaits is what each stage waits for.
var awaits = map[string]string{
	gathering:                      "shards have moved",
	string(engine.ReshardConnects): "all new shards are ready",
	string(engine.ReshardCompares): "the old and the new shards show the same",
	string(engine.ReshardSwitches): "the new sessions are in force, or taken back",
	string(engine.ReshardEnds):     "the last events of the old shards have been compared",
	string(engine.ReshardLeaves):   "the new shards are closed",
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
