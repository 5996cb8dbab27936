package fleet

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// A world is a fleet in which nothing is real but the decisions: its table, and its members, who look at it
// once a round, some of them late.
type world struct {
	t        *testing.T
	rand     *rand.Rand
	rules    Rules
	round    time.Duration
	late     float64       // probability that a member misses a round
	drain    time.Duration // from the beginning of a handover to the step Give
	now      time.Time
	plan     Plan
	reshard  Reshard
	revision int64
	shards   []Shard
	changed  []int64 // revision of each shard
	members  []*process
	up       []string  // incarnations of those that are up
	upSince  time.Time // and since when these
	log      []move
}

type process struct {
	Member
	table  Table
	watch  Observer
	begun  []begunHandover
	beaten time.Time
	dead   time.Time // since when it does nothing
}

type begunHandover struct {
	Handover
	at time.Time
}

type move struct {
	shard    int
	from, to string
	state    State // of from
	at       time.Time
}

func newWorld(t *testing.T, seed int64, shards int) *world {
	w := &world{t: t, rand: rand.New(rand.NewSource(seed)), round: time.Second, now: time.Unix(1e9, 0), plan: Plan{Generation: 1, Shards: shards}}
	w.shards, w.changed = make([]Shard, shards), make([]int64, shards)
	for i := range w.shards {
		w.shards[i].ID = i
	}
	w.rules = Rules{}.withDefaults()
	return w
}

func (w *world) join(name, zone string, weight int) *process {
	p := &process{Member: Member{Incarnation: fmt.Sprintf("%s%08x", name, w.rand.Uint32()), Name: name, Zone: zone, Weight: weight}}
	w.members = append(w.members, p)
	return p
}

func (w *world) kill(p *process) { p.dead, p.begun = w.now, nil }

func (w *world) sigterm(p *process) { p.State = Draining }

// noteUp notes when the set of members that are up changes.
func (w *world) noteUp() {
	var up []string
	for _, p := range w.members {
		if p.State == Up {
			up = append(up, p.Incarnation)
		}
	}
	slices.Sort(up)
	if !slices.Equal(up, w.up) {
		w.up, w.upSince = up, w.now
	}
}

func (w *world) find(incarnation string) *process {
	for _, p := range w.members {
		if p.Incarnation == incarnation {
			return p
		}
	}
	return nil
}

func (w *world) set(s int, owner Owner, giver string) {
	w.revision++
	w.shards[s].Owner, w.shards[s].Giver, w.changed[s] = owner, giver, w.revision
}

func (w *world) view(since int64) View {
	v := View{Revision: w.revision, Now: w.now, Plan: w.plan, Reshard: w.reshard}
	for _, p := range w.members {
		v.Members = append(v.Members, p.Member)
	}
	slices.SortFunc(v.Members, func(a, b Member) int {
		if a.Incarnation < b.Incarnation {
			return -1
		}
		return 1
	})
	for i := range w.shards {
		if since == w.revision {
			break
		}
		if w.changed[i] > since || since == 0 {
			v.Shards = append(v.Shards, w.shards[i])
		}
	}
	return v
}

// step is one round: each that lives does what it decides, in any order.
func (w *world) step() {
	w.now = w.now.Add(w.round)
	w.noteUp()
	order := w.rand.Perm(len(w.members))
	members := slices.Clone(w.members)
	views := map[int64]View{}
	for _, i := range order {
		p := members[i]
		if !p.dead.IsZero() || p.State == Deposed {
			continue
		}
		p.progress(w)
		if w.rand.Float64() < w.late {
			continue // its answer comes late; it decides by what it knew
		}
		if w.now.Sub(p.beaten) >= time.Second {
			p.Beat++
			p.beaten = w.now
		}
		since := p.table.Revision
		v, ok := views[since]
		if !ok || w.late == 0 {
			v = w.view(since)
			views[since] = v
		}
		p.table.Update(v, since, w.now)
		for _, d := range p.watch.Observe(p.Incarnation, p.table.Members, p.table.Shards, v.Now, w.now) {
			q := w.find(d.Incarnation)
			if q == nil {
				w.members = append(w.members, &process{Member: Member{Incarnation: d.Incarnation, State: Deposed}, dead: w.now})
			}
			if q != nil && q.Beat == d.Beat && q.State != Deposed {
				q.State = Deposed
				w.noteUp()
			}
		}
		p.table.Silent = p.watch.Silent(w.now)
		p.decide(w)
	}
	w.members = slices.DeleteFunc(w.members, func(p *process) bool {
		gone := p.State == Deposed || p.State == Draining
		return gone && len(p.begun) == 0 && w.owned(p.Incarnation) == 0 && !w.gives(p.Incarnation)
	})
}

// progress takes what was given, and gives what is drained.
func (p *process) progress(w *world) {
	for i := range w.shards {
		if s := &w.shards[i]; s.Giver != "" && s.Owner.Incarnation == p.Incarnation {
			w.set(i, s.Owner, "")
		}
	}
	p.begun = slices.DeleteFunc(p.begun, func(b begunHandover) bool {
		if w.now.Sub(b.at) < w.drain {
			return false
		}
		s, to := &w.shards[b.Shard], w.find(b.To)
		if s.Owner.Incarnation != p.Incarnation || s.Giver != "" || to == nil || to.State != Up || !to.dead.IsZero() {
			return true
		}
		w.log = append(w.log, move{b.Shard, p.Incarnation, b.To, p.State, w.now})
		w.set(b.Shard, Owner{b.To, s.Owner.Epoch + 1}, p.Incarnation)
		return true
	})
}

