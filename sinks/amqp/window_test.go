// This file tests the window against a broker that replies in every way that the
// protocol allows.

package amqp

import (
	"math"
	"math/rand/v2"
	"sluice/sinks"
	"testing"
)

// model is a broker at the other end of a window, on one channel.
type model struct {
	rng      *rand.Rand
	sent     []int64       // by tag - 1, the event's number
	answered []bool        // by tag - 1
	taken    map[int64]int // by the event's number, how often it was taken
}

// reply answers something that it has not answered.
func (m *model) reply(nacks bool) []reply {
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
	r := reply{tag: uint64(at + 1), multiple: m.rng.IntN(2) == 0}
	if nacks && m.rng.IntN(8) == 0 {
		r.kind = nack
	}
	if r.multiple && at == len(m.answered)-1 && m.rng.IntN(2) == 0 {
		r.tag = 0 // all
	}
	for _, i := range open {
		if i == at || r.multiple && i < at {
			m.answered[i] = true
			if r.kind == ack {
				m.taken[m.sent[i]]++
			}
		}
	}
	return []reply{r}
}

func TestWindow(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := newWindow(1 + rng.IntN(40))
		m := &model{rng: rng, taken: make(map[int64]int)}
		link := newTestLink()
		w.begin(link)
		const total = 500
		all := make([]sinks.Event, total)
		for i := range all {
			all[i].Seq = int64(i)
		}
		added, acknowledged, aside := 0, 0, 0
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
				t.Fatalf("seed %d: %d of %d events in %d steps: %+v", seed, acknowledged, total, steps, w.look(false))
			}
			nacks := steps < 5000
			switch rng.IntN(10) {
			case 0, 1:
				n := min(total-added, 1+rng.IntN(20))
				added += w.add(all[added:added+n], acked)
			case 2, 3, 4:
				for _, ev := range w.next(nil, 1+rng.IntN(10)) {
					w.sending(1)
					m.sent, m.answered = append(m.sent, ev.Seq), append(m.answered, false)
				}
			case 5, 6, 7:
				if !w.confirm(link, m.reply(nacks)) {
					t.Fatalf("seed %d: a true reply is not believed", seed)
				}
			case 8:
				p := w.look(false)
				if p.rejected != none {
					w.rewind()
				}
				if p.poisoned == none && rng.IntN(20) == 0 && p.sent < p.head {
					w.poison(p.sent)
				} else if p.poisoned == p.tail && p.sent == p.tail && p.tail < p.head {
					ev, _, _ := w.oldest()
					m.taken[ev.Seq]++ // by DeadLetter
					w.drop()
					aside++
				}
			case 9:
				if nacks && rng.IntN(10) == 0 { // the connection is lost
					stale := m.reply(false)
					old := link
					m.sent, m.answered = nil, nil
					link = newTestLink()
					w.begin(link)
					if before := acknowledged; stale != nil && (!w.confirm(old, stale) || acknowledged != before) {
						t.Fatalf("seed %d: a reply of a connection that is gone counts", seed)
					}
				}
			}
		}
		if p := w.look(false); p.tail != total || int(w.published.Load())+aside != total {
			t.Errorf("seed %d: %+v, %d published, %d set aside", seed, p, w.published.Load(), aside)
		}
	}
}

func newTestLink() *link { return &link{failed: make(chan struct{})} }

func TestWindowIncredible(t *testing.T) {
	for _, r := range []reply{
		{tag: 3}, {tag: 3, multiple: true}, {tag: 1 << 63}, {kind: nack, tag: 4},
		{tag: 0},              // tags are counted from 1
		{tag: math.MaxUint64}, // whose place would be in the past
		{kind: nack, tag: 1},  // which was confirmed
		{kind: nack, tag: 0},  //
		{kind: nack, multiple: true, tag: math.MaxUint64 - 1},
	} {
		w := newWindow(10)
		w.begin(nil)
		acked := 0
		w.add(make([]sinks.Event, 3), func(n int) { acked += n })
		w.sending(2)
		if !w.confirm(nil, []reply{{tag: 1}}) || acked != 1 {
			t.Fatalf("%d acknowledged", acked)
		}
		// What comes behind an answer that can't be true does not count either.
		if w.confirm(nil, []reply{r, {tag: 2}}) || acked != 1 {
			t.Errorf("%+v is believed; %d acknowledged", r, acked)
		}
	}
	// On a later connection the last tag would be that of a place in the past.
	w := newWindow(10)
	acked := 0
	w.add(make([]sinks.Event, 9), func(n int) { acked += n })
	w.begin(nil)
	w.sending(6)
	if !w.confirm(nil, []reply{{tag: 6, multiple: true}}) || acked != 6 {
		t.Fatalf("%d acknowledged", acked)
	}
	w.begin(nil)
	w.sending(3)
	if w.confirm(nil, []reply{{tag: math.MaxUint64}, {tag: 1}}) || acked != 6 {
		t.Errorf("the last tag is believed; %d acknowledged", acked)
	}

	// Nothing is in flight that all could be about.
	w = newWindow(10)
	w.begin(nil)
	w.add(make([]sinks.Event, 3), func(n int) { t.Error("acknowledged") })
	w.confirm(nil, []reply{{multiple: true}, {kind: nack, multiple: true}})
	if p := w.look(false); p.tail != 0 || p.rejected != none && p.rejected != 0 {
		t.Errorf("%+v", p)
	}
}
