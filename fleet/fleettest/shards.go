// This file has the tests of who owns a shard.

package fleettest

import (
	"fmt"
	"sync"
	"time"

	"sluice/fleet"
)

var shardTests = []test{
	{"Acquire", func(k *kit) {
		k.join("a", "b")
		before := k.now()
		got, err := k.Acquire(k.ctx, "a", []fleet.Want{{Shard: 5}, {Shard: 2}, {Shard: 15}})
		after := k.now()
		k.ok(err)
		byID := make(map[int]fleet.Shard)
		for _, s := range got {
			byID[s.ID] = s
			if s.Owner.Incarnation != "a" || s.Giver != "" || s.Owner.Epoch < before.UnixMilli() || s.Owner.Epoch > after.UnixMilli() {
				k.Errorf("acquired between %d and %d: %+v", before.UnixMilli(), after.UnixMilli(), s)
			}
		}
		k.same("acquired", len(byID), 3)
		k.same("the table", k.view().Shards, []fleet.Shard{byID[2], byID[5], byID[15]})
		got, err = k.Acquire(k.ctx, "b", nil)
		k.ok(err)
		k.same("acquired of none", len(got), 0)
	}},
	{"AcquireOfOthers", func(k *kit) {
		k.join("a", "b", "c")
		owner := k.acquire("a", 1)
		drained := k.acquire("c", 2)
		k.drain("c")
		free := fleet.Owner{Epoch: k.acquire("b", 3).Epoch}
		k.ok(k.Leave(k.ctx, "b"))
		k.join("b2")
		none := func(what string, want fleet.Want) {
			k.Helper()
			k.unchanged(what, func() {
				got, err := k.Acquire(k.ctx, "b2", []fleet.Want{want})
				k.ok(err)
				k.same("acquired "+what, len(got), 0)
			})
		}
		none("from one that is up", fleet.Want{Shard: 1, From: owner})
		none("from one that is draining", fleet.Want{Shard: 2, From: drained})
		none("as free, though it has an owner", fleet.Want{Shard: 1})
		none("as never owned, though it was", fleet.Want{Shard: 3})
		none("as free under another epoch", fleet.Want{Shard: 3, From: fleet.Owner{Epoch: free.Epoch + 1}})
		none("from an owner that it never had", fleet.Want{Shard: 4, From: fleet.Owner{Incarnation: "a", Epoch: 1}})
		k.depose("a")
		none("from a deposed owner under a lower epoch", fleet.Want{Shard: 1, From: fleet.Owner{Incarnation: "a", Epoch: owner.Epoch - 1}})
		none("from a deposed owner under a higher epoch", fleet.Want{Shard: 1, From: fleet.Owner{Incarnation: "a", Epoch: owner.Epoch + 1}})
		none("from another incarnation", fleet.Want{Shard: 1, From: fleet.Owner{Incarnation: "c", Epoch: owner.Epoch}})
		// Each by itself: some can be had, some not.
		got, err := k.Acquire(k.ctx, "b2", []fleet.Want{{Shard: 2, From: drained}, {Shard: 1, From: owner}, {Shard: 3, From: free}, {Shard: 4, From: owner}})
		k.ok(err)
		k.same("acquired", len(got), 2)
		for _, s := range got {
			k.same("the row", k.shard(s.ID), s)
			k.same("its owner", s.Owner.Incarnation, "b2")
		}
		k.same("the owner of what could not be had", k.shard(2).Owner, drained)
		k.same("the owner of what could not be had", k.shard(4).Owner, fleet.Owner{})
	}},
	{"AcquireAgain", func(k *kit) {
		k.join("a", "b")
		old := k.acquire("a", 1)
		k.depose("a")
		want := []fleet.Want{{Shard: 1, From: old}, {Shard: 2}}
		first, err := k.Acquire(k.ctx, "b", want)
		k.ok(err)
		k.same("acquired", len(first), 2)
		k.unchanged("acquiring again, after a lost answer", func() {
			again, err := k.Acquire(k.ctx, "b", want)
			k.ok(err)
			k.same("acquired again", again, first)
		})
	}},
	{"AcquireOwn", func(k *kit) {
		k.join("a")
		owner := k.acquire("a", 1)
		higher := k.acquire("a", 1)
		if higher.Epoch <= owner.Epoch {
			k.Errorf("the epoch goes from %d to %d", owner.Epoch, higher.Epoch)
		}
		lost, err := k.Confirm(k.ctx, "a", map[int]int64{1: owner.Epoch})
		k.ok(err)
		k.same("lost under the former epoch", lost, []int{1})
	}},
	{"AcquireAbove", func(k *kit) {
		k.join("a", "b")
		const far = 1 << 42 // ms: years from now
		above := func(incarnation string, from fleet.Owner, above, want int64) fleet.Owner {
			k.Helper()
			got, err := k.Acquire(k.ctx, incarnation, []fleet.Want{{Shard: 1, From: from, Above: above}})
			k.ok(err)
			if len(got) != 1 || got[0].Owner != (fleet.Owner{Incarnation: incarnation, Epoch: want}) {
				k.Fatalf("acquired above %d: %+v, not epoch %d", above, got, want)
			}
			return got[0].Owner
		}
		owner := above("a", fleet.Owner{}, far, far+1)
		owner = above("a", owner, 5, far+2) // the one before is higher
		owner = above("a", owner, far+7, far+8)
		k.depose("a")
		above("b", owner, far+8, far+9)
	}},
	{"AcquireByWhom", func(k *kit) {
		k.join("a", "b")
		k.drain("a")
		k.depose("b")
		k.unchanged("Acquire by whom may not", func() {
			want := []fleet.Want{{Shard: 1}}
			k.fails("Acquire of one that is draining", err2(k.Acquire(k.ctx, "a", want)), fleet.ErrChanged)
			k.fails("Acquire of one that is deposed", err2(k.Acquire(k.ctx, "b", want)), fleet.ErrDeposed)
			k.fails("Acquire of one that is not known", err2(k.Acquire(k.ctx, "c", want)), fleet.ErrDeposed)
		})
	}},
	{"AcquireOnce", func(k *kit) { // any goroutine may call any method
		const members, shards = 6, 12
		var want []fleet.Want
		for s := range shards {
			want = append(want, fleet.Want{Shard: s})
		}
		for m := range members {
			k.join(fmt.Sprint("m", m))
		}
		got := make([][]fleet.Shard, members)
		errs := make([]error, members)
		var all sync.WaitGroup
		for m := range members {
			all.Go(func() { got[m], errs[m] = k.Acquire(k.ctx, fmt.Sprint("m", m), want) })
		}
		all.Wait()
		owners := make(map[int]fleet.Owner)
		for m := range members {
			k.ok(errs[m])
			for _, s := range got[m] {
				if other, twice := owners[s.ID]; twice {
					k.Errorf("shard %d was acquired by %v and %v", s.ID, other, s.Owner)
				}
				owners[s.ID] = s.Owner
				k.same("the owner", k.shard(s.ID).Owner, s.Owner)
			}
		}
		k.same("shards acquired", len(owners), shards)
	}},
	{"Give", func(k *kit) {
		k.join("a", "b", "c")
		owner := k.acquire("a", 1)
		given, err := k.Give(k.ctx, 1, owner, "b")
		k.ok(err)
		k.same("the new owner", given.Incarnation, "b")
		if given.Epoch <= owner.Epoch {
			k.Errorf("the epoch goes from %d to %d", owner.Epoch, given.Epoch)
		}
		k.same("the row", k.shard(1), fleet.Shard{ID: 1, Owner: given, Giver: "a"})
		k.unchanged("giving again, after a lost answer", func() { k.same("the new owner", k.give(1, owner, "b"), given) })
		k.unchanged("giving what is not one's own", func() {
			k.fails("Give to another", err2(k.Give(k.ctx, 1, owner, "c")), fleet.ErrChanged)
			k.fails("Give of what is not taken", err2(k.Give(k.ctx, 1, given, "c")), fleet.ErrChanged)
			k.fails("Give of what is not taken, to its giver", err2(k.Give(k.ctx, 1, given, "a")), fleet.ErrChanged)
		})
		k.ok(k.Take(k.ctx, 1, given))
		if back := k.give(1, given, "a"); back.Epoch <= given.Epoch {
			k.Errorf("the epoch goes from %d to %d", given.Epoch, back.Epoch)
		}
		k.same("the giver", k.shard(1).Giver, "b")
		kept := k.acquire("a", 2)
		k.drain("a")
		k.give(2, kept, "b") // who is draining gives
	}},
	{"GiveNot", func(k *kit) {
		k.join("a", "drained", "dead", "b")
		k.drain("drained")
		k.depose("dead")
		owner := k.acquire("a", 1)
		free := fleet.Owner{Epoch: k.acquire("b", 2).Epoch}
		k.ok(k.Leave(k.ctx, "b"))
		k.join("c")
		k.unchanged("what is not given", func() {
			k.fails("Give to one that is draining", err2(k.Give(k.ctx, 1, owner, "drained")), fleet.ErrChanged)
			k.fails("Give to one that is deposed", err2(k.Give(k.ctx, 1, owner, "dead")), fleet.ErrChanged)
			k.fails("Give to one that is not known", err2(k.Give(k.ctx, 1, owner, "nobody")), fleet.ErrChanged)
			k.fails("Give to one that has left", err2(k.Give(k.ctx, 1, owner, "b")), fleet.ErrChanged)
			k.fails("Give under a lower epoch", err2(k.Give(k.ctx, 1, fleet.Owner{Incarnation: "a", Epoch: owner.Epoch - 1}, "c")), fleet.ErrChanged)
			k.fails("Give under a higher epoch", err2(k.Give(k.ctx, 1, fleet.Owner{Incarnation: "a", Epoch: owner.Epoch + 1}, "c")), fleet.ErrChanged)
			k.fails("Give of another's", err2(k.Give(k.ctx, 1, fleet.Owner{Incarnation: "c", Epoch: owner.Epoch}, "c")), fleet.ErrChanged)
			k.fails("Give of what is free", err2(k.Give(k.ctx, 2, free, "c")), fleet.ErrChanged)
			k.fails("Give of what never had an owner", err2(k.Give(k.ctx, 3, fleet.Owner{}, "c")), fleet.ErrChanged)
		})
	}},
	{"Take", func(k *kit) {
		k.join("a", "b", "c")
		owner := k.acquire("a", 1)
		given := k.give(1, owner, "b")
		k.unchanged("what may not be taken", func() {
			k.fails("Take by the giver", k.Take(k.ctx, 1, owner), fleet.ErrChanged)
			k.fails("Take under a lower epoch", k.Take(k.ctx, 1, fleet.Owner{Incarnation: "b", Epoch: given.Epoch - 1}), fleet.ErrChanged)
			k.fails("Take under a higher epoch", k.Take(k.ctx, 1, fleet.Owner{Incarnation: "b", Epoch: given.Epoch + 1}), fleet.ErrChanged)
			k.fails("Take by another", k.Take(k.ctx, 1, fleet.Owner{Incarnation: "c", Epoch: given.Epoch}), fleet.ErrChanged)
			k.fails("Take of what never had an owner", k.Take(k.ctx, 2, fleet.Owner{}), fleet.ErrChanged)
		})
		for range 2 { // the second after a lost answer
			k.ok(k.Take(k.ctx, 1, given))
			k.same("the row", k.shard(1), fleet.Shard{ID: 1, Owner: given})
		}
		k.unchanged("taking back what is taken", func() {
			k.fails("TakeBack", err2(k.TakeBack(k.ctx, 1, given, "a")), fleet.ErrChanged)
		})
	}},
	{"TakeBack", func(k *kit) {
		k.join("a", "b", "c")
		owner := k.acquire("a", 1)
		given := k.give(1, owner, "b")
		k.unchanged("what may not be taken back", func() {
			k.fails("TakeBack by the target", err2(k.TakeBack(k.ctx, 1, given, "b")), fleet.ErrChanged)
			k.fails("TakeBack by another", err2(k.TakeBack(k.ctx, 1, given, "c")), fleet.ErrChanged)
			k.fails("TakeBack of a lower epoch", err2(k.TakeBack(k.ctx, 1, fleet.Owner{Incarnation: "b", Epoch: given.Epoch - 1}, "a")), fleet.ErrChanged)
			k.fails("TakeBack of a higher epoch", err2(k.TakeBack(k.ctx, 1, fleet.Owner{Incarnation: "b", Epoch: given.Epoch + 1}, "a")), fleet.ErrChanged)
			k.fails("TakeBack from another", err2(k.TakeBack(k.ctx, 1, fleet.Owner{Incarnation: "c", Epoch: given.Epoch}, "a")), fleet.ErrChanged)
			k.fails("TakeBack of what never had an owner", err2(k.TakeBack(k.ctx, 2, fleet.Owner{}, "a")), fleet.ErrChanged)
		})
		var back fleet.Owner
		for i := range 2 { // the second after a lost answer
			got, err := k.TakeBack(k.ctx, 1, given, "a")
			k.ok(err)
			if i > 0 {
				k.same("taken back again", got, back)
			}
			back = got
			if back.Incarnation != "a" || back.Epoch <= given.Epoch {
				k.Errorf("given as %+v, and taken back as %+v", given, back)
			}
			k.same("the row", k.shard(1), fleet.Shard{ID: 1, Owner: back})
		}
		k.unchanged("taking what was taken back", func() {
			k.fails("Take", k.Take(k.ctx, 1, given), fleet.ErrChanged)
		})
		given = k.give(1, back, "c")
		k.drain("a") // who is draining takes back
		back, err := k.TakeBack(k.ctx, 1, given, "a")
		k.ok(err)
		k.same("the row", k.shard(1), fleet.Shard{ID: 1, Owner: back})
	}},
	{"TakeBackDeposed", func(k *kit) {
		k.join("a", "b")
		given := k.give(1, k.acquire("a", 1), "b")
		k.depose("a")
		k.unchanged("what the deposed takes back", func() {
			k.fails("TakeBack by a deposed giver", err2(k.TakeBack(k.ctx, 1, given, "a")), fleet.ErrDeposed)
		})
		k.ok(k.Take(k.ctx, 1, given))
	}},
	{"GivenToTheDead", func(k *kit) {
		k.join("a", "b", "c")
		given := k.give(1, k.acquire("a", 1), "b")
		again := k.give(2, k.acquire("a", 2), "b")
		k.depose("b")
		owner := k.acquire("c", 1) // which ends the handover
		k.unchanged("ending a handover that has ended", func() {
			k.fails("TakeBack", err2(k.TakeBack(k.ctx, 1, given, "a")), fleet.ErrChanged)
			k.fails("Take", k.Take(k.ctx, 1, given), fleet.ErrChanged)
		})
		k.same("the row", k.shard(1), fleet.Shard{ID: 1, Owner: owner})
		_, err := k.TakeBack(k.ctx, 2, again, "a")
		k.ok(err)
	}},
	{"Confirm", func(k *kit) {
		k.join("a", "b")
		var epochs [8]int64
		for i := range 6 {
			epochs[i] = k.acquire("a", i).Epoch
		}
		given := k.give(4, fleet.Owner{Incarnation: "a", Epoch: epochs[4]}, "b")
		epochs[5] = k.give(5, fleet.Owner{Incarnation: "a", Epoch: epochs[5]}, "b").Epoch
		epochs[6] = k.acquire("b", 6).Epoch
		k.unchanged("Confirm", func() {
			lost, err := k.Confirm(k.ctx, "a", map[int]int64{0: epochs[0], 1: epochs[1] - 1, 2: epochs[2] + 1, 3: epochs[3], 4: epochs[4], 6: epochs[6], 7: 1})
			k.ok(err)
			k.same("lost", sorted(lost), []int{1, 2, 4, 6, 7})
			lost, err = k.Confirm(k.ctx, "b", map[int]int64{4: given.Epoch, 5: epochs[5], 6: epochs[6]})
			k.ok(err)
			k.same("lost, not being taken", sorted(lost), []int{4, 5})
			lost, err = k.Confirm(k.ctx, "a", nil)
			k.ok(err)
			k.same("lost of none", len(lost), 0)
			lost, err = k.Confirm(k.ctx, "nobody", map[int]int64{0: epochs[0]})
			k.ok(err)
			k.same("lost of one that is not known", lost, []int{0})
		})
		k.ok(k.Take(k.ctx, 4, given))
		lost, err := k.Confirm(k.ctx, "b", map[int]int64{4: given.Epoch, 5: epochs[5]})
		k.ok(err)
		k.same("lost, one being taken", lost, []int{5})
	}},
	{"Epochs", func(k *kit) { // they rise with each owner, and follow the time
		k.join("a", "b")
		last := k.acquire("a", 1)
		higher := func(what string, o fleet.Owner) {
			k.Helper()
			now := k.now().UnixMilli()
			if o.Epoch <= last.Epoch || o.Epoch < now-time.Minute.Milliseconds() || o.Epoch > max(now, last.Epoch+1) {
				k.Errorf("%s at %d: the epoch goes from %d to %d", what, now, last.Epoch, o.Epoch)
			}
			last = o
		}
		for range 3 {
			for _, d := range []time.Duration{0, time.Hour} {
				k.Advance(d)
				higher("Give", k.give(1, last, "b"))
				k.Advance(d)
				back, err := k.TakeBack(k.ctx, 1, last, "a")
				k.ok(err)
				higher("TakeBack", back)
				k.Advance(d)
				higher("Acquire", k.acquire("a", 1))
			}
		}
		k.ok(k.Leave(k.ctx, "a"))
		k.join("a")
		higher("Acquire of what is free", k.acquire("a", 1))
	}},
}
