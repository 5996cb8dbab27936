// This file has the conformance suite, and what its tests ask of a coordinator.

// Package fleettest holds every fleet.Coordinator to the contract, fails calls to one, and compares
// two of them.
package fleettest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice/fleet"
)

// Subject is an empty coordinator to be tested.
type Subject struct {
	fleet.Coordinator
	// Advance lets so much time of the coordinator's clock pass at once. The clock may run besides.
	Advance func(d time.Duration)
	// Forget removes what is kept of a member, but for its shards, as a failover may.
	Forget func(incarnation string)
}

// Test runs the suite. Each test opens a coordinator of its own, and closes it.
func Test(t *testing.T, open func(t *testing.T) Subject) {
	for _, test := range slices.Concat(memberTests, shardTests, recordTests, noticeTests, turnTests, reshardTests) {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			test.run(&kit{T: t, Subject: s, ctx: t.Context()})
		})
	}
}

type test struct {
	name string
	run  func(k *kit)
}

// kit is a coordinator whose steps must succeed.
type kit struct {
	*testing.T
	Subject
	ctx context.Context

	asks    int64            // for turns
	numbers map[string]int64 // of the last turns, by incarnation and shard
}

var plan = fleet.Plan{Shards: 16, Intents: 513, Format: "redis json"}

func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// fails holds an error to the one that the contract names.
func (k *kit) fails(what string, err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Errorf("%s: %v, not: %v", what, err, want)
	}
}

// same holds an answer to the expected one.
func (k *kit) same(what string, got, want any) {
	k.Helper()
	if !reflect.DeepEqual(got, want) && fmt.Sprint(got) != fmt.Sprint(want) { // nil and empty are the same
		k.Errorf("%s: %+v, not %+v", what, got, want)
	}
}

// view is the whole table.
func (k *kit) view() fleet.View {
	k.Helper()
	v, err := k.Look(k.ctx, 0)
	k.ok(err)
	return v
}

func (k *kit) now() time.Time { k.Helper(); return k.view().Now }

// unchanged runs what must not change the table.
func (k *kit) unchanged(what string, f func()) {
	k.Helper()
	before := k.view()
	f()
	after := k.view()
	before.Now, after.Now = time.Time{}, time.Time{}
	k.same("the table after "+what, after, before)
}

// member returns one that is in the table.
func (k *kit) member(incarnation string) (fleet.Member, bool) {
	k.Helper()
	v := k.view()
	i := slices.IndexFunc(v.Members, func(m fleet.Member) bool { return m.Incarnation == incarnation })
	if i < 0 {
		return fleet.Member{}, false
	}
	return v.Members[i], true
}

// shard returns a row of the table.
func (k *kit) shard(id int) fleet.Shard {
	k.Helper()
	v := k.view()
	i := slices.IndexFunc(v.Shards, func(s fleet.Shard) bool { return s.ID == id })
	if i < 0 {
		return fleet.Shard{ID: id}
	}
	return v.Shards[i]
}

// join enters members, which are called as their incarnations.
func (k *kit) join(incarnations ...string) {
	k.Helper()
	for _, i := range incarnations {
		_, err := k.Join(k.ctx, fleet.Member{Incarnation: i, Name: "name of " + i, Weight: 1, Beat: 1}, plan)
		k.ok(err)
	}
}

// drain has a member say that it is draining.
func (k *kit) drain(incarnation string) {
	k.Helper()
	m, _ := k.member(incarnation)
	m.Incarnation, m.State = incarnation, fleet.Draining
	m.Beat++
	_, err := k.Beat(k.ctx, m, 0)
	k.ok(err)
}

// depose deposes a member whatever its beat is.
func (k *kit) depose(incarnation string) {
	k.Helper()
	m, _ := k.member(incarnation)
	k.ok(k.Depose(k.ctx, incarnation, m.Beat))
}

// acquire makes a member the owner of a shard that can be had, and returns the owner.
func (k *kit) acquire(incarnation string, shard int) fleet.Owner {
	k.Helper()
	got, err := k.Acquire(k.ctx, incarnation, []fleet.Want{{Shard: shard, From: k.shard(shard).Owner}})
	k.ok(err)
	if len(got) != 1 || got[0].ID != shard || got[0].Owner.Incarnation != incarnation || got[0].Giver != "" {
		k.Fatalf("Acquire of %d by %s: %+v", shard, incarnation, got)
	}
	k.same("the shard acquired", k.shard(shard), got[0])
	return got[0].Owner
}

// give gives a shard, and returns the new owner.
func (k *kit) give(shard int, from fleet.Owner, to string) fleet.Owner {
	k.Helper()
	owner, err := k.Give(k.ctx, shard, from, to)
	k.ok(err)
	return owner
}