func (p *process) decide(w *world) {
	p.table.Begun = nil
	for _, b := range p.begun {
		p.table.Begun = append(p.table.Begun, b.Handover)
	}
	d := Decide(p.Incarnation, p.table, w.rules)
	p.table.Balancing = d.Balancing
	if p.State == Draining && len(d.Acquire) > 0 {
		w.t.Fatalf("%s drains, and acquires %v", p.Incarnation, d.Acquire)
	}
	for _, want := range d.Acquire {
		s := &w.shards[want.Shard]
		if q := w.find(s.Owner.Incarnation); s.Owner != want.From || q != nil && q.State != Deposed {
			continue
		}
		w.set(want.Shard, Owner{p.Incarnation, max(s.Owner.Epoch+1, w.now.UnixMilli())}, "")
	}
	for _, g := range d.Give {
		if s := p.table.Shards[g.Shard]; s.Owner.Incarnation != p.Incarnation || s.Giver != "" || g.To == p.Incarnation ||
			slices.ContainsFunc(p.begun, func(b begunHandover) bool { return b.Shard == g.Shard }) {
			w.t.Fatalf("%s gives %v, of which it may not: %v", p.Incarnation, g, s)
		}
		// One who misses rounds may miss a change that is undone.
		if since := w.now.Sub(w.upSince); w.late == 0 && p.State == Up && w.reshard.Stage == ReshardNone && since > 0 && since < w.rules.Settle {
			w.t.Fatalf("%s gives %v, %v after the members have changed", p.Incarnation, g, since)
		}
		p.begun = append(p.begun, begunHandover{g, w.now})
	}
}

func (w *world) owned(incarnation string) (n int) {
	for i := range w.shards {
		if w.shards[i].Owner.Incarnation == incarnation {
			n++
		}
	}
	return n
}

func (w *world) gives(incarnation string) bool {
	return slices.ContainsFunc(w.shards, func(s Shard) bool { return s.Giver == incarnation })
}

// quiet says that nothing is pending, and everything owned by one that is up and lives.
func (w *world) quiet() bool {
	for i := range w.shards {
		if p := w.find(w.shards[i].Owner.Incarnation); p == nil || p.State != Up || !p.dead.IsZero() || w.shards[i].Giver != "" {
			return false
		}
	}
	for _, p := range w.members {
		if len(p.begun) > 0 {
			return false
		}
	}
	return true
}

// run goes on until nothing has happened for some time, and returns when the last thing did.
func (w *world) run() time.Duration {
	start, last, logged, revision := w.now, w.now, len(w.log), w.revision
	for w.now.Sub(last) < w.rules.Settle+w.rules.Return+15*time.Second {
		w.step()
		if !w.quiet() || len(w.log) != logged || w.revision != revision {
			last, logged, revision = w.now, len(w.log), w.revision
		}
		if w.now.Sub(start) > 3*time.Hour {
			w.t.Fatalf("no end: %d moves, %s", len(w.log), w.shares())
		}
	}
	return last.Sub(start)
}

func (w *world) shares() (s string) {
	for _, p := range w.members {
		s += fmt.Sprintf("%s/%d %d, ", p.Name, p.Weight, w.owned(p.Incarnation))
	}
	return s
}

// balanced fails unless each member has its share, but for less than a shard, or slack.
func (w *world) balanced(slack bool) {
	w.t.Helper()
	var weights float64
	for _, p := range w.members {
		if p.State == Up {
			weights += float64(p.Weight)
		}
	}
	for _, p := range w.members {
		if p.State != Up {
			continue
		}
		share, off := float64(len(w.shards))*float64(p.Weight)/weights, 1.0
		if slack {
			off = max(1, share*w.rules.Slack)
		}
		if has := float64(w.owned(p.Incarnation)); has <= share-off || has >= share+off {
			w.t.Fatalf("%s of weight %d has %v of a share of %.2f: %s", p.Name, p.Weight, has, share, w.shares())
		}
	}
}

// most returns how often the shard that moved most often did.
func (w *world) most() (n int) {
	times := map[int]int{}
	for _, m := range w.log {
		times[m.shard]++
		n = max(n, times[m.shard])
	}
	return n
}

// least returns how many moves it takes at least until each that is up has its share: each shard of
// one that drains moves once, and each that another has beyond its share, rounded as suits best.
func (w *world) least() int {
	var weights, left, more, moves int
	for _, p := range w.members {
		if p.State == Up && p.dead.IsZero() {
			weights += p.Weight
		}
	}
	left = len(w.shards)
	for _, p := range w.members {
		has := w.owned(p.Incarnation)
		switch {
		case p.State == Draining:
			moves += has
		case p.State == Up && p.dead.IsZero():
			floor := len(w.shards) * p.Weight / weights
			left -= floor
			moves += max(0, has-floor)
			if has > floor && len(w.shards)*p.Weight%weights != 0 {
				more++
			}
		}
	}
	return moves - min(left, more)
}
