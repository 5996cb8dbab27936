// This file tests the order of acknowledgements, one promise a test.

package window

import (
	"fmt"
	"slices"
	"testing"

	"sluice/sinks"
)

// trial is a window of which n events were added, and sent of them were sent.
type trial struct {
	*Window
	t     *testing.T
	acked int
}

func newTrial(t *testing.T, n, sent int) *trial {
	w := &trial{Window: New(16), t: t}
	batch := make([]sinks.Event, n)
	for i := range batch {
		batch[i].Seq = int64(i)
	}
	w.Begin(nil)
	if got := w.Add(batch, func(n int) { w.acked += n }); got != n {
		t.Fatalf("%d of %d events were added", got, n)
	}
	w.Sending(sent)
	return w
}

// reply gives the window a reply, and checks how many events are acknowledged then.
func (w *trial) reply(r Reply, want int) {
	w.t.Helper()
	if !w.Confirm(nil, []Reply{r}) {
		w.t.Fatalf("%+v is not believed", r)
	}
	if w.acked != want {
		w.t.Fatalf("after %+v: %d acknowledged, want %d", r, w.acked, want)
	}
}

// sends returns the numbers of the events that would be sent next.
func (w *trial) sends() (all []int64) {
	for _, ev := range w.Next(nil, 100) {
		all = append(all, ev.Seq)
	}
	return all
}

func (w *trial) sendsFrom(from, to int64) {
	w.t.Helper()
	var want []int64
	for i := from; i < to; i++ {
		want = append(want, i)
	}
	if got := w.sends(); !slices.Equal(got, want) {
		w.t.Fatalf("%v are sent next, want %v", got, want)
	}
}

// A refusal says nothing of the messages before it: those have not been confirmed.
func TestRefusalConfirmsNoneBefore(t *testing.T) {
	w := newTrial(t, 6, 6)
	w.reply(Reply{Refused: true, Number: 4}, 0)
	w.reply(Reply{Number: 2}, 0) // the first is still open
	w.reply(Reply{Number: 1}, 2)
	w.reply(Reply{Number: 3}, 3)
	w.reply(Reply{Number: 5}, 3) // it waits for the fourth
	if p := w.Look(false); p.Refused != 3 {
		t.Fatalf("event %d is refused, want 3", p.Refused)
	}
	w.Rewind()
	w.sendsFrom(3, 6)

	// Nor does a refusal of several confirm any of them, and a later confirm of several is not about them.
	w = newTrial(t, 6, 6)
	w.reply(Reply{Number: 1}, 1)
	w.reply(Reply{Refused: true, Number: 4, Through: true}, 1)
	w.reply(Reply{Number: 6, Through: true}, 1)
	w.Rewind()
	w.sendsFrom(1, 6)

	// One that was confirmed before is not among them.
	w = newTrial(t, 6, 6)
	w.reply(Reply{Number: 1}, 1)
	w.reply(Reply{Number: 3}, 1)
	w.reply(Reply{Refused: true, Number: 5, Through: true}, 1)
	w.reply(Reply{Number: 6, Through: true}, 1)

	// The first of two refusals counts, whatever their order.
	for _, numbers := range [][2]uint64{{3, 5}, {5, 3}} {
		w = newTrial(t, 6, 6)
		w.reply(Reply{Refused: true, Number: numbers[0]}, 0)
		w.reply(Reply{Refused: true, Number: numbers[1]}, 0)
		w.reply(Reply{Number: 6, Through: true}, 2)
		if n := w.Stats().Refused; n != 2 {
			t.Errorf("%d refusals counted", n)
		}
	}
}

// A broker that takes back what it has said of a message is not believed, or not heard.
func TestContradictions(t *testing.T) {
	// What it has refused is sent again, whatever it says later.
	w := newTrial(t, 6, 6)
	w.reply(Reply{Refused: true, Number: 3}, 0)
	w.reply(Reply{Number: 3}, 0)
	w.reply(Reply{Number: 4}, 0)
	w.reply(Reply{Number: 2, Through: true}, 2)
	w.Rewind()
	w.sendsFrom(2, 6)

	// What it has taken cannot be refused, though it is not acknowledged yet.
	w = newTrial(t, 6, 6)
	w.reply(Reply{Number: 3}, 0)
	if w.Confirm(nil, []Reply{{Refused: true, Number: 3}}) {
		t.Error("a refusal of what was taken is believed")
	}
}

