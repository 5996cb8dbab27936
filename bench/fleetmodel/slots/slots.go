// Package slots is a model of the sink in a Cluster, where a batch becomes a part for each slot,
// and several batches are in flight: what the seal must cover, and when a checkpoint may move.
//
// Two members, one shard, one session, two slots; event n is for slot n%2. A runs the shard; B
// deposes it at any moment, seals, acquires, loads, and resumes after the checkpoint. What A has
// sent may arrive at any later moment, in any order (a connection that was replaced), or again
// (a lost answer), and A may stop for ever.
//
// The invariants:
//
//	I1  each slot's stream has each event once, in order
//	I2  nothing is written into a slot by A after B has read the position there
//	I3  no event at or before the checkpoint is missing, and none is left out that is not written
//	I5  a state in which B has delivered everything stays within reach
//
// It leaves out new sessions and what else may happen to ownership (package ownership): there a
// seal is one step for all slots, which this model replaces by one for each. That is sound as long as
// B loads and writes only after the last of them, which is what is modelled here.
package slots

import (
	"fmt"

	"sluice/bench/fleetmodel/search"
)

const (
	members = 2
	slots   = 2
	flight  = 2 // parts of a slot that are in flight
)

// Rules are those of docs/fleet.md that slots concern. Each is true when it is kept.
type Rules struct {
	SealEach   bool // each slot is sealed that the member has an offset in, not the first alone
	List       bool // a member lists a slot with the fleet before its first write there, which a deposed one can't
	SealBefore bool // all are sealed before anything is loaded
	Position   bool // each slot has a position of the shard, read before the first write there
	Tag        bool // and a tag, claimed in the same step, upwards alone
	Offset     bool // a part goes by the offset of its slot
	InOrder    bool // the checkpoint passes a batch only when all its parts are acknowledged
}

func all() Rules { return Rules{true, true, true, true, true, true, true} }

type options struct {
	Rules
	Events uint8
	Lost   uint8 // answers that are lost
}

// Phases of B. A runs from the start.
const (
	away    = iota
	sealing // A is deposed
	loading // B owns the shard
	running
)

// writer is a member's end of the sink, for one slot.
type writer struct {
	Offset   uint8 // acknowledged entries
	Position uint8 // the last event in the slot, as the writer believes
	Acked    uint8 // the last event that is done with
	// In flight: bit i is the i-th entry after Offset, which was sent and has not arrived.
	Sent uint8
}

type slot struct {
	Offset   [members]uint8
	Sealed   [members]bool
	Listed   [members]bool // with the fleet
	Position uint8
	Tag      uint8 // epoch: member+1; 0: nobody has claimed it
	Stream   uint8 // the last event of the stream
}

type state struct {
	Phase      uint8 // of B
	Deposed    bool
	Gone       bool           // A reads that it is deposed
	Claimed    [members]uint8 // slots in which a member has claimed the tag and read the position, as bits
	Read       [members]uint8 // the last event that is read
	From       [members]uint8 // the checkpoint that it began at
	Writers    [members][slots]writer
	Slots      [slots]slot
	Checkpoint uint8
	Owner      uint8
	Lost       uint8
}

func next(s uint8, n uint8) uint8 { // the first event after n in slot s
	for n++; n%slots != s; n++ {
	}
	return n
}

// model returns the state machine of some rules.
func (o options) model() search.Model[state] {
	start := state{Lost: o.Lost}
	return search.Model[state]{Start: start, Next: o.next, Good: func(s *state) bool {
		return s.Phase == running && s.Checkpoint == o.Events
	}}
}

func (o *options) next(s *state, step search.Step[state]) {
	out := func(t *state, bad, f string, args ...any) {
		step(func() string { return fmt.Sprintf(f, args...) }, bad, t)
	}
	o.takeover(s, out)
	for m := range uint8(members) {
		if m == 0 && s.Gone || m == 1 && s.Phase != running {
			continue
		}
		if s.Read[m] < o.Events {
			t := *s
			t.Read[m]++
			out(&t, "", "%c reads event %d", 'A'+m, t.Read[m])
		}
		for c := range uint8(slots) {
			o.send(s, m, c, out)
		}
		if n := o.done(s, m); n > s.Checkpoint && s.Owner == m {
			t := *s
			t.Checkpoint = n
			bad := ""
			for c := range s.Slots {
				if last := lastUntil(uint8(c), n); last > s.Slots[c].Stream {
					bad = fmt.Sprintf("I3: checkpoint %d, and event %d is not in slot %d", n, last, c)
				}
			}
			out(&t, bad, "%c saves %d", 'A'+m, n)
		}
	}
	for m := range uint8(members) {
		for c := range uint8(slots) {
			for i := range uint8(flight) {
				if s.Writers[m][c].Sent&(1<<i) != 0 {
					o.arrive(s, m, c, i, out)
				}
			}
		}
	}
}

// lastUntil returns the last event of slot c up to n, 0 if there is none.
func lastUntil(c, n uint8) uint8 {
	for ; n > 0 && n%slots != c; n-- {
	}
	return n
}

// done returns how far the checkpoint of a member may go.
func (o *options) done(s *state, m uint8) uint8 {
	n, most := s.From[m], s.From[m]
	for c := range uint8(slots) {
		most = max(most, s.Writers[m][c].Acked)
	}
	if !o.InOrder {
		return most
	}
	for n < s.Read[m] && s.Writers[m][(n+1)%slots].Acked >= n+1 {
		n++
	}
	return n
}

type emit func(t *state, bad, f string, args ...any)

