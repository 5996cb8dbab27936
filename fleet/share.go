// This file decides, without a leader, which shards a member takes, and which it gives to whom.

package fleet

import (
	"cmp"
	"slices"
	"time"
)

// Rules are by what the shards are shared. All members of a fleet should have the same; if they
// have not, shards move more often than they must, and nothing else happens.
type Rules struct {
	// Moves is how many handovers may be pending in the whole fleet at a time, to balance it; 0: 16.
	// It bounds connections that are opened at once, and is exceeded by some where many give, since members
	// do not see what others have begun. How many there are in all does not depend on it. Where one takes 0.4 s, the
	// second of two members has 32 of 64 shards 0.8 s after Settle, the 51st its 196 of 10,000 after 5 s.
	Moves int
	// Drain is how many handovers of one draining member may be pending at a time, at the most; 0: 32. Its
	// process is waited for: 30 s in Kubernetes. Of fewer than 256 shards it is an eighth of those that are left, but 4 at
	// least: all that move at once wait for each other, and events of a shard stand still while it moves. Where one
	// takes 0.2 s, 13 shards have moved after 0.7 s, and 200 after 5 s.
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
// takes fewer moves. Moves keep that rounding: each brings one closer, and when none is above, nothing moves.
// The pending moves are divided among those that give, whoever has most above its share first.
//
// Who gives which shard to whom is in pairs.go. While the bot is resharded it is all otherwise: see gather.go.
func Decide(me string, t Table, r Rules) Decision {
	r = r.withDefaults()
	d := division{me: -1, table: &t, rules: r}
	d.enter(me)
	if d.me < 0 || t.Members[d.me].State == Deposed {
		return Decision{}
	}
	if t.Reshard.Stage == ReshardSwitching {
		return Decision{} // whatever moved would end the attempt
	}
	d.count()
	if t.Reshard.Stage == ReshardPending && t.Reshard.Shards > 0 && len(t.Shards) > 0 {
		d.gather()
		return d.decision
	}
	d.giveBack(d.returning)
	d.fill()
	switch {
	case t.Members[d.me].State == Draining:
		d.leave()
	case !d.held && t.Now.Sub(t.Changed) >= r.Settle:
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
	order    []int            // of the places, those that are up
	zones    map[string]int64 // shards of members that are up
	weights  int64            // of those that are up, together
	starting bool             // nobody has beaten Rules.Gather times

	orphans   []int // shards to acquire, by id
	returning []int // of members that were deposed a short time ago
	held      bool  // shards are left for a name
}

// place is what a member has in a division.
type place struct {
	up, open bool // open: may get shards
	weight   int64
	has      int64 // shards, if it is up, with those that it gets
	gets     int64 // of the orphans and of what leaves
	leaves   int64 // its shards, if it is draining
	quota    int64 // its share, rounded
	moves    int64 // pending, which it gave
	begun    int64 // of Table.Begun, to it
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
			d.order = append(d.order, i)
		}
	}
}

// count counts the shards of those that are up or drain, and collects the others.
func (d *division) count() {
	t := d.table
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
			d.places[of].leaves++
		case d.rules.Return > 0 && t.Now.Sub(t.Deposed[owner]) < d.rules.Return:
			d.returning = append(d.returning, i)
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
		if to, ok := d.index[b.To]; ok && d.mine(b.Shard) {
			d.places[to].begun++
		}
	}
}

// mine says that a shard is this member's.
func (d *division) mine(shard int) bool {
	return d.table.Shards[shard].Owner.Incarnation == d.table.Members[d.me].Incarnation
}

