// This file tests the steps of a change of the shard count.

package fleettest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/fleet"
)

var reshardTests = []test{
	{"ReshardProposes", testProposes},
	{"ReshardSwitches", testSwitches},
	{"ReshardCommitsOnce", testCommitsOnce},
	{"ReshardCommits", testCommits},
	{"ReshardAborts", testAborts},
	{"ReshardCallsOff", testCallsOff},
	{"ReshardOfNobody", testReshardOfNobody},
	{"ReshardOfMany", testReshardOfMany},
}

// identifies says how many session starts are left.
func (k *kit) identifies(n int) {
	k.Helper()
	k.ok(k.Budget(k.ctx, fleet.Budget{Total: 1000, Remaining: n, Reserve: 10, Reset: k.now().Add(time.Hour), Concurrency: 4}, k.now()))
}

// propose begins a change of the shard count, and returns its first attempt.
func (k *kit) propose(shards int) fleet.Attempt {
	k.Helper()
	k.identifies(500)
	v := k.view()
	k.ok(k.Propose(k.ctx, fleet.Reshard{Generation: v.Plan.Generation + 1, Shards: shards, Setting: 7}))
	r := k.view().Reshard
	return r.At()
}

// split has two members own all shards by halves.
func (k *kit) split(a, b string) {
	k.Helper()
	k.join(a, b)
	for i := range plan.Shards {
		k.acquire([]string{a, b}[i%2], i)
	}
}

// epochs are those of a member's shards.
func (k *kit) epochs(incarnation string) map[int]int64 {
	k.Helper()
	all := make(map[int]int64)
	for _, s := range k.view().Shards {
		if s.Owner.Incarnation == incarnation {
			all[s.ID] = s.Owner.Epoch
		}
	}
	return all
}

func (k *kit) agree(a fleet.Attempt, incarnations ...string) {
	k.Helper()
	for _, i := range incarnations {
		k.ok(k.Agree(k.ctx, i, a, k.view().Revision, 6, k.epochs(i)))
	}
}

// next is what a member will own: the shards that are first modulo the step.
func next(first, step, count int, epoch int64) (all []fleet.Record) {
	for i := first; i < count; i += step {
		all = append(all, fleet.Record{Shard: i, Epoch: epoch, Data: fmt.Appendf(nil, "new %d", i)})
	}
	return all
}

// above is an epoch above all.
func (k *kit) above() (epoch int64) {
	k.Helper()
	for _, s := range k.view().Shards {
		epoch = max(epoch, s.Owner.Epoch)
	}
	return epoch + 1
}

func testProposes(k *kit) {
	r := fleet.Reshard{Generation: 2, Shards: 32, Setting: 7}
	k.fails("Propose without a plan", k.Propose(k.ctx, r), fleet.ErrChanged)
	k.join("a")
	var starts *fleet.StartsError
	if err := k.Propose(k.ctx, r); !errors.As(err, &starts) || starts.Needed != 32 || !starts.Reset.IsZero() {
		k.Errorf("Propose without a budget: %v", err)
	}
	k.identifies(41)
	starts = nil
	if err := k.Propose(k.ctx, r); !errors.As(err, &starts) || starts.Needed != 32 || starts.Left != 31 || starts.Reset.IsZero() {
		k.Errorf("Propose with too small a budget: %v", err)
	}
	k.identifies(42)
	for _, bad := range []fleet.Reshard{{Generation: 1, Shards: 32}, {Generation: 3, Shards: 32}, {Generation: 2, Shards: 16}, {Generation: 2}} {
		k.fails(fmt.Sprintf("Propose of %+v", bad), k.Propose(k.ctx, bad), fleet.ErrChanged)
	}
	k.same("what is pending before", k.view().Reshard, fleet.Reshard{})
	before := k.view().Plan
	k.ok(k.Propose(k.ctx, r))
	got := k.view().Reshard
	if got.Since.IsZero() || got.Attempt == 0 {
		k.Errorf("it began at %v, with attempt %d", got.Since, got.Attempt)
	}
	r.Stage, r.Since, r.Attempt = fleet.ReshardPending, got.Since, got.Attempt
	k.same("what is pending", got, r)
	k.same("the plan", k.view().Plan, before)
	k.ok(k.Propose(k.ctx, r)) // again
	k.same("what is pending then", k.view().Reshard, r)
	k.fails("Propose of another", k.Propose(k.ctx, fleet.Reshard{Generation: 2, Shards: 48}), fleet.ErrChanged)
}

