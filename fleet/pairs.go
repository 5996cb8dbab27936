// This file says who gives which shard to whom.

package fleet

import (
	"slices"
	"time"
)

// Those that give stand in a row, and those that get in another, each as wide as the shards that it has to
// give or gets; who stand opposite make a pair. Two rows of the same length that lose one shard each, of a pair, leave all
// other pairs as they are. So it does not matter in which order handovers end, nor
// that a member does not see those which others have begun: nobody gets more than it was to get.
//
// Both stand in order of incarnation. Of its shards a member gives those first, to balance, that came last: they
// were given to it only while somebody restarted, and go on to who has. So a shard moves twice when
// all members are restarted one by one, and not once for each of them.

// deal calls opposite for each member that stands opposite of part of n places which begin with first, with the
// first of these, from 0, and their number.
func (d *division) deal(first, n int64, width func(*place) int64, opposite func(to int, first, n int64)) {
	var at int64
	for _, i := range d.order {
		w := width(&d.places[i])
		if from, to := max(at, first), min(at+w, first+n); from < to {
			opposite(i, from-first, to-from)
		}
		at += w
	}
}

// give begins handovers of this member, which has n shards to give and stands at first, until as many
// as allowed are begun.
func (d *division) give(allowed, first, n int64, width func(*place) int64) {
	wide := n
	for i := range d.places {
		allowed -= d.places[i].begun
		n -= d.places[i].begun
	}
	if allowed <= 0 || n <= 0 {
		return
	}
	shards := d.movable()
	shards = shards[max(0, int64(len(shards))-n):]
	type pair struct {
		to     int
		shards []int // that go to it
	}
	var pairs []pair
	d.deal(first, wide, width, func(to int, _, n int64) {
		n -= d.places[to].begun
		n = max(0, min(n, int64(len(shards))))
		if d.places[to].open {
			pairs = append(pairs, pair{to, shards[:n]})
		}
		shards = shards[n:]
	})
	for ; allowed > 0; allowed-- {
		var most *pair
		for i := range pairs {
			if p := &pairs[i]; len(p.shards) > 0 && (most == nil || len(p.shards) > len(most.shards)) {
				most = p
			}
		}
		if most == nil {
			return
		}
		last := len(most.shards) - 1
		d.decision.Give = append(d.decision.Give, Handover{most.shards[last], d.table.Members[most.to].Incarnation})
		most.shards = most.shards[:last]
	}
}

// movable returns the shards of this member that are not being given, by it or to it, those first that it
// has had longest.
func (d *division) movable() []int {
	t := d.table
	var shards []int
	for i := range t.Shards {
		is := func(h Handover) bool { return h.Shard == i }
		if t.Shards[i].Giver == "" && d.mine(i) && !slices.ContainsFunc(t.Begun, is) {
			shards = append(shards, i)
		}
	}
	since := func(i int) (at time.Time) {
		if i < len(t.Since) {
			at = t.Since[i]
		}
		return at
	}
	slices.SortStableFunc(shards, func(a, b int) int { return since(a).Compare(since(b)) })
	return shards
}
