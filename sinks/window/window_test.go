// This file tests the window against a broker that replies in every way that it may.

package window

import (
	"math"
	"math/rand/v2"
	"testing"

	"sluice/sinks"
)

// model is a broker at the other end of a window.
type model struct {
	rng      *rand.Rand
	sent     []int64       // by number - 1, the event's number
	answered []bool        // by number - 1
	taken    map[int64]int // by the event's number, how often it was taken
}

// reply answers something that it has not answered.
func (m *model) reply(refusals bool) []Reply {
	var open []int
	for i, a := range m.answered {
		if !a {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return nil
	}
	at := open[m.rng.IntN(len(open))]
	r := Reply{Number: uint64(at + 1), Through: m.rng.IntN(2) == 0}
	if refusals && m.rng.IntN(8) == 0 {
		r.Refused = true
	}
	if r.Through && at == len(m.answered)-1 && m.rng.IntN(2) == 0 {
		r.Number = 0 // all
	}
	for _, i := range open {
		if i == at || r.Through && i < at {
			m.answered[i] = true
			if !r.Refused {
				m.taken[m.sent[i]]++
			}
		}
	}
	return []Reply{r}
}

// Whatever a broker confirms, rejects and drops: events are acknowledged once, in order, none
// before its confirmation.
func TestWindow(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := New(1 + rng.IntN(40))
		m := &model{rng: rng, taken: make(map[int64]int)}
		conn := 1
		w.Begin(conn)
		const total = 500
		all := make([]sinks.Event, total)
		for i := range all {
			all[i].Seq = int64(i)
		}
		added, acknowledged, dropped := 0, 0, 0
		acked := func(n int) {
			for range n {
				if m.taken[int64(acknowledged)] == 0 {
					t.Fatalf("seed %d: event %d is acknowledged, and the broker has not taken it", seed, acknowledged)
				}
				acknowledged++
			}
		}
		for steps := 0; acknowledged < total; steps++ {
			if steps > 100_000 {
				t.Fatalf("seed %d: %d of %d events in %d steps: %+v", seed, acknowledged, total, steps, w.Look(false))
			}
			refusals := steps < 5000
			switch rng.IntN(10) {
			case 0, 1:
				n := min(total-added, 1+rng.IntN(20))
				added += w.Add(all[added:added+n], acked)
			case 2, 3, 4:
				for _, ev := range w.Next(nil, 1+rng.IntN(10)) {
					w.Sending(1)
					m.sent, m.answered = append(m.sent, ev.Seq), append(m.answered, false)
				}
			case 5, 6, 7:
				if !w.Confirm(conn, m.reply(refusals)) {
					t.Fatalf("seed %d: a true reply is not believed", seed)
				}
			case 8:
				p := w.Look(false)
				if p.Refused != None {
					w.Rewind()
				}
				if p.Poisoned == None && rng.IntN(20) == 0 && p.Sent < p.Head {
					w.Poison(p.Sent)
				} else if p.Poisoned == p.Tail && p.Sent == p.Tail && p.Tail < p.Head {
					ev, _, _ := w.Oldest()
					m.taken[ev.Seq]++ // a dead letter
					w.Drop()
					dropped++
				}
			case 9:
				if refusals && rng.IntN(10) == 0 { // the connection is lost
					stale := m.reply(false)
					old := conn
					m.sent, m.answered = nil, nil
					conn++
					w.Begin(conn)
					if before := acknowledged; stale != nil && (!w.Confirm(old, stale) || acknowledged != before) {
						t.Fatalf("seed %d: a reply of a connection that is gone counts", seed)
					}
				}
			}
		}
		if p := w.Look(false); p.Tail != total || int(w.Stats().Acknowledged)+dropped != total {
			t.Errorf("seed %d: %+v, %+v, %d dropped", seed, p, w.Stats(), dropped)
		}
	}
}

// A confirmation that no broker can mean acknowledges nothing.
func TestWindowIncredible(t *testing.T) {
	for _, r := range []Reply{
		{Number: 3}, {Number: 3, Through: true}, {Number: 1 << 63}, {Refused: true, Number: 4},
		{Number: 0},                // numbers are counted from 1
		{Number: math.MaxUint64},   // whose place would be in the past
		{Refused: true, Number: 1}, // which was confirmed
		{Refused: true, Number: 0}, //
		{Refused: true, Through: true, Number: math.MaxUint64 - 1},
	} {
		w := New(10)
		w.Begin(nil)
		acked := 0
		w.Add(make([]sinks.Event, 3), func(n int) { acked += n })
		w.Sending(2)
		if !w.Confirm(nil, []Reply{{Number: 1}}) || acked != 1 {
			t.Fatalf("%d acknowledged", acked)
		}
		// What comes behind an answer that can't be true does not count either.
		if w.Confirm(nil, []Reply{r, {Number: 2}}) || acked != 1 {
			t.Errorf("%+v is believed; %d acknowledged", r, acked)
		}
	}
	// On a later connection the last number would be that of a place in the past.
	w := New(10)
	acked := 0
	w.Add(make([]sinks.Event, 9), func(n int) { acked += n })
	w.Begin(nil)
	w.Sending(6)
	if !w.Confirm(nil, []Reply{{Number: 6, Through: true}}) || acked != 6 {
		t.Fatalf("%d acknowledged", acked)
	}
	w.Begin(nil)
	w.Sending(3)
	if w.Confirm(nil, []Reply{{Number: math.MaxUint64}, {Number: 1}}) || acked != 6 {
		t.Errorf("the last number is believed; %d acknowledged", acked)
	}

	// Nothing is in flight that all could be about.
	w = New(10)
	w.Begin(nil)
	w.Add(make([]sinks.Event, 3), func(n int) { t.Error("acknowledged") })
	w.Confirm(nil, []Reply{{Through: true}, {Refused: true, Through: true}})
	if p := w.Look(false); p.Tail != 0 || p.Refused != None && p.Refused != 0 {
		t.Errorf("%+v", p)
	}
}
