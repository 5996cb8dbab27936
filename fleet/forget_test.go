// This file tests members whose coordinator forgets steps, as a replica does that was promoted too early.

package fleet_test

import (
	"slices"
	"testing"
	"time"

	"sluice/fleet"
)

// A handover whose end is forgotten, after its giver has seen it, ends again: the target runs the shard.
func TestTakeForgotten(t *testing.T) {
	run(t, func(p *party) {
		p.c.Remember(1000)
		a := p.add("a")
		time.Sleep(5 * time.Second)
		b := p.add("b")
		time.Sleep(20 * time.Second)
		p.check("two", a, b)
		given := func() bool {
			v, err := p.c.Look(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(v.Shards, func(s fleet.Shard) bool { return s.Giver != "" })
		}
		for !given() {
			if p.c.Forget(1) == 0 {
				t.Fatal("no handover is remembered")
			}
		}
		time.Sleep(5 * time.Second)
		p.check("afterwards", a, b)
		if given() {
			t.Error("a shard runs, and is not taken")
		}
		if n := a.engine.dropped + b.engine.dropped; n > 0 {
			t.Errorf("%d shards were dropped", n)
		}
	})
}
