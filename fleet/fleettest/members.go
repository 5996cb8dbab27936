// This file has the tests of members, and of what all see.

package fleettest

import (
	"context"
	"errors"
	"slices"
	"time"

	"sluice/fleet"
)

var memberTests = []test{
	{"Join", func(k *kit) {
		a := fleet.Member{Incarnation: "a1", Name: "a", Zone: "z", Weight: 3, State: fleet.Draining, Beat: 7, Address: "localhost:1", Version: "v1"}
		p := plan
		p.Generation = 9 // is not a member's to say
		first := plan
		first.Generation = 1
		for range 2 { // the second after a lost answer
			got, err := k.Join(k.ctx, a, p)
			k.ok(err)
			k.same("the plan of the first", got, first)
		}
		b := fleet.Member{Incarnation: "B2", Name: "a", Weight: 1} // two may have the same name
		got, err := k.Join(k.ctx, b, p)
		k.ok(err)
		k.same("the plan of the second", got, first)
		a.State = fleet.Up
		v := k.view()
		k.same("members, by incarnation", v.Members, []fleet.Member{b, a})
		k.same("the plan in the table", v.Plan, first)
	}},
	{"JoinMisfit", func(k *kit) {
		k.join("a", "b")
		k.drain("b")
		k.depose("a") // b is draining, and alive
		for _, m := range []struct {
			setting, ours, theirs string
			change                func(p *fleet.Plan)
		}{
			{"shard count", "17", "16", func(p *fleet.Plan) { p.Shards = 17 }},
			{"intents", "512", "513", func(p *fleet.Plan) { p.Intents = 512 }},
			{"format", "redis msgpack", "redis json", func(p *fleet.Plan) { p.Format = "redis msgpack" }},
		} {
			p := plan
			m.change(&p)
			k.unchanged("a misfit of "+m.setting, func() {
				_, err := k.Join(k.ctx, fleet.Member{Incarnation: "c", Name: "c", Weight: 1}, p)
				var misfit *fleet.MisfitError
				if !errors.As(err, &misfit) {
					k.Fatalf("Join with another %s: %v", m.setting, err)
				}
				k.same("the misfit", *misfit, fleet.MisfitError{Setting: m.setting, Ours: m.ours, Theirs: m.theirs, Member: "name of b"})
			})
		}
	}},
	{"JoinNextGeneration", func(k *kit) {
		k.join("a", "b")
		owner := k.acquire("a", 3)
		k.ok(k.Leave(k.ctx, "b"))
		k.depose("a") // nobody lives
		next := fleet.Plan{Shards: plan.Shards, Intents: 1, Format: "amqp json"}
		got, err := k.Join(k.ctx, fleet.Member{Incarnation: "c", Weight: 1}, next)
		k.ok(err)
		next.Generation = 1
		k.same("the plan with the same shard count", got, next)
		k.ok(k.Leave(k.ctx, "c"))
		next.Shards, next.Generation = 32, 0
		for range 2 {
			got, err = k.Join(k.ctx, fleet.Member{Incarnation: "d", Weight: 1}, next)
			k.ok(err)
		}
		next.Generation = 2
		k.same("the plan with another shard count", got, next)
		k.same("the plan in the table", k.view().Plan, next)
		k.same("an owner of before", k.shard(3).Owner, owner)
	}},
	{"Beat", func(k *kit) {
		k.join("a")
		owner := k.acquire("a", 1)
		revision := k.view().Revision
		k.acquire("a", 2)
		a := fleet.Member{Incarnation: "a", Name: "other", Zone: "z", Weight: 2, State: fleet.Draining, Beat: 2, Address: "localhost:2", Version: "v2"}
		for range 2 {
			v, err := k.Beat(k.ctx, a, revision)
			k.ok(err)
			k.same("members after a beat", v.Members, []fleet.Member{a})
			k.same("shards since", ids(v.Shards), []int{2})
			k.same("plan", v.Plan.Shards, plan.Shards)
		}
		k.Forget("a")
		if _, known := k.member("a"); known {
			k.Fatal("Subject.Forget has not forgotten")
		}
		a.Beat, a.State = 3, fleet.Up
		v, err := k.Beat(k.ctx, a, 0)
		k.ok(err)
		k.same("members after a beat of one that was forgotten", v.Members, []fleet.Member{a})
		k.same("its shard", k.shard(1).Owner, owner)
		k.acquire("a", 4)
	}},
	{"Depose", func(k *kit) {
		k.join("a", "b")
		owner := k.acquire("a", 1)
		a, _ := k.member("a")
		a.Beat = 5
		_, err := k.Beat(k.ctx, a, 0)
		k.ok(err)
		k.unchanged("deposing who has beaten", func() {
			k.fails("Depose with an older beat", k.Depose(k.ctx, "a", 4), fleet.ErrChanged)
			k.fails("Depose with no beat", k.Depose(k.ctx, "a", 0), fleet.ErrChanged)
			k.fails("Depose with a higher beat", k.Depose(k.ctx, "a", 6), fleet.ErrChanged)
		})
		k.ok(k.Depose(k.ctx, "a", 5))
		a.State = fleet.Deposed
		got, _ := k.member("a")
		k.same("the deposed, which owns something", got, a)
		k.same("its shard", k.shard(1), fleet.Shard{ID: 1, Owner: owner})
		k.unchanged("deposing the deposed", func() {
			k.ok(k.Depose(k.ctx, "a", 5))
			k.ok(k.Depose(k.ctx, "a", 4))
		})
		deposed := func() {
			a.Beat++
			a.State = fleet.Up
			_, err := k.Beat(k.ctx, a, 0)
			k.fails("Beat of the deposed", err, fleet.ErrDeposed)
			_, err = k.Join(k.ctx, a, plan)
			k.fails("Join of the deposed", err, fleet.ErrDeposed)
			_, err = k.Acquire(k.ctx, "a", []fleet.Want{{Shard: 9}})
			k.fails("Acquire of the deposed", err, fleet.ErrDeposed)
		}
		k.unchanged("what the deposed tries", deposed)
		k.acquire("b", 1)
		if _, listed := k.member("a"); listed {
			k.Error("a deposed member that owns nothing is listed")
		}
		k.unchanged("what the deposed tries, when it owns nothing", deposed)
	}},
	{"DeposeForgotten", func(k *kit) {
		k.join("a", "b")
		owner := k.acquire("a", 1)
		k.Forget("a")
		want := []fleet.Want{{Shard: 1, From: owner}}
		k.unchanged("acquiring from one that is not deposed", func() {
			got, err := k.Acquire(k.ctx, "b", want)
			k.ok(err)
			k.same("acquired of one that is not known", got, []fleet.Shard{})
			k.fails("Depose of one that is not known, by a beat", k.Depose(k.ctx, "a", 1), fleet.ErrChanged)
		})
		k.ok(k.Depose(k.ctx, "a", 0))
		got, listed := k.member("a")
		k.same("it is listed", listed, true)
		k.same("it is deposed", got.State, fleet.Deposed)
		_, err := k.Beat(k.ctx, fleet.Member{Incarnation: "a", Weight: 1, Beat: 9}, 0)
		k.fails("Beat of the deposed", err, fleet.ErrDeposed)
		k.acquire("b", 1)
	}},
	{"Leave", func(k *kit) {
		k.join("a", "b")
		owned, kept := k.acquire("a", 1), k.acquire("b", 2)
		given := k.give(3, k.acquire("b", 3), "a") // which a does not take
		toB := k.give(4, k.acquire("a", 4), "b")
		for range 2 {
			k.ok(k.Leave(k.ctx, "a"))
			if _, listed := k.member("a"); listed {
				k.Error("a member that has left is listed")
			}
			k.same("shards", k.view().Shards, []fleet.Shard{
				{ID: 1, Owner: fleet.Owner{Epoch: owned.Epoch}},
				{ID: 2, Owner: kept},
				{ID: 3, Owner: fleet.Owner{Epoch: given.Epoch}},
				{ID: 4, Owner: toB, Giver: "a"},
			})
		}
		k.ok(k.Take(k.ctx, 4, toB))
		k.ok(k.Leave(k.ctx, "nobody"))
		if e := k.acquire("b", 1).Epoch; e <= owned.Epoch {
			k.Errorf("the epoch after %d is %d", owned.Epoch, e)
		}
		_, err := k.Acquire(k.ctx, "a", []fleet.Want{{Shard: 9}})
		k.fails("Acquire of one that has left", err, fleet.ErrDeposed)
	}},
	{"LeaveDeposed", func(k *kit) {
		k.join("a", "b")
		owner := k.acquire("a", 1)
		k.depose("a")
		k.ok(k.Leave(k.ctx, "a"))
		k.same("its shard", k.shard(1).Owner, fleet.Owner{Epoch: owner.Epoch})
		_, err := k.Beat(k.ctx, fleet.Member{Incarnation: "a", Weight: 1, Beat: 9}, 0)
		k.fails("Beat of the deposed", err, fleet.ErrDeposed)
		_, listed := k.member("a")
		k.same("it is listed", listed, false)
	}},
	{"LookSince", func(k *kit) {
		v := k.view()
		k.same("an empty table", []any{len(v.Members), len(v.Shards), v.Plan}, []any{0, 0, fleet.Plan{}})
		k.join("a", "b")
		var last int64
		var owners [5]fleet.Owner
		// changes runs a step, and holds the table to the shards that it has changed.
		changes := func(what string, step func(), want ...int) {
			k.Helper()
			before := k.view()
			step()
			v, err := k.Look(k.ctx, before.Revision)
			k.ok(err)
			k.same("shards changed by "+what, ids(v.Shards), want)
			if rises := v.Revision > before.Revision; rises != (len(want) > 0) {
				k.Errorf("%s: the revision goes from %d to %d", what, before.Revision, v.Revision)
			}
			for _, s := range v.Shards {
				k.same("the row", s, k.shard(s.ID))
			}
			last = v.Revision
		}
		changes("Acquire", func() {
			for _, i := range []int{4, 1, 3} {
				owners[i] = k.acquire("a", i)
			}
		}, 1, 3, 4)
		changes("Join", func() { k.join("c") })
		changes("Confirm", func() { _, err := k.Confirm(k.ctx, "a", map[int]int64{1: owners[1].Epoch, 2: 1}); k.ok(err) })
		changes("Save", func() {
			_, err := k.Save(k.ctx, "a", []fleet.Record{{Shard: 1, Epoch: owners[1].Epoch, Data: []byte("x")}})
			k.ok(err)
		})
		from := owners[3]
		changes("Give", func() { owners[3] = k.give(3, from, "b") }, 3)
		changes("Give again", func() { k.give(3, from, "b") })
		changes("Acquire in vain", func() { _, err := k.Acquire(k.ctx, "b", []fleet.Want{{Shard: 1, From: owners[1]}}); k.ok(err) })
		changes("Take", func() { k.ok(k.Take(k.ctx, 3, owners[3])) }, 3)
		changes("Take again", func() { k.ok(k.Take(k.ctx, 3, owners[3])) })
		changes("Give and TakeBack", func() {
			given := k.give(4, owners[4], "b")
			_, err := k.TakeBack(k.ctx, 4, given, "a")
			k.ok(err)
		}, 4)
		since := last
		changes("Leave", func() { k.ok(k.Leave(k.ctx, "a")) }, 1, 4)
		v, err := k.Look(k.ctx, since)
		k.ok(err)
		k.same("since an earlier revision", ids(v.Shards), []int{1, 4})
		k.same("since 0", ids(k.view().Shards), []int{1, 3, 4})
		// A failover has forgotten the revision that somebody knows.
		v, err = k.Look(k.ctx, last+1000)
		k.ok(err)
		k.same("since a revision that is not yet", ids(v.Shards), []int{1, 3, 4})
	}},
	{"Now", func(k *kit) {
		before := k.now()
		k.Advance(time.Hour)
		if after := k.now(); after.Sub(before) < time.Hour-time.Millisecond || after.Sub(before) > 2*time.Hour {
			k.Errorf("an hour later the coordinator's time goes from %v to %v", before, after)
		}
	}},
	{"Context", func(k *kit) {
		k.join("a", "b")
		owner := k.acquire("a", 1)
		k.unchanged("calls whose context is done", func() {
			ctx, cancel := context.WithCancel(k.ctx)
			cancel()
			for what, err := range map[string]error{
				"Join":    err2(k.Join(ctx, fleet.Member{Incarnation: "c", Weight: 1}, plan)),
				"Depose":  k.Depose(ctx, "b", 1),
				"Acquire": err2(k.Acquire(ctx, "a", []fleet.Want{{Shard: 2}})),
				"Give":    err2(k.Give(ctx, 1, owner, "b")),
				"Leave":   k.Leave(ctx, "a"),
				"Look":    err2(k.Look(ctx, 0)),
			} {
				if err == nil || errors.Is(err, fleet.ErrChanged) || errors.Is(err, fleet.ErrDeposed) {
					k.Errorf("%s: %v", what, err)
				}
			}
		})
	}},
}

// ids are those of shards.
func ids(shards []fleet.Shard) []int {
	var all []int
	for _, s := range shards {
		all = append(all, s.ID)
	}
	if !slices.IsSorted(all) {
		return append(all, -1) // matches nothing
	}
	return all
}

func err2[T any](_ T, err error) error { return err }
