package fleet

import (
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(1000+s), 0) }
	plan := Plan{Generation: 1, Shards: 4}
	a, b := Member{Incarnation: "a"}, Member{Incarnation: "b"}
	var table Table
	table.Update(View{Revision: 5, Plan: plan, Members: []Member{a}, Shards: []Shard{{ID: 1, Owner: Owner{"a", 3}}}}, 0, at(0))
	if len(table.Shards) != 4 || table.Shards[3].ID != 3 || table.Shards[1].Owner.Epoch != 3 || table.Revision != 5 || !table.Changed.Equal(at(0)) {
		t.Fatalf("after the first look: %+v", table)
	}

	table.Update(View{Revision: 6, Plan: plan, Members: []Member{a, b}, Shards: []Shard{{ID: 2, Owner: Owner{"b", 4}}}}, 5, at(1))
	if table.Shards[1].Owner.Incarnation != "a" || table.Shards[2].Owner.Incarnation != "b" || !table.Changed.Equal(at(1)) {
		t.Errorf("after b has joined: %+v", table)
	}
	// The same owner under another epoch has had it all the time, and a beat is no change of members.
	b.Beat++
	table.Update(View{Revision: 7, Plan: plan, Members: []Member{a, b}, Shards: []Shard{{ID: 2, Owner: Owner{"b", 5}}}}, 6, at(2))
	if !table.Since[2].Equal(at(1)) || !table.Changed.Equal(at(1)) {
		t.Errorf("b has had shard 2 since %v, and members have changed %v; want %v", table.Since[2], table.Changed, at(1))
	}
	table.Update(View{Revision: 7, Plan: plan, Members: []Member{a, b}, Shards: []Shard{{ID: 1, Owner: Owner{"b", 9}}, {ID: 2, Owner: Owner{"b", 6}}}}, 0, at(3))
	if !table.Since[2].Equal(at(1)) || !table.Since[1].Equal(at(3)) {
		t.Errorf("after a look at everything, b has had shard 2 since %v and shard 1 since %v", table.Since[2], table.Since[1])
	}
	b.State = Deposed
	for s := 3; s < 6; s++ {
		table.Update(View{Revision: 7, Plan: plan, Members: []Member{a, b}}, 7, at(s))
	}
	if !table.Deposed["b"].Equal(at(3)) || !table.Changed.Equal(at(3)) {
		t.Errorf("b was deposed %v, members have changed %v; want %v", table.Deposed["b"], table.Changed, at(3))
	}

	// The coordinator has forgotten: everything is to be looked at.
	table.Update(View{Revision: 4, Plan: plan, Members: []Member{a}}, 7, at(7))
	if table.Revision != 0 || len(table.Deposed) != 0 {
		t.Errorf("a coordinator that has forgotten: next look since %d, want 0; deposed %v", table.Revision, table.Deposed)
	}
	table.Update(View{Revision: 4, Plan: plan, Members: []Member{a}}, 0, at(8))
	if table.Shards[1].Owner != (Owner{}) || table.Revision != 4 {
		t.Errorf("a look at everything keeps %v", table.Shards[1])
	}
	table.Update(View{Revision: 9, Plan: Plan{Generation: 2, Shards: 8}, Members: []Member{a}}, 4, at(9))
	if len(table.Shards) != 8 || len(table.Since) != 8 || table.Revision != 0 {
		t.Errorf("another generation: %d shards, next look since %d", len(table.Shards), table.Revision)
	}
}