// What was confirmed out of order on one connection is sent again on the next, and open there: a
// confirm of the event before it is not one of it.
func TestRestartForgetsConfirms(t *testing.T) {
	for name, restart := range map[string]func(w *trial) (first uint64){
		"rewind": func(w *trial) uint64 {
			w.Rewind()
			return 6 // the numbers go on
		},
		"another connection": func(w *trial) uint64 {
			w.Begin(nil)
			return 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTrial(t, 6, 5)
			w.reply(Reply{Number: 2}, 0)
			w.reply(Reply{Number: 3}, 0)
			w.reply(Reply{Refused: true, Number: 1}, 0)
			first := restart(w)
			w.sendsFrom(0, 6)
			w.Sending(6)
			w.reply(Reply{Number: first}, 1)     // the others are open again
			w.reply(Reply{Number: first + 2}, 1) //
			w.reply(Reply{Number: first + 1}, 3) //
			if n := w.Stats().Repeated; n != 5 {
				t.Errorf("%d sent again, want 5", n)
			}
			// A reply of before is not about what has the place now.
			if first > 1 {
				w.reply(Reply{Number: 4}, 3)
				w.reply(Reply{Number: 5, Through: true}, 3)
			}
			w.reply(Reply{Number: first + 5, Through: true}, 6)
		})
	}
}

// A poisoned event stops those behind it until it is dropped, and then they go out in order.
func TestPoisonedEventStopsThoseBehind(t *testing.T) {
	for sent := range 3 {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			w := newTrial(t, 6, sent)
			w.Poison(uint64(sent))
			w.sendsFrom(int64(sent), int64(sent)) // none
			w.Add([]sinks.Event{{Seq: 6}}, func(n int) { w.acked += n })
			w.sendsFrom(int64(sent), int64(sent))
			if sent > 0 {
				w.reply(Reply{Number: uint64(sent), Through: true}, sent)
				w.sendsFrom(int64(sent), int64(sent))
			}
			w.Rewind()
			w.sendsFrom(int64(sent), int64(sent))
			w.Drop()
			if w.acked != sent+1 {
				t.Fatalf("%d acknowledged, want %d", w.acked, sent+1)
			}
			if p := w.Look(false); p.Tried < p.Tail || p.Poisoned != None {
				t.Fatalf("%+v", p)
			}
			w.sendsFrom(int64(sent)+1, 7)
			w.Sending(6 - sent)
			// The poisoned one has had no number.
			w.reply(Reply{Number: uint64(sent) + 1}, sent+2)
			w.reply(Reply{Number: 0, Through: true}, 7)
		})
	}
	// It stops them when it is not the next to be sent, too.
	w := newTrial(t, 6, 0)
	w.Poison(3)
	w.sendsFrom(0, 3)
	w.Sending(3)
	w.sendsFrom(3, 3)
	w.Begin(nil)
	w.sendsFrom(0, 3)
}

// Behind what is acknowledged, too, a reply counts for what was sent on its connection and for nothing
// more, and what is sent again is counted.
func TestRepliesBehindTheAcknowledged(t *testing.T) {
	w := newTrial(t, 9, 6)
	w.reply(Reply{Number: 3, Through: true}, 3)
	w.Begin(nil)
	w.Sending(2)
	if n := w.Stats().Repeated; n != 2 {
		t.Errorf("%d counted as sent again, want 2", n)
	}
	for _, number := range []uint64{3, 4, 8} {
		if w.Confirm(nil, []Reply{{Number: number}}) || w.acked != 3 {
			t.Errorf("number %d of 2 is believed; %d acknowledged", number, w.acked)
		}
	}
	w.Sending(4) // of which one is sent again
	if n := w.Stats().Repeated; n != 3 {
		t.Errorf("%d counted as sent again, want 3", n)
	}
	w.reply(Reply{Number: 6, Through: true}, 9)
}
