// This file has the symmetry of the members: a state stands for all those that differ by names.

package ownership

import "hash/maphash"

var permutations = [...][maxMembers]uint8{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

var order = maphash.MakeSeed()

// alike returns, of the states that are s with other names, the one with the lowest hash.
func (o *options) alike(s *state) state {
	least, at := *s, maphash.Comparable(order, *s)
	for _, p := range permutations[1:] {
		t := renamed(s, p)
		if h := maphash.Comparable(order, t); h < at {
			least, at = t, h
		}
	}
	return least
}

// renamed returns s with the members in another order: member m is p[m].
func renamed(s *state, p [maxMembers]uint8) state {
	lives := func(i uint8) uint8 { return p[i%maxMembers] + i - i%maxMembers }
	who := func(i *uint8) { // incarnation+1
		if *i != 0 {
			*i = lives(*i-1) + 1
		}
	}
	t := *s
	for m := range uint8(maxMembers) {
		t.Members[p[m]], t.Work[p[m]] = s.Members[m], s.Work[m]
	}
	for m := range t.Work {
		for h := range t.Work[m] {
			x := &t.Work[m][h]
			who(&x.Target)
			who(&x.Save.Who)
			who(&x.Give.To)
			who(&x.Give.Who)
		}
	}
	for _, r := range [][2]*redis{{&t.Redis, &s.Redis}, {&t.Replica, &s.Replica}} {
		for i := range uint8(maxLives) {
			r[0].State[lives(i)] = r[1].State[i]
		}
		for h := range r[0].Shards {
			who(&r[0].Shards[h].Owner)
			who(&r[0].Shards[h].Giver)
			who(&r[0].Shards[h].By)
			who(&r[0].Streams[h].TagOwner)
		}
	}
	return t
}
