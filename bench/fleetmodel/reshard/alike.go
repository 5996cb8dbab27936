// This file has the symmetry of the members: a state stands for that which differs by their names.

package reshard

import "hash/maphash"

var order = maphash.MakeSeed()

// alike returns, of a state and that with the names exchanged, the one with the lower hash.
func alike(s *state) state {
	t := exchanged(s)
	if maphash.Comparable(order, t) < maphash.Comparable(order, *s) {
		return t
	}
	return *s
}

// exchanged returns s with the names of the members exchanged.
func exchanged(s *state) state {
	who := func(i *uint8) { // incarnation+1, or process+1
		if *i != 0 {
			*i = (*i - 1) ^ 1 + 1
		}
	}
	t := *s
	t.Members[0], t.Members[1] = s.Members[1], s.Members[0]
	for _, r := range []*redis{&t.Redis, &t.Replica} {
		for i := 0; i < maxLives; i += 2 {
			r.State[i], r.State[i+1] = r.State[i+1], r.State[i]
			r.Voices[i], r.Voices[i+1] = r.Voices[i+1], r.Voices[i]
		}
		for id := range r.Rows {
			who(&r.Rows[id].Owner)
			who(&r.Rows[id].Giver)
			who(&r.Next[id].By)
		}
	}
	for id := range t.Sinks {
		who(&t.Sinks[id].TagOwner)
	}
	for i := range t.Holders {
		who(&t.Holders[i].Who)
	}
	who(&t.Late.Who)
	for id := range t.Late.Next {
		who(&t.Late.Next[id].By)
	}
	return t
}