// takeover is B's way to the shard.
func (o *options) takeover(s *state, out emit) {
	if s.Deposed && !s.Gone {
		t := *s
		t.Gone = true
		out(&t, "", "A beats: deposed; it drops everything")
	}
	if s.Phase == away {
		t := *s
		t.Deposed, t.Phase = true, sealing
		out(&t, "", "B deposes A")
		return
	}
	left := false
	for c := range s.Slots {
		z := &s.Slots[c]
		if z.Sealed[0] || o.List && !z.Listed[0] || !o.List && z.Offset[0] == 0 || !o.SealEach && c > 0 {
			continue
		}
		left = true
		if s.Phase == sealing || !o.SealBefore {
			t := *s
			t.Slots[c].Sealed[0] = true
			out(&t, "", "B seals A in slot %d", c)
		}
	}
	switch s.Phase {
	case sealing:
		if !left || !o.SealBefore {
			t := *s
			t.Phase, t.Owner = loading, 1
			out(&t, "", "B acquires the shard, epoch 2")
		}
	case loading:
		t := *s
		t.Phase = running
		t.Read[1], t.From[1] = s.Checkpoint, s.Checkpoint
		for c := range t.Writers[1] {
			t.Writers[1][c].Acked = lastUntil(uint8(c), s.Checkpoint)
		}
		out(&t, "", "B loads checkpoint %d, resumes after it", s.Checkpoint)
	}
}

// send has a writer send the next entry of a slot, with up to flight in flight.
func (o *options) send(s *state, m, c uint8, out emit) {
	w := &s.Writers[m][c]
	n := w.Acked
	if next(c, n) > s.Read[m] {
		return
	}
	if o.List && !s.Slots[c].Listed[m] {
		if !(m == 0 && s.Deposed) {
			t := *s
			t.Slots[c].Listed[m] = true
			out(&t, "", "%c lists slot %d", 'A'+m, c)
		}
		return
	}
	if s.Claimed[m]&(1<<c) == 0 {
		t := *s
		if z := &t.Slots[c]; z.Sealed[m] || o.Tag && z.Tag > m+1 {
			t.Gone = true // it is A: B is neither sealed nor followed by another owner
			out(&t, "", "%c claims slot %d: refused", 'A'+m, c)
			return
		} else if o.Tag {
			z.Tag = m + 1
		}
		t.Claimed[m] |= 1 << c
		t.Writers[m][c].Position = s.Slots[c].Position
		out(&t, "", "%c claims slot %d, reads position %d", 'A'+m, c, s.Slots[c].Position)
		return
	}
	for i := range uint8(flight) {
		n = next(c, n)
		if n > s.Read[m] {
			return
		}
		if o.Position && n <= w.Position {
			t := *s
			v := &t.Writers[m][c]
			v.Acked = n
			bad := ""
			if n > s.Slots[c].Stream {
				bad = fmt.Sprintf("I3: event %d is left out as a duplicate, and is not in slot %d", n, c)
			}
			if v.Sent == 0 {
				out(&t, bad, "%c leaves out event %d, which the position covers", 'A'+m, n)
			}
			return
		}
		if w.Sent&(1<<i) == 0 {
			t := *s
			t.Writers[m][c].Sent |= 1 << i
			out(&t, "", "%c sends event %d to slot %d", 'A'+m, n, c)
			return
		}
	}
}

// arrive is the script in a slot, with the i-th entry after what is acknowledged.
func (o *options) arrive(s *state, m, c, i uint8, out emit) {
	w := &s.Writers[m][c]
	n := w.Acked
	for range i + 1 {
		n = next(c, n)
	}
	before := w.Position
	if i > 0 {
		before = lastUntil(c, n-1)
	}
	who := 'A' + m
	t := *s
	v, z := &t.Writers[m][c], &t.Slots[c]
	v.Sent &^= 1 << i
	switch start := w.Offset + i; {
	case z.Sealed[m]:
		if m == 0 {
			t.Gone = true
		}
		out(&t, "", "event %d of %c in slot %d: refused, deposed", n, who, c)
		return
	case o.Offset && z.Offset[m] < start:
		out(&t, "", "event %d of %c in slot %d: gap", n, who, c)
		return
	case o.Offset && z.Offset[m] > start:
		if i == 0 {
			o.acked(v, n)
		}
		out(&t, "", "event %d of %c in slot %d: written before", n, who, c)
		return
	case o.Tag && z.Tag != m+1:
		if m == 0 {
			t.Gone = true
		}
		out(&t, "", "event %d of %c in slot %d: refused, the tag has another owner", n, who, c)
		return
	case o.Position && z.Position != before:
		v.Position = z.Position
		out(&t, "", "event %d of %c in slot %d: the position is %d", n, who, c, z.Position)
		return
	}
	bad := ""
	switch {
	case n <= z.Stream:
		bad = fmt.Sprintf("I1: event %d in slot %d twice or out of order", n, c)
	case next(c, z.Stream) != n && z.Stream != 0, z.Stream == 0 && n != next(c, 0):
		bad = fmt.Sprintf("I3: event %d is missing in slot %d", next(c, z.Stream), c)
	case m == 0 && s.Claimed[1]&(1<<c) != 0:
		bad = fmt.Sprintf("I2: A writes event %d into slot %d after B has read its position", n, c)
	}
	z.Offset[m]++
	z.Position, z.Stream = n, n
	if s.Lost > 0 {
		u := t
		u.Lost--
		out(&u, bad, "event %d of %c is written into slot %d, the answer is lost", n, who, c)
	}
	if i == 0 {
		o.acked(v, n)
	} // or the answer comes with that of the entry before it, which is sent again
	out(&t, bad, "event %d of %c is written into slot %d", n, who, c)
}

func (o *options) acked(v *writer, n uint8) {
	v.Acked, v.Position = n, n
	v.Offset++
	v.Sent >>= 1
}
