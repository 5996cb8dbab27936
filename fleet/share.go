// This file decides, without a leader, which shards a member takes, and which it gives to whom.

package fleet

import (
	"slices"
	"time"
)

// Rules are by what the shards are shared. All members of a fleet should have the same; if they
// have not, shards move more often than they must, and nothing else happens.
type Rules struct {
	// Moves is how many handovers may be under way in the whole fleet at a time, to balance it; 0: 16.
	// It bounds connections that are opened at once. How many there are in all does not depend on it.
	Moves int
	// Drain is how many handovers of one draining member may be under way at a time; 0: 32. Its
	// process is waited for: 30 s in Kubernetes.
	Drain int
	// Settle is how long the set of members must have been the same before a shard moves from one
	// that is up to another; 0: 10 s. Whoever restarts, or is deployed anew, is back within it.
	Settle time.Duration
	// Gather is how often a member of a fleet that starts has to have beaten before it takes more than its
	// first shard; 0: 3. Members that start together see each other by then.
	Gather int
	// Return is how long the shards of a deposed member are left for one of its name; 0: not at all.
	Return time.Duration
	// Slack is the part of its share that a member may have more, or less, and nothing moves; 0: 0.1.
	// Less than one whole shard never moves anything.
	Slack float64
}

func (r Rules) withDefaults() Rules {
	if r.Moves == 0 {
		r.Moves = 16
	}
	if r.Drain == 0 {
		r.Drain = 32
	}
	if r.Settle == 0 {
		r.Settle = 10 * time.Second
	}
	if r.Gather == 0 {
		r.Gather = 3
	}
	if r.Slack == 0 {
		r.Slack = 0.1
	}
	return r
}

// Decision is what one member does now.
type Decision struct {
	Acquire []Want
	Give    []Handover // to begin, besides those of Table.Begun
	// Balancing says that this member gives shards until it has no more than its share. It is for the
	// Table of the next decision: without it a member would stop at the edge of the slack.
	Balancing bool
}

// Handover is a shard to give, and the incarnation to give it to.
type Handover struct {
	Shard int
	To    string
}

// Decide says what a member does, by the table that all members see. Each computes what all of them do and
// does its own part. Where two tables differ, two may want the same shard, which the coordinator
// gives to one, or a member gets a shard more than its share, which is less than what moves.
//
// A member's share is the part of its weight in the weights of all that are up. What is
// without an owner that is up goes, shard by shard, to whoever is furthest below its share then, among equals to
// the zone with the fewest shards, then to the lowest incarnation:
//
//   - Shards of nobody, and those of deposed members, are acquired at once, though the set of members
//     has just changed: nobody runs them. Rules.Return leaves those of a name to that name, as far as its share goes.
//   - A draining member gives all that it has, several at a time, and takes nothing. It gives while others
//     join and leave too: whoever has just joined is furthest below its share, so that a
//     deployment moves most shards from the old straight to the new.
//
// In a fleet that starts, all of whose members are young, each takes one shard at once and the rest after Rules.Gather.
// The first would take everything otherwise, and give most of it away again. One is
// enough to use the turn to identify, of which there is one in 5 s for most bots. A lone
// process that is restarted waits those seconds in vain; that is the price.
//
// Then shards move between members that are up: if nothing has changed for Rules.Settle, nothing is left
// for a name, and a member is a whole shard and Rules.Slack above its share, or below. Counting both
// lets the 51st member have its part of a fleet of 50, none of whom is far above. Once begun, it goes on
// until each has its share, rounded up for those who have more already, so that no other way there
// takes fewer moves. Moves of the same table keep that rounding: each brings one closer, and when none is above, nothing moves.
// The moves under way are divided among those that give, whoever has most above its share first.
// Each gives the shards of lowest epoch first, which have moved least.
func Decide(me string, t Table, r Rules) Decision {
	r = r.withDefaults()
	d := division{me: -1, table: &t, rules: r}
	d.enter(me)
	if d.me < 0 || t.Members[d.me].State == Deposed {
		return Decision{}
	}
	d.count()
	d.fill(d.orphans)
	d.fill(d.leaving)
	if t.Members[d.me].State == Up && !d.held && t.Now.Sub(t.Changed) >= r.Settle {
		d.balance()
	}
	return d.decision
}

// division is the work of one decision.
type division struct {
	table    *Table
	rules    Rules
	decision Decision
	me       int // index of Table.Members

	index    map[string]int   // of incarnations in Table.Members
	places   []place          // parallel to Table.Members
	zones    map[string]int64 // shards of members that are up
	weights  int64            // of those that are up, together
	starting bool             // nobody has beaten Rules.Gather times

	orphans []int // shards to acquire
	leaving []int // shards of draining members
	held    bool  // shards are left for a name
	begun   int   // of Table.Begun, those not yet given
}

