package status

import (
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
