// This file compares two coordinators by random steps.

package fleettest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/fleet"
)

const (
	randomShards  = 24
	randomMembers = 5
	// No time of turns is a multiple of it: nothing happens at their very end.
	randomTick = 17 * time.Millisecond
)

// Random takes the same random steps on two empty coordinators, and fails where an answer differs, or
// the table. Their clocks must show the same time, to the ms, and stand still but for advance, which
// moves both. It prints how many steps of each kind there were, and how many of them succeeded.
func Random(t testing.TB, a, b fleet.Coordinator, advance func(d time.Duration), steps int, seed uint64) {
	t.Helper()
	r := &random{
		TB: t, ctx: t.Context(), a: a, b: b, advance: advance, Rand: rand.New(rand.NewPCG(seed, 15)), seed: seed,
		shards: make(map[int]fleet.Shard), kinds: make(map[string]*[2]int), looks: [][2]int64{{0, 0}}, plan: plan, turns: make(map[int]string),
	}
	r.look(0)
	for r.n = range steps {
		r.step()
		if r.n%100 == 99 || r.n == steps-1 {
			r.table()
		}
	}
	var kinds []string
	for kind, n := range r.kinds {
		kinds = append(kinds, fmt.Sprintf("%s %d (%d)", kind, n[0], n[1]))
	}
	slices.Sort(kinds)
	t.Logf("seed %d, %d steps, of which so many succeeded: %s", seed, steps, strings.Join(kinds, ", "))
}

// random is two coordinators, and what is known of them.
type random struct {
	testing.TB
	*rand.Rand
	ctx     context.Context
	a, b    fleet.Coordinator
	advance func(d time.Duration)
	seed    uint64
	n       int

	plan    fleet.Plan
	members []fleet.Member // that live, as far as is known
	gone    []string       // incarnations that have left or are deposed, the last few
	named   int
	shards  map[int]fleet.Shard // as they were seen last
	looks   [][2]int64          // revisions of both tables at the same time, the last few
	old     []call2             // some steps of before, to be taken again
	saves   int64
	now     time.Time
	turns   map[int]string     // the last ones: who has had them
	kinds   map[string]*[2]int // steps, and those that succeeded
	log     []string           // the last steps
}

// call2 is a step that can be taken on either.
type call2 struct {
	kind string
	args []any
	do   func(c fleet.Coordinator, side int) (answer any, err error)
}

// both takes a step on both, and returns a's answer.
func (r *random) both(s call2) (any, error) {
	r.Helper()
	answer, err := s.do(r.a, 0)
	other, errOther := s.do(r.b, 1)
	got, want := show(other, errOther), show(answer, err)
	if len(r.log) == 40 {
		r.log = slices.Delete(r.log, 0, 1)
	}
	r.log = append(r.log, fmt.Sprintf("%s%+v: %s", s.kind, s.args, want))
	if got != want {
		r.Fatalf("seed %d, step %d, %s: the answers differ\nb: %s\n\nthe last steps, with a's answers:\n%s", r.seed, r.n, s.kind, got, strings.Join(r.log, "\n"))
	}
	k := r.kinds[s.kind]
	if k == nil {
		k = new([2]int)
		r.kinds[s.kind] = k
	}
	k[0]++
	if err == nil {
		k[1]++
	}
	return answer, err
}

// show is an answer, to be compared. Of a misfit the wording is free.
func show(answer any, err error) string {
	var misfit *fleet.MisfitError
	switch {
	case errors.As(err, &misfit):
		return "misfit: " + misfit.Setting
	case errors.Is(err, fleet.ErrChanged):
		return "changed"
	case errors.Is(err, fleet.ErrDeposed):
		return "deposed"
	case err != nil:
		return err.Error()
	}
	return fmt.Sprintf("%+v", answer)
}

// table compares all that is kept.
func (r *random) table() {
	r.Helper()
	r.look(0)
	all := make([]int, randomShards)
	for i := range all {
		all[i] = i
	}
	r.load(all)
}

// viewOf is what is compared of a view: revisions differ.
type viewOf struct {
	Now     int64
	Plan    fleet.Plan
	Members []fleet.Member
	Shards  []fleet.Shard
}

// seen notes what a view shows.
func (r *random) seen(answer any, err error, revisions [2]int64) {
	if err != nil {
		return
	}
	v := answer.(viewOf)
	r.now = time.UnixMilli(v.Now)
	if v.Plan.Shards != 0 {
		r.plan = v.Plan
	}
	r.members = slices.DeleteFunc(slices.Clone(v.Members), func(m fleet.Member) bool { return m.State == fleet.Deposed })
	for _, s := range v.Shards {
		r.shards[s.ID] = s
	}
	r.looks = keep(r.looks, revisions, 12)
}

// looking is a step that returns a view since a moment that both have had.
func (r *random) looking(kind string, args []any, i int, do func(c fleet.Coordinator, since int64) (fleet.View, error)) {
	r.Helper()
	since := r.looks[i]
	var revisions [2]int64
	answer, err := r.both(call2{kind, append(args, since), func(c fleet.Coordinator, side int) (any, error) {
		v, err := do(c, since[side])
		revisions[side] = v.Revision
		return viewOf{v.Now.UnixMilli(), v.Plan, v.Members, v.Shards}, err
	}})
	r.seen(answer, err, revisions)
}

func (r *random) look(i int) {
	r.Helper()
	r.looking("Look", nil, i, func(c fleet.Coordinator, since int64) (fleet.View, error) { return c.Look(r.ctx, since) })
}

