// This file has the steps that Random takes.

package fleettest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sluice/fleet"
)

func (r *random) join() {
	r.named++
	m := fleet.Member{Incarnation: fmt.Sprint("m", r.named), Name: fmt.Sprint("n", r.IntN(4)), Zone: []string{"", "z"}[r.IntN(2)], Weight: 1 + r.IntN(3), Beat: 10}
	if r.one(5) && len(r.gone) > 0 {
		m.Incarnation = r.gone[r.IntN(len(r.gone))]
	}
	if r.one(10) {
		m.State = fleet.Draining // which is not kept
	}
	p := r.plan
	p.Generation = r.IntN(3)
	answer, err := r.do("Join", []any{m, p}, func(c fleet.Coordinator) (any, error) { return c.Join(r.ctx, m, p) })
	if err == nil {
		if i := len(r.members); i == 0 || r.members[i-1].Incarnation != m.Incarnation {
			r.members = append(r.members, m)
		}
		r.plan = answer.(fleet.Plan)
	}
}

func (r *random) misfit() {
	p := r.plan
	switch r.IntN(3) {
	case 0:
		p.Shards++
	case 1:
		p.Intents++
	case 2:
		p.Format += " msgpack"
	}
	m := fleet.Member{Incarnation: "misfit", Name: "misfit", Weight: 1, Beat: 10}
	_, _ = r.both(call2{"Misfit", []any{p}, func(c fleet.Coordinator, _ int) (any, error) { return c.Join(r.ctx, m, p) }})
}

// end has a member leave or be deposed.
func (r *random) end(i int) {
	m := r.members[i]
	r.members = slices.Delete(r.members, i, i+1)
	r.gone = keep(r.gone, m.Incarnation, 8)
	if r.one(50) {
		_, _ = r.do("Leave", []any{m.Incarnation}, func(c fleet.Coordinator) (any, error) { return nil, c.Leave(r.ctx, m.Incarnation) })
		return
	}
	_, _ = r.do("Depose", []any{m.Incarnation, m.Beat}, func(c fleet.Coordinator) (any, error) { return nil, c.Depose(r.ctx, m.Incarnation, m.Beat) })
}

// again deposes in vain, or ends one that is gone already.
func (r *random) again() {
	m := r.members[r.IntN(len(r.members))]
	beat := m.Beat + 1
	if r.one(50) {
		beat = m.Beat - 1
	}
	if r.one(50) && len(r.gone) > 0 {
		m.Incarnation = r.gone[r.IntN(len(r.gone))]
	}
	if r.one(20) && slices.Contains(r.gone, m.Incarnation) {
		_, _ = r.both(call2{"Leave again", []any{m.Incarnation}, func(c fleet.Coordinator, _ int) (any, error) { return nil, c.Leave(r.ctx, m.Incarnation) }})
		return
	}
	_, _ = r.both(call2{"Depose again", []any{m.Incarnation, beat}, func(c fleet.Coordinator, _ int) (any, error) { return nil, c.Depose(r.ctx, m.Incarnation, beat) }})
}

func (r *random) beat() {
	m := r.members[r.IntN(len(r.members))]
	if r.one(2) && len(r.gone) > 0 { // one that has left is there again
		m = fleet.Member{Incarnation: r.gone[r.IntN(len(r.gone))], Weight: 1, Beat: 10}
	}
	m.Beat++
	m.State = fleet.Up
	if r.one(5) {
		m.State = fleet.Draining
	}
	r.looking("Beat", []any{m}, r.IntN(len(r.looks)), func(c fleet.Coordinator, since int64) (fleet.View, error) { return c.Beat(r.ctx, m, since) })
}

func (r *random) acquire() {
	by := r.anybody()
	var want []fleet.Want
	for _, s := range r.Perm(r.plan.Shards)[:1+r.IntN(8)] {
		w := fleet.Want{Shard: s, From: r.owner(s)}
		if r.one(10) {
			w.Above = w.From.Epoch + int64(r.IntN(100)) - 10
		}
		want = append(want, w)
	}
	answer, err := r.do("Acquire", []any{by, want}, func(c fleet.Coordinator) (any, error) {
		got, err := c.Acquire(r.ctx, by, want)
		got = slices.Clone(got)
		slices.SortFunc(got, func(a, b fleet.Shard) int { return cmp.Compare(a.ID, b.ID) })
		return got, err
	})
	if err == nil {
		for _, s := range answer.([]fleet.Shard) {
			r.shards[s.ID] = s
		}
	}
}

// shard returns one whose handover has begun, as a rule, or not.
func (r *random) shard(given bool) int {
	s := r.IntN(r.plan.Shards)
	for range 10 {
		if (r.shards[s].Giver != "") == given {
			break
		}
		s = r.IntN(r.plan.Shards)
	}
	return s
}

func (r *random) give() {
	s, to := r.shard(r.one(15)), r.anybody()
	from := r.owner(s)
	if giver := r.shards[s].Giver; giver != "" && r.one(50) { // once more, to another
		from = fleet.Owner{Incarnation: giver, Epoch: r.shards[s].Owner.Epoch - 1}
	}
	answer, err := r.do("Give", []any{s, from, to}, func(c fleet.Coordinator) (any, error) { return c.Give(r.ctx, s, from, to) })
	if err == nil {
		r.shards[s] = fleet.Shard{ID: s, Owner: answer.(fleet.Owner), Giver: from.Incarnation}
	}
}