func testSwitches(k *kit) {
	k.split("a", "b")
	at := k.propose(24)
	revision := k.view().Revision
	a, b := k.epochs("a"), k.epochs("b")
	other := at
	other.Number++
	k.fails("Agree to another attempt", k.Agree(k.ctx, "a", other, revision, 6, a), fleet.ErrChanged)
	k.fails("Agree as of another revision", k.Agree(k.ctx, "a", at, revision-1, 6, a), fleet.ErrChanged)
	k.fails("Agree of a stranger", k.Agree(k.ctx, "x", at, revision, 6, nil), fleet.ErrDeposed)
	less := k.epochs("a")
	delete(less, 2)
	k.fails("Agree with too few shards", k.Agree(k.ctx, "a", at, revision, 6, less), fleet.ErrChanged)
	less[1] = b[1]
	k.fails("Agree with another's shard", k.Agree(k.ctx, "a", at, revision, 6, less), fleet.ErrChanged)
	k.fails("Switch before anybody has agreed", k.Switch(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Report(k.ctx, "a", at, 5))
	k.same("what is said", k.view().Reshard.Voices, []fleet.Voice{{Incarnation: "a", Ready: 5}})
	k.agree(at, "a", "b")
	k.ok(k.Report(k.ctx, "b", at, 5)) // not any more
	k.fails("Switch with one that does not agree any more", k.Switch(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Report(k.ctx, "a", at, 5))
	k.agree(at, "a")
	k.same("what is said", k.view().Reshard.Voices, []fleet.Voice{{Incarnation: "a", Revision: revision, Ready: 6}, {Incarnation: "b", Ready: 5}})
	k.fails("Switch before all have agreed", k.Switch(k.ctx, at), fleet.ErrChanged)
	k.agree(at, "b")

	owner := k.give(1, fleet.Owner{Incarnation: "b", Epoch: b[1]}, "a")
	k.fails("Switch after a change of the table", k.Switch(k.ctx, at), fleet.ErrChanged)
	k.agree(at, "b")
	k.fails("Agree with a shard that is not taken", k.Agree(k.ctx, "a", at, k.view().Revision, 6, k.epochs("a")), fleet.ErrChanged)
	k.ok(k.Take(k.ctx, 1, owner))
	k.agree(at, "a", "b")
	k.depose("b")
	k.fails("Switch with one that is deposed", k.Switch(k.ctx, at), fleet.ErrChanged)
	k.fails("Agree of one that is deposed", k.Agree(k.ctx, "b", at, k.view().Revision, 6, k.epochs("b")), fleet.ErrDeposed)
	k.fails("Report of one that is deposed", k.Report(k.ctx, "b", at, 1), fleet.ErrDeposed)
	for i := range plan.Shards {
		if k.shard(i).Owner.Incarnation == "b" {
			k.acquire("a", i)
		}
	}
	k.agree(at, "a")
	k.join("old")
	k.fails("Switch with one that has said nothing", k.Switch(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Report(k.ctx, "old", at, 0))
	before := k.view()
	k.ok(k.Switch(k.ctx, at))
	after := k.view()
	k.same("the shards after Switch", after.Shards, before.Shards)
	k.same("the stage", after.Reshard.Stage, fleet.ReshardSwitching)
	k.ok(k.Switch(k.ctx, at)) // again
	k.fails("Agree after it", k.Agree(k.ctx, "a", at, after.Revision, 6, k.epochs("a")), fleet.ErrChanged)
	k.fails("Report after it", k.Report(k.ctx, "a", at, 1), fleet.ErrChanged)
}

// switching proposes, and enters the switch of two members.
func (k *kit) switching(shards int) fleet.Attempt {
	k.Helper()
	k.split("a", "b")
	at := k.propose(shards)
	k.agree(at, "a", "b")
	k.ok(k.Switch(k.ctx, at))
	return at
}

func testCommits(k *kit) {
	k.join("gone") // it has a shard that an earlier plan had
	k.acquire("gone", 100)
	k.depose("gone")
	at := k.switching(24)
	k.join("idle")
	_, err := k.Save(k.ctx, "a", []fleet.Record{{Shard: 2, Epoch: k.epochs("a")[2], Number: 3, Data: []byte("old")}})
	k.ok(err)
	before, e := k.view(), k.above()
	other := at
	other.Number--
	a, b := next(0, 2, 24, e), next(1, 2, 24, e+1)
	k.fails("Prepare of another attempt", k.Prepare(k.ctx, "a", other, a, true), fleet.ErrChanged)
	k.fails("Prepare of one who has not agreed", k.Prepare(k.ctx, "idle", at, a, true), fleet.ErrChanged)
	k.fails("Prepare of a stranger", k.Prepare(k.ctx, "x", at, a, true), fleet.ErrDeposed)
	k.fails("Prepare with an old epoch", k.Prepare(k.ctx, "a", at, []fleet.Record{{Shard: 2, Epoch: before.Shards[2].Owner.Epoch}}, true), fleet.ErrChanged)
	k.fails("Prepare of what there will not be", k.Prepare(k.ctx, "a", at, []fleet.Record{{Shard: 24, Epoch: e}}, true), fleet.ErrChanged)
	k.fails("Commit before anything is prepared", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Prepare(k.ctx, "a", at, a[:5], false))
	k.ok(k.Prepare(k.ctx, "a", at, a[4:], true))
	k.fails("Prepare of what another has prepared", k.Prepare(k.ctx, "b", at, a[:1], true), fleet.ErrChanged)
	k.fails("Commit before all have prepared", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Prepare(k.ctx, "b", at, b[1:], true))
	k.fails("Commit without all shards", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Prepare(k.ctx, "b", at, b[:1], false))
	k.fails("Commit with one that has said nothing", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.fails("Report of another attempt", k.Report(k.ctx, "idle", other, 0), fleet.ErrChanged)
	k.fails("Report of one that has prepared", k.Report(k.ctx, "a", at, 0), fleet.ErrChanged)
	for range 2 {
		k.ok(k.Report(k.ctx, "idle", at, 0))
	}
	k.unchanged("what fails", func() { k.fails("Commit of another attempt", k.Commit(k.ctx, other), fleet.ErrChanged) })
	k.same("the shards before Commit", k.view().Shards, before.Shards)

	k.ok(k.Commit(k.ctx, at))
	v := k.view()
	p := fleet.Plan{Generation: at.Generation, Shards: 24, Intents: plan.Intents, Format: plan.Format, Resharded: true, Instead: 7}
	k.same("the plan", v.Plan, p)
	k.same("the stage", v.Reshard.Stage, fleet.ReshardNone)
	k.same("why it was called off", v.Reshard.Failure, "")
	var want []fleet.Shard
	for i := range 24 {
		want = append(want, fleet.Shard{ID: i, Owner: fleet.Owner{Incarnation: []string{"a", "b"}[i%2], Epoch: e + int64(i%2)}})
	}
	k.same("the shards", v.Shards, want)
	changed, err := k.Look(k.ctx, before.Revision)
	k.ok(err)
	k.same("what has changed since", changed.Shards, want)
	records, err := k.Load(k.ctx, []int{1, 2, 23})
	k.ok(err)
	for i, r := range records {
		k.same("the record", string(r.Data), fmt.Sprintf("new %d", []int{1, 2, 23}[i]))
	}
	refused, err := k.Save(k.ctx, "a", []fleet.Record{{Shard: 2, Epoch: before.Shards[2].Owner.Epoch, Number: 9}, {Shard: 4, Epoch: e, Number: 1, Data: []byte("newer")}})
	k.ok(err)
	k.same("what is refused of the former owner", refused, []int{2})
	k.ok(k.Commit(k.ctx, at)) // again
	k.same("the table after that", k.view().Shards, want)
	k.fails("Abort after it", k.Abort(k.ctx, at, "late", 6), fleet.ErrChanged)
	k.fails("CallOff after it", k.CallOff(k.ctx, at, "late"), fleet.ErrChanged)
	k.fails("Prepare after it", k.Prepare(k.ctx, "a", at, a, true), fleet.ErrChanged)

	if _, there := k.member("gone"); there {
		k.Error("a deposed member is shown that owns nothing any more")
	}
	k.depose("a") // its new shards are taken over like any
	for i := 0; i < 24; i += 2 {
		k.acquire("b", i)
	}
	if _, there := k.member("a"); there {
		k.Error("a deposed member that owns nothing is shown")
	}
	m, err := k.Join(k.ctx, fleet.Member{Incarnation: "c", Weight: 1}, fleet.Plan{Shards: 24, Intents: plan.Intents, Format: plan.Format})
	k.ok(err)
	k.same("the plan of one that joins", m, p)
}

// Nothing of an attempt is in force when the table has changed since Switch, or a member is deposed.
func testCommitsOnce(k *kit) {
	at := k.switching(32)
	e := k.above()
	k.ok(k.Prepare(k.ctx, "a", at, next(0, 2, 32, e), true))
	k.ok(k.Prepare(k.ctx, "b", at, next(1, 2, 32, e), true))
	k.depose("b")
	k.fails("Commit with one that is deposed", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.acquire("a", 1)
	k.fails("Commit after a change of the table", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.fails("Prepare after a change of the table", k.Prepare(k.ctx, "a", at, nil, true), fleet.ErrChanged)
	k.fails("Prepare of one that is deposed", k.Prepare(k.ctx, "b", at, nil, true), fleet.ErrDeposed)
	for i := 3; i < plan.Shards; i += 2 {
		k.acquire("a", i)
	}
	k.fails("Commit when all is a's", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Abort(k.ctx, at, "b is dead", 6))
	r := k.view().Reshard
	at = r.At()
	k.agree(at, "a")
	k.ok(k.Switch(k.ctx, at))
	e = k.above()
	k.ok(k.Prepare(k.ctx, "a", at, next(0, 2, 32, e), true))
	k.fails("Commit with what an earlier attempt has prepared", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.ok(k.Prepare(k.ctx, "a", at, next(1, 2, 32, e), true))
	k.ok(k.Commit(k.ctx, at))
	if _, there := k.member("b"); there {
		k.Error("a deposed member that owns nothing is shown")
	}
}

func testAborts(k *kit) {
	at := k.switching(32)
	e := k.above()
	k.ok(k.Prepare(k.ctx, "a", at, next(0, 2, 32, e), true))
	k.ok(k.Prepare(k.ctx, "b", at, next(1, 2, 32, e), true))
	before := k.view()
	k.ok(k.Abort(k.ctx, at, "too slow", 3))
	r := k.view().Reshard
	k.same("the stage", r.Stage, fleet.ReshardPending)
	k.same("the failures", []any{r.Failures, r.Failure, len(r.Voices)}, []any{1, "too slow", 0})
	if r.Attempt <= at.Number {
		k.Errorf("attempt %d follows %d", r.Attempt, at.Number)
	}
	k.fails("Commit of an aborted attempt", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.fails("Prepare of an aborted attempt", k.Prepare(k.ctx, "a", at, nil, true), fleet.ErrChanged)
	k.ok(k.Abort(k.ctx, at, "again", 3)) // it was
	k.same("what is pending after that", k.view().Reshard, r)
	k.same("the shards", k.view().Shards, before.Shards)
	k.same("the plan", k.view().Plan, before.Plan)
	k.fails("Abort of an attempt to come", k.Abort(k.ctx, fleet.Attempt{Generation: at.Generation, Number: r.Attempt + 1}, "early", 3), fleet.ErrChanged)
	for range 2 {
		r = k.view().Reshard
		k.ok(k.Abort(k.ctx, r.At(), "the last", 3))
	}
	last := k.view().Reshard
	k.same("what has become of it", []any{last.Stage, last.Shards, last.Failures, last.Failure}, []any{fleet.ReshardNone, 32, 3, "the last"})
	k.ok(k.Abort(k.ctx, r.At(), "again", 3))
	k.ok(k.CallOff(k.ctx, r.At(), "again"))
	k.same("what it is after that", k.view().Reshard, last)
}

func testCallsOff(k *kit) {
	at := k.switching(32)
	e := k.above()
	k.ok(k.Prepare(k.ctx, "a", at, next(0, 2, 32, e), true))
	k.ok(k.Prepare(k.ctx, "b", at, next(1, 2, 32, e), true))
	for _, other := range []fleet.Attempt{{Generation: at.Generation + 1, Number: at.Number}, {Generation: at.Generation, Number: at.Number - 1}} {
		k.fails("CallOff of another", k.CallOff(k.ctx, other, "no"), fleet.ErrChanged)
	}
	k.ok(k.CallOff(k.ctx, at, "asked to"))
	r := k.view().Reshard
	k.same("what has become of it", []any{r.Stage, r.Shards, r.Failure}, []any{fleet.ReshardNone, 32, "asked to"})
	k.fails("Commit of what was called off", k.Commit(k.ctx, at), fleet.ErrChanged)
	k.ok(k.CallOff(k.ctx, at, "again"))
	k.same("what it is after that", k.view().Reshard, r)

	again := k.propose(32)
	if again.Number <= at.Number || again.Generation != at.Generation {
		k.Errorf("after %+v comes %+v", at, again)
	}
	k.fails("CallOff that is late", k.CallOff(k.ctx, at, "late"), fleet.ErrChanged)
	k.agree(again, "a", "b")
	k.ok(k.Switch(k.ctx, again))
	k.fails("Prepare of what was called off", k.Prepare(k.ctx, "a", at, next(0, 2, 32, e), true), fleet.ErrChanged)
	k.fails("Commit with what was prepared then", k.Commit(k.ctx, again), fleet.ErrChanged)
}

// When nobody lives, who joins begins without it.
func testReshardOfNobody(k *kit) {
	k.switching(32)
	k.depose("a")
	k.join("c")
	k.same("the stage while somebody lives", k.view().Reshard.Stage, fleet.ReshardSwitching)
	k.depose("c")
	k.depose("b")
	k.join("d")
	r := k.view().Reshard
	if r.Stage != fleet.ReshardNone || r.Failure == "" {
		k.Errorf("it goes on: %+v", r)
	}
	k.depose("d")
	p := plan
	p.Resharded, p.Instead = true, 3
	got, err := k.Join(k.ctx, fleet.Member{Incarnation: "e", Weight: 1}, p)
	k.ok(err)
	p.Generation = got.Generation
	k.same("the plan that is joined with", got, p)
	k.same("the plan in the table", k.view().Plan, p)
}

// What is more than one call of a script takes.
func testReshardOfMany(k *kit) {
	const old, new = 450, 900
	p := plan
	p.Shards = old
	_, err := k.Join(k.ctx, fleet.Member{Incarnation: "a", Weight: 1}, p)
	k.ok(err)
	var want []fleet.Want
	for i := range old {
		want = append(want, fleet.Want{Shard: i})
	}
	_, err = k.Acquire(k.ctx, "a", want)
	k.ok(err)
	k.ok(k.Budget(k.ctx, fleet.Budget{Total: 1000, Remaining: 1000, Reset: k.now().Add(time.Hour), Concurrency: 4}, k.now()))
	k.ok(k.Propose(k.ctx, fleet.Reshard{Generation: 2, Shards: new}))
	r := k.view().Reshard
	k.agree(r.At(), "a")
	k.ok(k.Switch(k.ctx, r.At()))
	e := k.above()
	k.ok(k.Prepare(k.ctx, "a", r.At(), next(0, 1, new, e), true))
	k.ok(k.Commit(k.ctx, r.At()))
	v := k.view()
	if len(v.Shards) != new || slices.ContainsFunc(v.Shards, func(s fleet.Shard) bool { return s.Owner != fleet.Owner{Incarnation: "a", Epoch: e} }) {
		k.Errorf("%d shards", len(v.Shards))
	}
}
