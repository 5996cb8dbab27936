// This file decides who has which shards while the bot is resharded.

package fleet

import "slices"

// While a Reshard is pending, its classes are what is shared: the shards of a class are to be at one member, who begins
// those of the next count beside them. Nothing moves to balance the fleet then, since what is begun would have to be begun
// again. What moves, goes by class:
//
//   - A class is at home with who has most of it, of those that are up; among equals with the next one after another,
//     by class, so that each has its part. The others give theirs to the home.
//   - What is without an owner goes to the home of its class, and so does what a draining member has.
//   - A class without a home goes, as a whole, to whoever is furthest below its share.
//
// A home stays one: what moves makes its part larger. While a Reshard is switching nothing moves at all.

// gather is Decide while a Reshard is pending.
func (d *division) gather() {
	t := d.table
	n := classes(t.Plan.Shards, t.Reshard.Shards)
	homes := d.house(n)
	for _, s := range d.returning {
		if homes[s%n] >= 0 {
			d.orphans = append(d.orphans, s)
		}
	}
	for _, s := range d.orphans {
		if home := homes[s%n]; home >= 0 {
			d.acquire(s, home)
		}
	}
	left := d.gives()
	gives := d.movable()
	slices.SortStableFunc(gives, func(a, b int) int { return a%n - b%n })
	for _, s := range gives {
		if home := homes[s%n]; left > 0 && home >= 0 && home != d.me && d.places[home].open {
			left--
			d.decision.Give = append(d.decision.Give, Handover{s, t.Members[home].Incarnation})
		}
	}
}

// house is homes, with a home for each class that is without one, and may have one. It counts what each place will have.
func (d *division) house(n int) []int {
	t := d.table
	homes := d.homes(n)
	for i := range d.places {
		d.places[i].has = 0
	}
	clear(d.zones)
	goes := func(c, to int) {
		homes[c] = to
		d.places[to].has += int64(len(t.Shards) / n)
		d.zones[t.Members[to].Zone] += int64(len(t.Shards) / n)
	}
	for c, home := range homes {
		if home >= 0 {
			goes(c, home)
		}
	}
	without := make([]bool, n) // a home, and may have one
	for _, s := range d.orphans {
		without[s%n] = homes[s%n] < 0
	}
	for i := range t.Shards {
		if of, ok := d.index[t.Shards[i].Owner.Incarnation]; ok && t.Members[of].State == Draining {
			without[i%n] = homes[i%n] < 0
		}
	}
	for c := range homes {
		if without[c] {
			if to := d.lowest(); to >= 0 {
				goes(c, to)
			}
		}
	}
	return homes
}

// homes returns who is at home with each of n classes, as an index of Table.Members, or -1.
func (d *division) homes(n int) []int {
	t := d.table
	also := make(map[int]int) // whose some shards will be if their class has no other home
	for _, s := range d.returning {
		if back := d.named(s); back >= 0 {
			also[s] = back
		}
	}
	for _, b := range t.Begun {
		if to, ok := d.index[b.To]; ok && d.places[to].up {
			also[b.Shard] = to
		}
	}
	homes := make([]int, n)
	has := make([]int, len(t.Members))
	var some []int // who has any
	for c := range homes {
		count := func(i int) {
			if has[i]++; has[i] == 1 {
				some = append(some, i)
			}
		}
		for s := c; s < len(t.Shards); s += n {
			if of, ok := d.index[t.Shards[s].Owner.Incarnation]; ok && d.places[of].up {
				count(of)
			}
		}
		for s := c; s < len(t.Shards) && len(some) == 0 && len(also) > 0; s += n {
			if to, ok := also[s]; ok {
				count(to)
			}
		}
		slices.Sort(some) // by incarnation
		homes[c] = -1
		if len(some) > 0 {
			most := has[slices.MaxFunc(some, func(a, b int) int { return has[a] - has[b] })]
			best := slices.DeleteFunc(slices.Clone(some), func(i int) bool { return has[i] < most })
			homes[c] = best[c%len(best)]
		}
		for _, i := range some {
			has[i] = 0
		}
		some = some[:0]
	}
	return homes
}

// named returns the member that is up and has the name of a shard's former owner, or -1.
func (d *division) named(shard int) int {
	t := d.table
	name := t.Members[d.index[t.Shards[shard].Owner.Incarnation]].Name
	for _, i := range d.order {
		if d.places[i].open && t.Members[i].Name == name {
			return i
		}
	}
	return -1
}

// gives returns how many handovers this member may begin now.
func (d *division) gives() int64 {
	me := &d.places[d.me]
	atOnce := int64(max(d.rules.Moves/max(len(d.order), 1), 1))
	if d.table.Members[d.me].State == Draining {
		atOnce = me.drains(d.rules)
	}
	return atOnce - me.moves - int64(len(d.table.Begun))
}
