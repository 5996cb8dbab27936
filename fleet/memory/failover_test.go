package memory

import (
	"testing"

	"sluice/fleet"
)

func TestForget(t *testing.T) {
	ctx := t.Context()
	c := New(nil)
	c.Remember(3)
	join := func(incarnation string) {
		t.Helper()
		if _, err := c.Join(ctx, fleet.Member{Incarnation: incarnation, Weight: 1}, fleet.Plan{Shards: 4}); err != nil {
			t.Fatal(err)
		}
	}
	join("a")
	join("b")
	got, err := c.Acquire(ctx, "a", []fleet.Want{{Shard: 1}})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := c.Look(ctx, 0)
	if _, err := c.Save(ctx, "a", []fleet.Record{{Shard: 1, Epoch: got[0].Owner.Epoch, Number: 1, Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Give(ctx, 1, got[0].Owner, "b"); err != nil {
		t.Fatal(err)
	}
	if n := c.Forget(2); n != 2 {
		t.Errorf("%d steps are forgotten, not 2", n)
	}
	after, _ := c.Look(ctx, 0)
	if after.Revision != before.Revision || len(after.Shards) != 1 || after.Shards[0] != before.Shards[0] || len(after.Members) != 2 {
		t.Errorf("before two steps that were forgotten: %+v, and after: %+v", before, after)
	}
	if records, _ := c.Load(ctx, []int{1}); records[0].Data != nil {
		t.Errorf("the record is not forgotten: %+v", records)
	}
	if n := c.Forget(5); n != 1 {
		t.Errorf("%d steps are forgotten, not the 1 that is remembered still", n)
	}
	if after, _ := c.Look(ctx, 0); len(after.Shards) != 0 || len(after.Members) != 2 {
		t.Errorf("with Acquire forgotten: %+v", after)
	}
	join("c")
}