func (r *random) take() {
	s := r.shard(true)
	by := r.owner(s)
	_, err := r.do("Take", []any{s, by}, func(c fleet.Coordinator) (any, error) { return nil, c.Take(r.ctx, s, by) })
	if err == nil {
		r.shards[s] = fleet.Shard{ID: s, Owner: by}
	}
}

func (r *random) takeBack() {
	s := r.shard(true)
	given, giver := r.owner(s), r.shards[s].Giver
	if r.one(5) || giver == "" {
		giver = r.anybody()
	}
	answer, err := r.do("TakeBack", []any{s, given, giver}, func(c fleet.Coordinator) (any, error) { return c.TakeBack(r.ctx, s, given, giver) })
	if err == nil {
		r.shards[s] = fleet.Shard{ID: s, Owner: answer.(fleet.Owner)}
	}
}

func (r *random) confirm() {
	by := r.anybody()
	epochs := make(map[int]int64)
	for s := range r.plan.Shards {
		if o := r.owner(s); o.Incarnation == by || r.one(3) {
			epochs[s] = o.Epoch
		}
	}
	_, _ = r.do("Confirm", []any{by, epochs}, func(c fleet.Coordinator) (any, error) {
		lost, err := c.Confirm(r.ctx, by, epochs)
		return sorted(lost), err
	})
}

func (r *random) save() {
	by := r.anybody()
	var records []fleet.Record
	r.saves[by]++
	for s := range r.plan.Shards {
		if o := r.owner(s); o.Incarnation == by && r.one(50) || r.one(2) {
			record := fleet.Record{Shard: s, Epoch: o.Epoch, Number: r.saves[by], Data: fmt.Appendf(nil, "%d of %s", r.saves[by], by)}
			if r.one(10) {
				record.Data = nil
			}
			records = append(records, record)
		}
	}
	if len(records) == 0 {
		return
	}
	_, _ = r.do("Save", []any{by, records}, func(c fleet.Coordinator) (any, error) {
		refused, err := c.Save(r.ctx, by, records)
		return sorted(refused), err
	})
}

func (r *random) ask() {
	by := r.anybody()
	var waiting []int
	for s, row := range r.shards {
		if row.Owner.Incarnation == by {
			waiting = append(waiting, s)
		}
	}
	slices.Sort(waiting)
	waiting = slices.DeleteFunc(waiting, func(int) bool { return r.one(20) })
	for range r.IntN(3) * r.IntN(2) { // of the next count
		waiting = append(waiting, (1+r.IntN(2))*fleet.TurnStride+r.IntN(30))
	}
	slices.Sort(waiting)
	waiting = slices.Compact(waiting)
	number := int64(r.n)
	if r.one(5) { // late
		number = max(0, number-int64(r.IntN(500)))
	}
	answer, err := r.do("Ask", []any{by, number, waiting}, func(c fleet.Coordinator) (any, error) {
		g, err := c.Ask(r.ctx, by, number, waiting)
		slices.SortFunc(g.Turns, func(a, b fleet.Turn) int { return cmp.Compare(a.Shard, b.Shard) })
		reset := int64(0)
		if g.Known {
			reset = g.Budget.Reset.UnixMilli()
		}
		g.Budget.Reset = time.Time{}
		return grantsOf{g.Turns, g.Known, g.Budget, reset}, err
	})
	if err == nil {
		for _, turn := range answer.(grantsOf).Turns {
			r.turns[turn.Shard] = turnOf{by, turn.Number}
		}
	}
}

// grantsOf is what is compared of them: each may say when to ask again.
type grantsOf struct {
	Turns  []fleet.Turn
	Known  bool
	Budget fleet.Budget
	Reset  int64
}

func (r *random) sent() {
	s := r.IntN(r.plan.Shards)
	for range 10 {
		if r.turns[s].by != "" {
			break
		}
		s = r.IntN(r.plan.Shards)
	}
	t := r.turns[s]
	if t.by == "" || r.one(3) {
		t.by = r.anybody()
	}
	if r.one(3) {
		t.number -= int64(r.IntN(3))
	}
	_, _ = r.do("Sent", []any{t.by, s, t.number}, func(c fleet.Coordinator) (any, error) { return nil, c.Sent(r.ctx, t.by, s, t.number) })
	delete(r.turns, s)
}

func (r *random) budget() {
	// Not at the time of another step: whether that was since then is nobody's to say.
	asked := r.now.Add(-time.Duration(r.IntN(2000))*randomTick + 5*time.Millisecond)
	b := fleet.Budget{Total: 1000, Remaining: r.IntN(40), Reserve: r.IntN(5), Reset: r.now.Add(time.Hour), Concurrency: 4}
	if r.one(20) {
		b.Concurrency = 1 + r.IntN(8)
	}
	_, _ = r.do("Budget", []any{b, asked}, func(c fleet.Coordinator) (any, error) { return nil, c.Budget(r.ctx, b, asked) })
}
