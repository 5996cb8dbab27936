//go:build long

// This file has the faults of a fleet that take long.

package crash

import (
	"testing"

	"sluice/bench/reexec"
)

// Whatever becomes of the fleet's Redis, and of a member's way to Discord, nothing is lost or comes twice, but for what a
// replica had not; and new members that come at once move each shard twice at most.
func TestFleetFaults(t *testing.T) {
	for name, o := range map[string]FleetOptions{
		"reboots": {Reboots: 2}, "lonely": {Lonely: 1}, "promote": {Promote: true}, "joins": {Joins: 3},
	} {
		t.Run(name, func(t *testing.T) {
			o.Gateway, o.Members, o.Shards, o.Rate, o.Seed, o.Log = reexec.Link(t, "gateway"), 3, 12, 50, 1, t.Output()
			r, err := RunFleet(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(&r)
			if err := r.Check(); err != nil {
				t.Error(err)
			}
			if r.Identifies != 12 {
				t.Errorf("%d identifies", r.Identifies)
			}
		})
	}
}
