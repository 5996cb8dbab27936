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
		shards: make(map[int]fleet.Shard), kinds: make(map[string]*[2]int), looks: [][2]int64{{0, 0}}, plan: plan, turns: make(map[int]turnOf), saves: make(map[string]int64),
	}
	r.plan.Shards = randomShards
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
	saves   map[string]int64    // by incarnation
	reshard fleet.Reshard       // as it was seen last
	now     time.Time
	turns   map[int]turnOf     // the last ones
	kinds   map[string]*[2]int // steps, and those that succeeded
	log     []string           // the last steps
}

// turnOf is a turn to identify that was given.
type turnOf struct {
	by     string
	number int64
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
	var starts *fleet.StartsError
	switch {
	case errors.As(err, &misfit):
		return "misfit: " + misfit.Setting
	case errors.As(err, &starts):
		return fmt.Sprintf("starts: %d %d %v", starts.Needed, starts.Left, starts.Reset.UnixMilli())
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
	all := make([]int, 2*randomShards)
	for i := range all {
		all[i] = i
	}
	r.load(all)
}

// viewOf is what is compared of a view: revisions differ.
type viewOf struct {
	Now     int64
	Plan    fleet.Plan
	Reshard fleet.Reshard
	Members []fleet.Member
	Shards  []fleet.Shard
}

// plainly returns a Reshard whose voices say whether they are of this revision, as 1, or of another.
func plainly(v fleet.View) fleet.Reshard {
	r := v.Reshard
	r.Voices = slices.Clone(r.Voices)
	for i := range r.Voices {
		switch voice := &r.Voices[i]; voice.Revision {
		case 0:
		case v.Revision:
			voice.Revision = 1
		default:
			voice.Revision = 2
		}
	}
	r.Since = time.UnixMilli(r.Since.UnixMilli()).UTC()
	return r
}

// seen notes what a view shows.
func (r *random) seen(answer any, err error, revisions [2]int64) {
	if err != nil {
		return
	}
	v := answer.(viewOf)
	r.now, r.reshard = time.UnixMilli(v.Now), v.Reshard
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
		return viewOf{v.Now.UnixMilli(), v.Plan, plainly(v), v.Members, v.Shards}, err
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
		r.load([]int{r.IntN(r.plan.Shards), r.plan.Shards})
	case n < 900:
		r.ask()
	case n < 970:
		r.sent()
	case n < 985:
		r.budget()
	case n < 995:
		r.reshards()
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
