// This file keeps what a member knows of its fleet from one view to the next.

package fleet

import "time"

// Table is what a member knows when it decides: the views it has got, and the times at which it saw
// them change, on its own clock.
type Table struct {
	Now         time.Time // of the last view, on the member's clock
	Coordinator time.Time // and on that of the coordinator
	Revision    int64     // to look since
	Plan        Plan
	Reshard     Reshard
	Members     []Member             // all, by incarnation
	Shards      []Shard              // all, by id
	Since       []time.Time          // when each shard was seen to come to its owner; may be nil
	Changed     time.Time            // when the set of members that are up was last seen to change
	Deposed     map[string]time.Time // when each incarnation was first seen deposed

	// What the member adds before it decides.
	Silent    map[string]bool // whom nothing is given to now: Observer.Silent
	Begun     []Handover      // its own that Shards does not show yet, and that have not failed: a shard is drained before it is given
	Balancing bool            // Decision.Balancing of the decision before

	owned  map[string]int // how many of Shards each incarnation has, and "" those that are free
	moving map[int]bool   // those of Shards with a Giver
}

// Update takes a view of what has changed since a revision. 0 stands for the whole table, and what
// was known of shards before is forgotten. So it is when the plan is of another generation; then, and when the
// coordinator has forgotten revisions, Revision becomes 0: the next look has to be at everything.
func (t *Table) Update(v View, since int64, now time.Time) {
	t.Revision = v.Revision
	if v.Revision < since {
		t.Revision = 0
	}
	if since > 0 && (v.Plan.Generation != t.Plan.Generation || len(t.Shards) != v.Plan.Shards) {
		since, t.Revision = 0, 0
	}
	var known []Shard // which come anew
	var came []time.Time
	if since == 0 {
		if v.Plan.Generation == t.Plan.Generation && len(t.Shards) == v.Plan.Shards && len(t.Since) == len(t.Shards) {
			known, came = t.Shards, t.Since
		}
		t.Shards, t.Since = make([]Shard, v.Plan.Shards), make([]time.Time, v.Plan.Shards)
		for i := range t.Shards {
			t.Shards[i].ID = i
		}
		t.owned, t.moving = map[string]int{"": v.Plan.Shards}, make(map[int]bool)
	}
	for _, s := range v.Shards {
		t.set(s, now)
	}
	for i, s := range known {
		if now := t.Shards[i]; s.Owner.Incarnation == now.Owner.Incarnation && s.Giver == now.Giver {
			t.Since[i] = came[i]
		}
	}
	if t.Changed.IsZero() || !sameUp(t.Members, v.Members) {
		t.Changed = now
	}
	deposed := make(map[string]time.Time)
	for _, m := range v.Members {
		if m.State != Deposed {
			continue
		}
		deposed[m.Incarnation] = now
		if seen, ok := t.Deposed[m.Incarnation]; ok {
			deposed[m.Incarnation] = seen
		}
	}
	t.Now, t.Coordinator = now, v.Now
	t.Plan, t.Reshard, t.Members, t.Deposed = v.Plan, v.Reshard, v.Members, deposed
}

// set takes a row that is newer.
func (t *Table) set(s Shard, now time.Time) {
	if s.ID < 0 || s.ID >= len(t.Shards) {
		return
	}
	if before := t.Shards[s.ID].Owner.Incarnation; s.Owner.Incarnation != before {
		t.Since[s.ID] = now
		if t.owned[before]--; t.owned[before] == 0 {
			delete(t.owned, before)
		}
		t.owned[s.Owner.Incarnation]++
	}
	if s.Giver != "" {
		t.moving[s.ID] = true
	} else if t.Shards[s.ID].Giver != "" {
		delete(t.moving, s.ID)
	}
	t.Shards[s.ID] = s
}

// name returns the name of a member, or nothing.
func (t *Table) name(incarnation string) string {
	for _, m := range t.Members {
		if m.Incarnation == incarnation {
			return m.Name
		}
	}
	return ""
}

// sameUp compares which members are up. Both lists are in order of incarnation.
func sameUp(a, b []Member) bool {
	i := 0
	for _, m := range b {
		if m.State != Up {
			continue
		}
		for i < len(a) && a[i].State != Up {
			i++
		}
		if i == len(a) || a[i].Incarnation != m.Incarnation {
			return false
		}
		i++
	}
	for ; i < len(a); i++ {
		if a[i].State == Up {
			return false
		}
	}
	return true
}