// place is what a member has in a division.
type place struct {
	up, open bool // open: may get shards
	weight   int64
	has      int64 // shards, with those it is about to get
	quota    int64 // its share, rounded
	moves    int   // under way, which it gave
	begin    int   // may begin now
}

func (d *division) enter(me string) {
	t := d.table
	d.index = make(map[string]int, len(t.Members))
	d.places = make([]place, len(t.Members))
	d.zones = make(map[string]int64)
	d.starting = true
	for i, m := range t.Members {
		d.index[m.Incarnation] = i
		if m.Incarnation == me {
			d.me = i
		}
		if m.State != Deposed && m.Beat >= int64(d.rules.Gather) {
			d.starting = false
		}
		if m.State == Up {
			p := &d.places[i]
			p.up, p.weight = true, int64(max(m.Weight, 1))
			p.open = m.Incarnation == me || !t.Silent[m.Incarnation]
			d.weights += p.weight
		}
	}
}

// count counts the shards of those that are up, and collects the others.
func (d *division) count() {
	t := d.table
	var returning []int
	last, of := "", -1
	for i := range t.Shards {
		s := &t.Shards[i]
		if s.Giver != "" {
			if g, ok := d.index[s.Giver]; ok {
				d.places[g].moves++
			}
		}
		owner := s.Owner.Incarnation
		if owner == "" {
			d.orphans = append(d.orphans, i)
			continue
		}
		if owner != last { // shards of one owner often lie together
			var ok bool
			if of, ok = d.index[owner]; !ok {
				of = -1
			}
			last = owner
		}
		if of < 0 {
			continue // there is no record of the owner: it has to be deposed first
		}
		switch m := &t.Members[of]; {
		case m.State == Up:
			d.places[of].has++
		case m.State == Draining:
			d.leaving = append(d.leaving, i)
		case d.rules.Return > 0 && t.Now.Sub(t.Deposed[owner]) < d.rules.Return:
			returning = append(returning, i)
		default:
			d.orphans = append(d.orphans, i)
		}
	}
	for i := range d.places {
		if d.places[i].up {
			d.zones[t.Members[i].Zone] += d.places[i].has
		}
	}
	for _, b := range t.Begun {
		if t.Shards[b.Shard].Owner.Incarnation == t.Members[d.me].Incarnation {
			d.begun++
		}
	}
	d.giveBack(returning)
}

// giveBack gives the shards of deposed members to those of the same name, as far as their shares go.
func (d *division) giveBack(shards []int) {
	t := d.table
	for _, s := range shards {
		name := t.Members[d.index[t.Shards[s].Owner.Incarnation]].Name
		back, full := -1, false
		for i := range d.places {
			if !d.places[i].open || t.Members[i].Name != name {
				continue
			}
			if full = d.below(i) <= 0; !full {
				back = i
				break
			}
		}
		switch {
		case back >= 0:
			d.assign(s, back)
		case full:
			d.orphans = append(d.orphans, s)
		default:
			d.held = true
		}
	}
	if len(shards) > 0 {
		slices.Sort(d.orphans)
	}
}

// below is how far a member is below its share, times the sum of the weights.
func (d *division) below(i int) int64 {
	p := &d.places[i]
	return int64(len(d.table.Shards))*p.weight - p.has*d.weights
}

// lowest returns the member furthest below its share of those that fit, or -1.
func (d *division) lowest(fits func(*place) bool) int {
	best, most := -1, int64(0)
	for i := range d.places {
		if p := &d.places[i]; !p.open || !fits(p) {
			continue
		}
		switch b := d.below(i); {
		case best < 0 || b > most,
			b == most && d.zones[d.table.Members[i].Zone] < d.zones[d.table.Members[best].Zone]:
			best, most = i, b
		}
	}
	return best
}

// fill gives each of the shards, none of whose owners is up, to a member.
func (d *division) fill(shards []int) {
	fits := func(p *place) bool { return !d.starting || p.has == 0 }
	for _, s := range shards {
		to := d.lowest(fits)
		if to < 0 {
			return
		}
		d.assign(s, to)
	}
}