// giveBack gives the shards of deposed members to those of the same name, as far as their shares go.
func (d *division) giveBack(shards []int) {
	t := d.table
	for _, s := range shards {
		name := t.Members[d.index[t.Shards[s].Owner.Incarnation]].Name
		back, full := -1, false
		for _, i := range d.order {
			if d.places[i].open && t.Members[i].Name == name {
				if full = d.below(i) <= 0; !full {
					back = i
					break
				}
			}
		}
		switch {
		case back >= 0:
			d.places[back].has++
			d.zones[t.Members[back].Zone]++
			d.acquire(s, back)
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

func (d *division) acquire(shard, to int) {
	if to == d.me {
		d.decision.Acquire = append(d.decision.Acquire, Want{Shard: shard, From: d.table.Shards[shard].Owner})
	}
}

// below is how far a member is below its share, times the sum of the weights.
func (d *division) below(i int) int64 {
	p := &d.places[i]
	return int64(len(d.table.Shards))*p.weight - p.has*d.weights
}

// fill says how many of the shards that are without an owner that is up each member gets, and acquires
// the orphans that are this member's.
func (d *division) fill() {
	left := int64(len(d.orphans))
	for i := range d.places {
		left += d.places[i].leaves
	}
	if left == 0 {
		return
	}
	get := func(i int, n int64) {
		d.places[i].has += n
		d.places[i].gets += n
		d.zones[d.table.Members[i].Zone] += n
		left -= n
	}
	// Whole shards below a share come before fractions. This is a shortcut.
	var whole int64
	for _, i := range d.order {
		if d.places[i].open {
			whole += max(0, d.below(i)/d.weights)
		}
	}
	if whole <= left && !d.starting {
		for _, i := range d.order {
			if d.places[i].open {
				get(i, max(0, d.below(i)/d.weights))
			}
		}
	}
	for left > 0 {
		to := d.lowest()
		if to < 0 {
			break
		}
		get(to, 1)
	}
	d.deal(0, int64(len(d.orphans)), func(p *place) int64 { return p.gets }, func(to int, first, n int64) {
		for k := first; k < first+n; k++ {
			d.acquire(d.orphans[k], to)
		}
	})
}

// lowest returns the member furthest below its share of those that may get a shard, or -1.
func (d *division) lowest() int {
	best, most := -1, int64(0)
	for i := range d.places {
		if p := &d.places[i]; !p.open || d.starting && p.has > 0 {
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

const (
	// leastDrain handovers of a draining member are pending at a time, if it has so many shards, and one of
	// drainPart of its shards.
	leastDrain, drainPart = 4, 8
)

// leave gives away what this member, which is draining, has.
func (d *division) leave() {
	first := int64(len(d.orphans))
	for i := range d.me {
		first += d.places[i].leaves
	}
	me := &d.places[d.me]
	d.give(me.drains(d.rules)-me.moves, first, me.leaves, func(p *place) int64 { return p.gets })
}

// drains is how many handovers of a draining member may be pending at a time.
func (p *place) drains(r Rules) int64 {
	return min(int64(r.Drain), max(leastDrain, (p.leaves+drainPart-1)/drainPart))
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
	var first int64
	for _, p := range d.places[:d.me] {
		first += p.above()
	}
	d.give(d.moves(), first, me.above(), func(p *place) int64 {
		if !p.up {
			return 0
		}
		return max(0, p.quota-p.has)
	})
}

// above is how many shards a member has above its quota.
func (p *place) above() int64 {
	if !p.up {
		return 0
	}
	return max(0, p.has-p.quota)
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
		return cmp.Compare(b.rest, a.rest)
	})
	for _, f := range fractions[:left] {
		d.places[f.of].quota++
	}
}

// moves divides Rules.Moves among the members that have more than their quota, those with most above it
// first, and returns how many more of this member may be pending, those begun included.
func (d *division) moves() int64 {
	var givers []int
	free := int64(d.rules.Moves)
	for i := range d.places {
		if p := &d.places[i]; p.above() > 0 {
			givers = append(givers, i)
		} else {
			free -= p.moves
		}
	}
	slices.SortStableFunc(givers, func(a, b int) int {
		return cmp.Compare(d.places[b].above(), d.places[a].above())
	})
	var mine int64
	for n, more := int64(0), true; more && free > 0; n++ {
		more = false
		for _, g := range givers {
			if p := &d.places[g]; free > 0 && n < p.above()+p.moves {
				free--
				more = true
				if g == d.me {
					mine++
				}
			}
		}
	}
	return mine - d.places[d.me].moves
}