func (r *random) load(shards []int) {
	r.Helper()
	_, _ = r.both(call2{"Load", []any{shards}, func(c fleet.Coordinator, _ int) (any, error) {
		records, err := c.Load(r.ctx, shards)
		records = slices.DeleteFunc(records, func(r fleet.Record) bool { return r.Data == nil }) // there is none
		slices.SortFunc(records, func(a, b fleet.Record) int { return cmp.Compare(a.Shard, b.Shard) })
		return records, err
	}})
}

// keep adds to the last few. The first one stays.
func keep[T any](list []T, v T, most int) []T {
	if len(list) >= most {
		list = slices.Delete(list, 1, 2)
	}
	return append(list, v)
}

func (r *random) one(percent int) bool { return r.IntN(100) < percent }

// anybody returns an incarnation: of a member as a rule.
func (r *random) anybody() string {
	switch n := r.IntN(100); {
	case n < 90 && len(r.members) > 0:
		return r.members[r.IntN(len(r.members))].Incarnation
	case n < 98 && len(r.gone) > 0:
		return r.gone[r.IntN(len(r.gone))]
	}
	return "nobody"
}

// owner returns an owner of a shard: the one that was seen last as a rule.
func (r *random) owner(shard int) fleet.Owner {
	o := r.shards[shard].Owner
	switch r.IntN(30) {
	case 0:
		o.Epoch--
	case 1:
		o.Epoch++
	case 2:
		o.Incarnation = r.anybody()
	case 3:
		return fleet.Owner{}
	}
	return o
}

// step takes one step.
func (r *random) step() {
	if r.one(30) {
		d := time.Duration(r.IntN(20)) * randomTick
		if r.one(3) {
			d = time.Duration(r.IntN(1000)) * randomTick
		}
		r.advance(d)
		r.now = r.now.Add(d)
	}
	if r.one(5) && len(r.old) > 0 { // late, or repeated
		_, _ = r.both(r.old[r.IntN(len(r.old))])
		return
	}
	if len(r.members) < 2 || len(r.members) < randomMembers && r.one(3) {
		r.join()
		return
	}
	if r.IntN(5000) == 0 { // the fleet ends
		for r.look(0); len(r.members) > 0; {
			r.end(0)
		}
		if r.one(50) {
			r.plan.Shards++
		}
		r.join()
		return
	}
	switch n := r.IntN(1000); {
	case n < 8:
		r.end(r.IntN(len(r.members)))
	case n < 30:
		r.look(r.IntN(len(r.looks)))
	case n < 130:
		r.beat()
	case n < 140:
		r.again()
	case n < 320:
		r.acquire()
	case n < 420:
		r.give()
	case n < 500:
		r.take()
	case n < 550:
		r.takeBack()
	case n < 600:
		r.confirm()
	case n < 750:
		r.save()
	case n < 780:
		r.load([]int{r.IntN(randomShards), randomShards})
	case n < 900:
		r.ask()
	case n < 970:
		r.sent()
	case n < 985:
		r.budget()
	default:
		r.misfit()
	}
}

// do takes a step, at times twice, and keeps it to be taken again at times.
func (r *random) do(kind string, args []any, f func(c fleet.Coordinator) (any, error)) (any, error) {
	r.Helper()
	s := call2{kind, args, func(c fleet.Coordinator, _ int) (any, error) { return f(c) }}
	if r.one(10) { // the answer is lost
		_, _ = r.both(s)
	}
	if r.one(20) {
		r.old = keep(r.old, s, 30)
	}
	return r.both(s)
}

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
	for _, s := range r.Perm(randomShards)[:1+r.IntN(8)] {
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
	s := r.IntN(randomShards)
	for range 10 {
		if (r.shards[s].Giver != "") == given {
			break
		}
		s = r.IntN(randomShards)
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
	for s := range randomShards {
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
	r.saves++ // those of all together, which rise for each, too
	for s := range randomShards {
		if o := r.owner(s); o.Incarnation == by && r.one(50) || r.one(2) {
			record := fleet.Record{Shard: s, Epoch: o.Epoch, Number: r.saves, Data: fmt.Appendf(nil, "%d", r.saves)}
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
	answer, err := r.do("Ask", []any{by, waiting}, func(c fleet.Coordinator) (any, error) {
		g, err := c.Ask(r.ctx, by, waiting)
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
			r.turns[turn.Shard] = by
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
	s := r.IntN(randomShards)
	for range 10 {
		if r.turns[s] != "" {
			break
		}
		s = r.IntN(randomShards)
	}
	by := r.turns[s]
	if by == "" || r.one(3) {
		by = r.anybody()
	}
	_, _ = r.do("Sent", []any{by, s}, func(c fleet.Coordinator) (any, error) { return nil, c.Sent(r.ctx, by, s) })
	delete(r.turns, s)
}

func (r *random) budget() {
	// Not at the time of another step: whether that was since then is nobody's to say.
	asked := r.now.Add(-time.Duration(r.IntN(2000))*randomTick + 5*time.Millisecond)
	b := fleet.Budget{Total: 1000, Remaining: r.IntN(40), Reserve: r.IntN(5), Reset: r.now.Add(time.Hour), Concurrency: 4}
	_, _ = r.do("Budget", []any{b, asked}, func(c fleet.Coordinator) (any, error) { return nil, c.Budget(r.ctx, b, asked) })
}