// assign notes that a shard which has no owner that is up goes to a member.
func (d *division) assign(shard, to int) {
	t := d.table
	d.places[to].has++
	d.zones[t.Members[to].Zone]++
	s, me := &t.Shards[shard], t.Members[d.me].Incarnation
	switch {
	case s.Owner.Incarnation == me:
		if len(d.decision.Give) < d.rules.Drain-d.places[d.me].moves-d.begun && d.movable(s) {
			d.give(shard, to)
		}
	case to == d.me && !d.isDraining(s.Owner.Incarnation):
		d.decision.Acquire = append(d.decision.Acquire, Want{Shard: shard, From: s.Owner})
	}
}

func (d *division) isDraining(incarnation string) bool {
	i, ok := d.index[incarnation]
	return ok && d.table.Members[i].State == Draining
}

func (d *division) give(shard, to int) {
	d.decision.Give = append(d.decision.Give, Handover{Shard: shard, To: d.table.Members[to].Incarnation})
}

// movable says that a shard of this member is not being given, by it or to it.
func (d *division) movable(s *Shard) bool {
	if s.Giver != "" {
		return false
	}
	is := func(h Handover) bool { return h.Shard == s.ID }
	return !slices.ContainsFunc(d.table.Begun, is) && !slices.ContainsFunc(d.decision.Give, is)
}

// balance moves shards between members that are up.
func (d *division) balance() {
	if !d.table.Balancing && !d.uneven() {
		return
	}
	d.round()
	me := &d.places[d.me]
	if me.has <= me.quota {
		return
	}
	d.decision.Balancing = true
	givers := d.divideMoves()
	fits := func(p *place) bool { return p.has < p.quota }
	for k, more := 0, true; more; k++ {
		more = false
		for _, g := range givers {
			if d.places[g].begin <= k {
				continue
			}
			to := d.lowest(fits)
			if to < 0 {
				return
			}
			more = true
			d.places[to].has++
			if g == d.me && k >= d.begun {
				if s := d.oldest(); s >= 0 {
					d.give(s, to)
				}
			}
		}
	}
}

// uneven says that a member is further from its share than the slack.
func (d *division) uneven() bool {
	for i := range d.places {
		p := &d.places[i]
		if !p.up {
			continue
		}
		share := int64(len(d.table.Shards)) * p.weight
		slack := max(d.weights, int64(d.rules.Slack*float64(share)))
		if b := d.below(i); b <= -slack || b >= slack && p.open {
			return true
		}
	}
	return false
}

// round sets the quotas: shares without their fractions, and what is left by that to those who have
// more than that already, for they need not give it, then to those with the largest fractions.
func (d *division) round() {
	type fraction struct {
		of   int
		more bool
		rest int64
	}
	all := int64(len(d.table.Shards))
	left := all
	fractions := make([]fraction, 0, len(d.places))
	for i := range d.places {
		p := &d.places[i]
		if !p.up {
			continue
		}
		p.quota = all * p.weight / d.weights
		left -= p.quota
		if rest := all * p.weight % d.weights; rest > 0 {
			fractions = append(fractions, fraction{i, p.has > p.quota, rest})
		}
	}
	slices.SortStableFunc(fractions, func(a, b fraction) int {
		if a.more != b.more {
			if a.more {
				return -1
			}
			return 1
		}
		return int(b.rest - a.rest)
	})
	for _, f := range fractions[:left] {
		d.places[f.of].quota++
	}
}

// divideMoves divides Rules.Moves among the members that have more than their quota, and returns them,
// those with most above it first.
func (d *division) divideMoves() []int {
	var givers []int
	free := d.rules.Moves
	for i := range d.places {
		if p := &d.places[i]; p.up && p.has > p.quota {
			givers = append(givers, i)
		} else {
			free -= p.moves
		}
	}
	above := func(i int) int64 { return d.places[i].has - d.places[i].quota }
	slices.SortStableFunc(givers, func(a, b int) int { return int(above(b) - above(a)) })
	for more := true; more && free > 0; {
		more = false
		for _, g := range givers {
			if p := &d.places[g]; free > 0 && int64(p.begin) < above(g)+int64(p.moves) {
				p.begin++
				free--
				more = true
			}
		}
	}
	for _, g := range givers {
		p := &d.places[g]
		p.begin = max(p.begin-p.moves, 0)
	}
	return givers
}

// oldest returns the shard of this member that has the lowest epoch of those that may move, or -1.
func (d *division) oldest() int {
	best := -1
	me := d.table.Members[d.me].Incarnation
	for i := range d.table.Shards {
		s := &d.table.Shards[i]
		if s.Owner.Incarnation == me && (best < 0 || s.Owner.Epoch < d.table.Shards[best].Owner.Epoch) && d.movable(s) {
			best = i
		}
	}
	return best
}
