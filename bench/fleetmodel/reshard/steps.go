// This file has the steps that are nobody's own: Discord's, faults, late calls, failovers.

package reshard

import (
	"fmt"

	"sluice/bench/fleetmodel/search"
)

// steps makes the successors of a state.
type steps struct {
	*options
	s    *state
	step search.Step[state]
}

func (o options) explore() search.Result {
	m := search.Model[state]{Start: o.start(), Next: o.next}
	if !o.NoReach {
		m.Good = o.good
	}
	if !o.Earlier {
		m.Alike = alike
	}
	return search.Explore(m, o.Most)
}

func (o *options) next(s *state, step search.Step[state]) {
	g := steps{options: o, s: s, step: step}
	for guild := range o.guilds() {
		if s.Sent[guild] < o.Events[guild] {
			t := *s
			t.Sent[guild]++
			g.out(&t, "", "Discord has event %s", event(guild, t.Sent[guild]))
		}
	}
	for m := range s.Members {
		g.faults(m)
		if s.Members[m].Alive == 1 {
			g.process(m)
		}
	}
	if l := s.Late; l.Kind != noCall {
		t := *s
		t.Late = late{}
		done := g.do(&t, &l)
		g.out(&t, "", "a late call arrives, that %s %s: %v", name(l.Who-1), calls[l.Kind], done)
	}
	g.failover()
}

func name(i uint8) string { return fmt.Sprintf("%c%d", "AB"[i%maxMembers], i/maxMembers+1) }

// out emits a successor.
func (g *steps) out(t *state, bad string, f string, args ...any) {
	if bad != "" && bad[:2] == g.Except {
		bad = ""
	}
	u := *t
	g.step(func() string { return fmt.Sprintf(f, args...) }, bad, &u)
}

// call makes a call of the coordinator, of which the answer may be lost, or which may come late. then, if it is set, is
// what the member does with the answer.
func (g *steps) call(m int, l late, why string, then func(t *state, done bool)) {
	me := g.s.me(m)
	l.Who = me + 1
	t, _ := g.next(m)
	done := g.do(t, &l)
	if g.s.Left.Lost > 0 && then != nil {
		u := *t
		u.Left.Lost--
		g.out(&u, "", "%s %s%s, the answer is lost", name(me), calls[l.Kind], why)
	}
	if then != nil {
		then(t, done)
	}
	g.out(t, "", "%s %s%s: %v", name(me), calls[l.Kind], why, done)
	if g.s.Left.Late > 0 && g.s.Late.Kind == noCall {
		u, _ := g.next(m)
		u.Left.Late--
		u.Late = l
		g.out(u, "", "%s %s%s, no answer: it comes late", name(me), calls[l.Kind], why)
	}
}

// process has the steps of a member.
func (g *steps) process(m int) {
	s := g.s
	r, me := &s.Redis, s.me(m)
	n := name(me)
	switch r.State[me] {
	case 2:
		t, _ := g.next(m)
		g.clear(t, m)
		g.join(t, m)
		g.out(t, "", "%s beats: deposed; it drops everything and joins again", n)
	case 0:
		t, _ := g.next(m)
		t.Redis.State[me] = 1
		g.out(t, "", "%s beats: its record is missing, it writes that again", n)
	}
	if r.Stage == noReshard && r.Generation == 0 && s.Left.Propose > 0 {
		t, _ := g.next(m)
		t.Left.Propose--
		g.propose(t)
		g.out(t, "", "%s proposes, attempt %d", n, t.Redis.Attempt)
	}
	if r.Stage != noReshard && s.Left.CallOff > 0 {
		h := *g
		u := *s
		u.Left.CallOff--
		h.s = &u
		h.call(m, late{Kind: callOff, Attempt: r.Attempt}, "", nil)
	}
	g.table(m)
	if m != g.earlier() {
		g.part(m)
		g.engine(m)
	}
	g.events(m)
}

// join has a process be a member, of the next incarnation.
func (g *steps) join(t *state, m int) {
	x := &t.Members[m]
	if x.Life++; incarnation(m, x.Life) >= maxLives {
		x.Life--
		x.Alive = 2
		return
	}
	x.Alive = 1
	t.Redis.State[t.me(m)] = 1
}

// faults are a member's.
func (g *steps) faults(m int) {
	s := g.s
	x, r, me := &s.Members[m], &s.Redis, s.me(m)
	n := name(me)
	other := s.Members[1-m].Alive == 1
	if r.State[me] == 1 && other && (x.Alive != 1 || s.Left.Depose > 0) {
		t, _ := g.next(m)
		if x.Alive == 1 {
			t.Left.Depose--
		}
		t.Redis.State[me] = 2
		g.out(t, "", "%s is deposed", n)
	}
	if x.Alive == 1 && s.Left.Die > 0 && other {
		t, y := g.next(m)
		t.Left.Die--
		*y = member{Life: x.Life}
		g.out(t, "", "%s dies", n)
	}
	if x.Alive == 0 && s.Left.Join > 0 {
		t, y := g.next(m)
		t.Left.Join--
		g.join(t, m)
		if m != g.earlier() {
			y.Generation = r.Generation
		}
		g.out(t, "", "%s joins", name(t.me(m)))
	}
}

// failover has the replica fall behind at any moment, and take over at any later one: what Redis
// forgets is any number of its last writes.
func (g *steps) failover() {
	s := g.s
	if s.Left.Fail == 0 {
		return
	}
	t := *s
	if s.Lags == 0 {
		if s.Redis.Attempt > 0 {
			t.Lags, t.Replica = 1, s.Redis
			g.out(&t, "", "the replica falls behind")
		}
		return
	}
	if s.Replica != s.Redis {
		t.Left.Fail--
		t.Lags, t.Redis, t.Replica = 0, s.Replica, redis{}
		g.out(&t, "", "failover: Redis forgets what came since")
	}
}
