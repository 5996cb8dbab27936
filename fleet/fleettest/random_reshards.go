// This file has the steps of a change of the shard count that Random takes.

package fleettest

import (
	"fmt"
	"slices"
	"time"

	"sluice/fleet"
)

// attempt returns the one that was seen last, as a rule.
func (r *random) attempt() fleet.Attempt {
	a := r.reshard.At()
	switch r.IntN(20) {
	case 0:
		a.Number -= int64(r.IntN(3))
	case 1:
		a.Generation += r.IntN(3) - 1
	}
	return a
}

// reshards takes one step, or all that lead to another shard count.
func (r *random) reshards() {
	switch r.IntN(12) {
	case 0:
		r.propose()
	case 1:
		a := r.attempt()
		_, _ = r.do("CallOff", []any{a}, func(c fleet.Coordinator) (any, error) { return nil, c.CallOff(r.ctx, a, "asked to") })
	case 2:
		a, n := r.attempt(), 1+r.IntN(6)
		_, _ = r.do("Abort", []any{a, n}, func(c fleet.Coordinator) (any, error) { return nil, c.Abort(r.ctx, a, fmt.Sprint("failure ", r.n), n) })
	case 3:
		a, by, ready := r.attempt(), r.anybody(), r.IntN(30)
		_, _ = r.do("Report", []any{a, by, ready}, func(c fleet.Coordinator) (any, error) { return nil, c.Report(r.ctx, by, a, ready) })
	case 4:
		r.agree(r.anybody())
	case 5:
		r.change()
	case 6:
		r.prepare(r.anybody(), r.Perm(max(r.reshard.Shards, 1))[:1])
	case 7:
		r.commit()
	default:
		r.reshardAll()
	}
	r.look(r.IntN(len(r.looks)))
}

func (r *random) propose() {
	to := fleet.Reshard{Generation: r.plan.Generation + 1, Shards: []int{12, 16, 20, 24, 30, 36}[r.IntN(6)], Setting: r.IntN(3)}
	if r.one(5) {
		to.Generation += r.IntN(3) - 1
	}
	if r.one(30) {
		to.Generation, to.Shards, to.Setting = r.reshard.Generation, r.reshard.Shards, r.reshard.Setting
	}
	_, _ = r.do("Propose", []any{to}, func(c fleet.Coordinator) (any, error) { return nil, c.Propose(r.ctx, to) })
}

func (r *random) agree(by string) {
	a, revisions := r.attempt(), r.looks[len(r.looks)-1]
	if r.one(10) {
		revisions = r.looks[r.IntN(len(r.looks))]
	}
	epochs := make(map[int]int64)
	for s := range 2 * randomShards {
		if o := r.shards[s].Owner; o.Incarnation == by && !r.one(1) {
			epochs[s] = o.Epoch
		}
	}
	s := call2{"Agree", []any{a, by, epochs}, func(c fleet.Coordinator, side int) (any, error) {
		return nil, c.Agree(r.ctx, by, a, revisions[side], len(epochs), epochs)
	}}
	if r.one(10) { // the answer is lost
		_, _ = r.both(s)
	}
	_, _ = r.both(s)
}

func (r *random) change() {
	a := r.attempt()
	_, _ = r.do("Switch", []any{a}, func(c fleet.Coordinator) (any, error) { return nil, c.Switch(r.ctx, a) })
}

func (r *random) prepare(by string, shards []int) {
	a, done := r.attempt(), !r.one(5)
	var records []fleet.Record
	for _, s := range shards {
		record := fleet.Record{Shard: s, Epoch: r.now.UnixMilli() + 1_000_000 + int64(r.IntN(5)), Number: int64(r.IntN(2)), Data: fmt.Appendf(nil, "new %d of %s", r.n, by)}
		if r.one(10) {
			record.Data = nil
		}
		if r.one(1) {
			record.Epoch = r.shards[s].Owner.Epoch
		}
		records = append(records, record)
	}
	_, _ = r.do("Prepare", []any{a, by, records, done}, func(c fleet.Coordinator) (any, error) {
		return nil, c.Prepare(r.ctx, by, a, records, done)
	})
}

func (r *random) commit() {
	a := r.attempt()
	_, err := r.do("Commit", []any{a}, func(c fleet.Coordinator) (any, error) { return nil, c.Commit(r.ctx, a) })
	if err == nil {
		clear(r.shards) // a look says what there is
	}
}

// reshardAll does what leads to another shard count, as a rule to its end.
func (r *random) reshardAll() {
	r.latest()
	if r.reshard.Stage == fleet.ReshardNone {
		b := fleet.Budget{Total: 1000, Remaining: 300, Reset: r.now.Add(time.Hour), Concurrency: 4}
		asked := r.now.Add(5 * time.Millisecond)
		_, _ = r.do("Budget", []any{b}, func(c fleet.Coordinator) (any, error) { return nil, c.Budget(r.ctx, b, asked) })
		r.propose()
		r.latest()
	}
	if r.reshard.Stage == fleet.ReshardPending {
		r.ownAll()
		r.latest()
		for _, m := range r.members {
			if !r.one(5) {
				r.agree(m.Incarnation)
			}
		}
		r.change()
		r.latest()
	}
	if r.reshard.Stage != fleet.ReshardSwitching || r.one(10) {
		return
	}
	next := make(map[string][]int)
	for s := range r.reshard.Shards {
		by := r.shards[s%r.plan.Shards].Owner.Incarnation
		if !r.one(1) {
			next[by] = append(next[by], s)
		}
	}
	for _, m := range r.members {
		if slices.ContainsFunc(r.reshard.Voices, func(v fleet.Voice) bool { return v.Incarnation == m.Incarnation }) {
			r.prepare(m.Incarnation, next[m.Incarnation])
		}
	}
	r.commit()
	r.latest()
}

// latest looks at all there is now.
func (r *random) latest() {
	clear(r.shards)
	r.look(0)
}

// ownAll has a member that is up own each shard, and ends all handovers.
func (r *random) ownAll() {
	var up []string
	for _, m := range r.members {
		if m.State == fleet.Up {
			up = append(up, m.Incarnation)
		}
	}
	if len(up) == 0 {
		return
	}
	for s := range r.plan.Shards {
		row := r.shards[s]
		lives := slices.ContainsFunc(r.members, func(m fleet.Member) bool { return m.Incarnation == row.Owner.Incarnation })
		switch {
		case lives && row.Giver != "":
			_, _ = r.do("Take", []any{s, row.Owner}, func(c fleet.Coordinator) (any, error) { return nil, c.Take(r.ctx, s, row.Owner) })
		case !lives:
			by, want := up[r.IntN(len(up))], []fleet.Want{{Shard: s, From: row.Owner}}
			_, _ = r.do("Acquire", []any{by, want}, func(c fleet.Coordinator) (any, error) { return c.Acquire(r.ctx, by, want) })
		}
	}
}
