package status

import (
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/fleet"
)

// In a fleet the document has what becomes of the fleet's resharding, and of this member's part in it.
func TestReshardOf(t *testing.T) {
	now := time.Unix(1e9, 0)
	part := engine.ReshardStatus{Stage: engine.ReshardCompares, From: 4, To: 6, Ready: 3, Began: now.Add(-time.Minute)}
	part.Overlap.Agreed = 17
	pending := fleet.ReshardStatus{Stage: fleet.ReshardPending, From: 4, To: 6, Since: now.Add(-time.Hour), Attempt: 2, Failure: "why", Classes: 2, Gathered: 2, Ready: 6, Owners: 3, Agreed: 1}
	for what, c := range map[string]struct {
		e    engine.ReshardStatus
		f    *fleet.ReshardStatus
		want *Reshard // without Fleet
	}{
		"none":               {f: new(fleet.ReshardStatus)},
		"alone":              {e: part, want: &Reshard{Stage: "comparing", From: 4, To: 6, Ready: 3, Since: 60, Agreed: 17}},
		"compared":           {e: part, f: &pending, want: &Reshard{Stage: "comparing", From: 4, To: 6, Ready: 6, Since: 60, Agreed: 17, Failures: 1, Error: "why"}},
		"without a part yet": {f: &pending, want: &Reshard{Stage: "comparing", From: 4, To: 6, Ready: 6, Since: 3600, Failures: 1, Error: "why"}},
		"of the last one":    {e: engine.ReshardStatus{From: 2, To: 4, Began: now}, f: &pending, want: &Reshard{Stage: "comparing", From: 4, To: 6, Ready: 6, Since: 3600, Failures: 1, Error: "why"}},
		"gathering":          {f: &fleet.ReshardStatus{Stage: fleet.ReshardPending, From: 4, To: 6, Attempt: 1, Classes: 2, Gathered: 1}, want: &Reshard{Stage: "gathering", From: 4, To: 6}},
		"connecting":         {f: &fleet.ReshardStatus{Stage: fleet.ReshardPending, From: 4, To: 6, Attempt: 1, Classes: 2, Gathered: 2, Ready: 5}, want: &Reshard{Stage: "connecting", From: 4, To: 6, Ready: 5}},
		"switching":          {f: &fleet.ReshardStatus{Stage: fleet.ReshardSwitching, From: 4, To: 6, Attempt: 1, Classes: 2}, want: &Reshard{Stage: "switching", From: 4, To: 6}},
		"called off":         {f: &fleet.ReshardStatus{From: 4, To: 6, Failure: "why"}, want: &Reshard{From: 4, To: 6, Error: "why"}},
		"leaving":            {e: engine.ReshardStatus{Stage: engine.ReshardLeaves, From: 4, To: 6, Began: now}, f: &fleet.ReshardStatus{From: 4, To: 6, Failure: "why"}, want: &Reshard{Stage: "leaving", From: 4, To: 6}},
	} {
		got := reshardOf(now, c.e, c.f)
		if got == nil || c.want == nil {
			if got != c.want {
				t.Errorf("%s: %+v, want %+v", what, got, c.want)
			}
			continue
		}
		if atWork := c.f != nil && c.f.Stage != fleet.ReshardNone; got.Fleet != nil != atWork || atWork && *got.Fleet != (FleetReshard{c.f.Classes, c.f.Gathered, c.f.Owners, c.f.Agreed, c.f.Prepared}) {
			t.Errorf("%s: %+v", what, got.Fleet)
		}
		got.Fleet = nil
		if *got != *c.want {
			t.Errorf("%s: %+v, want %+v", what, *got, *c.want)
		}
	}
}

// What is printed says how far it is.
func TestReshardProgress(t *testing.T) {
	fleet := &FleetReshard{Classes: 4, Gathered: 3, Members: 2, Agreed: 1}
	for want, r := range map[string]Reshard{
		"connecting: 3 of 8 ready":              {Stage: "connecting", To: 8, Ready: 3},
		"comparing":                             {Stage: "comparing", To: 8, Ready: 8},
		"comparing; nothing is said of it by a": {Stage: "comparing", To: 8, Error: "nothing is said of it by a"},
		"comparing; the last switch was taken back: Redis is away":      {Stage: "comparing", To: 8, Ready: 8, Failures: 1, Error: "Redis is away"},
		"gathering: 3 of 4 classes of shards are at one member":         {Stage: "gathering", To: 8, Fleet: fleet},
		"comparing: 1 of 2 members agree":                               {Stage: "comparing", To: 8, Fleet: fleet},
		"switching: 0 of 2 members prepared":                            {Stage: "switching", To: 8, Fleet: fleet},
		"connecting: 0 of 8 ready; the last switch was taken back: why": {Stage: "connecting", To: 8, Fleet: fleet, Failures: 1, Error: "why"},
	} {
		if got := r.Progress(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A line says what is at work, and what it waits for, in each stage.
func TestReshardSummary(t *testing.T) {
	for want, r := range map[string]*Reshard{
		"from 4 to 6 shards, attempt 2, comparing: 1 of 3 members agree; the last switch was taken back: why; it waits until the old and the new shards show the same": {
			Stage: "comparing", From: 4, To: 6, Ready: 6, Failures: 1, Error: "why", Fleet: &FleetReshard{Members: 3, Agreed: 1}},
		"from 4 to 6 shards, attempt 1, connecting: 2 of 6 ready; it waits until all new shards are ready": {Stage: "connecting", From: 4, To: 6, Ready: 2},
	} {
		if got := r.Summary(); got != want || !r.AtWork() {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, stage := range []string{"gathering", "connecting", "comparing", "switching", "ending", "leaving"} {
		if r := (&Reshard{Stage: stage}); !strings.Contains(r.Summary(), "; it waits until ") {
			t.Errorf("%q", r.Summary())
		}
	}
	if (*Reshard)(nil).AtWork() || new(Reshard).AtWork() {
		t.Error("none is at work")
	}
}
