// This file tests the order of acknowledgements, one promise a test.

package amqp

import (
	"fmt"
	"slices"
	"sluice/sinks"
	"testing"
)

// windowTrial is a window of which n events were added, and sent of them were sent.
type windowTrial struct {
	*window
	t     *testing.T
	acked int
}

func newWindowTrial(t *testing.T, n, sent int) *windowTrial {
	w := &windowTrial{window: newWindow(16), t: t}
	batch := make([]sinks.Event, n)
	for i := range batch {
		batch[i].Seq = int64(i)
	}
	w.begin(nil)
	if got := w.add(batch, func(n int) { w.acked += n }); got != n {
		t.Fatalf("%d of %d events were added", got, n)
	}
	w.sending(sent)
	return w
}

// reply gives the window a reply, and checks how many events are acknowledged then.
func (w *windowTrial) reply(r reply, want int) {
	w.t.Helper()
	if !w.confirm(nil, []reply{r}) {
		w.t.Fatalf("%+v is not believed", r)
	}
	if w.acked != want {
		w.t.Fatalf("after %+v: %d acknowledged, want %d", r, w.acked, want)
	}
}

// sends returns the numbers of the events that would be sent next.
func (w *windowTrial) sends() (all []int64) {
	for _, ev := range w.next(nil, 100) {
		all = append(all, ev.Seq)
	}
	return all
}

func (w *windowTrial) sendsFrom(from, to int64) {
	w.t.Helper()
	var want []int64
	for i := from; i < to; i++ {
		want = append(want, i)
	}
	if got := w.sends(); !slices.Equal(got, want) {
		w.t.Fatalf("%v are sent next, want %v", got, want)
	}
}

// A basic.nack says nothing of the messages before it: those have not been confirmed.
func TestNackIsNoAckOfThoseBefore(t *testing.T) {
	w := newWindowTrial(t, 6, 6)
	w.reply(reply{kind: nack, tag: 4}, 0)
	w.reply(reply{tag: 2}, 0) // the first is still open
	w.reply(reply{tag: 1}, 2)
	w.reply(reply{tag: 3}, 3)
	w.reply(reply{tag: 5}, 3) // it waits for the fourth
	if p := w.look(false); p.rejected != 3 {
		t.Fatalf("event %d is rejected, want 3", p.rejected)
	}
	w.rewind()
	w.sendsFrom(3, 6)

	// Nor does a nack of several confirm any of them, and a later ack of several is not about them.
	w = newWindowTrial(t, 6, 6)
	w.reply(reply{tag: 1}, 1)
	w.reply(reply{kind: nack, tag: 4, multiple: true}, 1)
	w.reply(reply{tag: 6, multiple: true}, 1)
	w.rewind()
	w.sendsFrom(1, 6)

	// One that was confirmed before is not among them.
	w = newWindowTrial(t, 6, 6)
	w.reply(reply{tag: 1}, 1)
	w.reply(reply{tag: 3}, 1)
	w.reply(reply{kind: nack, tag: 5, multiple: true}, 1)
	w.reply(reply{tag: 6, multiple: true}, 1)

	// The first of two nacks counts, whatever their order.
	for _, tags := range [][2]uint64{{3, 5}, {5, 3}} {
		w = newWindowTrial(t, 6, 6)
		w.reply(reply{kind: nack, tag: tags[0]}, 0)
		w.reply(reply{kind: nack, tag: tags[1]}, 0)
		w.reply(reply{tag: 6, multiple: true}, 2)
		if n := w.nacked.Load(); n != 2 {
			t.Errorf("%d nacks counted", n)
		}
	}
}

// What was confirmed out of order on one connection is sent again on the next, and open there: a
// confirm of the event before it is not one of it.
func TestRestartForgetsConfirms(t *testing.T) {
	for name, restart := range map[string]func(w *windowTrial) (first uint64){
		"rewind": func(w *windowTrial) uint64 {
			w.rewind()
			return 6 // the channel goes on counting
		},
		"another connection": func(w *windowTrial) uint64 {
			w.begin(nil)
			return 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWindowTrial(t, 6, 5)
			w.reply(reply{tag: 2}, 0)
			w.reply(reply{tag: 3}, 0)
			w.reply(reply{kind: nack, tag: 1}, 0)
			first := restart(w)
			w.sendsFrom(0, 6)
			w.sending(6)
			w.reply(reply{tag: first}, 1)     // the others are open again
			w.reply(reply{tag: first + 2}, 1) //
			w.reply(reply{tag: first + 1}, 3) //
			if n := w.repeated.Load(); n != 5 {
				t.Errorf("%d sent again, want 5", n)
			}
			// A reply of before is not about what has the place now.
			if first > 1 {
				w.reply(reply{tag: 4}, 3)
				w.reply(reply{tag: 5, multiple: true}, 3)
			}
			w.reply(reply{tag: first + 5, multiple: true}, 6)
		})
	}
}

// A poisoned event stops those behind it until it is dropped, and then they go out in order.
func TestPoisonedEventStopsThoseBehind(t *testing.T) {
	for sent := range 3 {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			w := newWindowTrial(t, 6, sent)
			w.poison(uint64(sent))
			w.sendsFrom(int64(sent), int64(sent)) // none
			w.add([]sinks.Event{{Seq: 6}}, func(n int) { w.acked += n })
			w.sendsFrom(int64(sent), int64(sent))
			if sent > 0 {
				w.reply(reply{tag: uint64(sent), multiple: true}, sent)
				w.sendsFrom(int64(sent), int64(sent))
			}
			w.rewind()
			w.sendsFrom(int64(sent), int64(sent))
			w.drop()
			if w.acked != sent+1 {
				t.Fatalf("%d acknowledged, want %d", w.acked, sent+1)
			}
			w.sendsFrom(int64(sent)+1, 7)
			w.sending(6 - sent)
			// The channel has not counted the poisoned one.
			w.reply(reply{tag: uint64(sent) + 1}, sent+2)
			w.reply(reply{tag: 0, multiple: true}, 7)
		})
	}
	// It stops them when it is not the next to be sent, too.
	w := newWindowTrial(t, 6, 0)
	w.poison(3)
	w.sendsFrom(0, 3)
	w.sending(3)
	w.sendsFrom(3, 3)
	w.begin(nil)
	w.sendsFrom(0, 3)
}

// Behind what is acknowledged, too, a reply counts for what was sent on its connection and for nothing
// more, and what is sent again is counted.
func TestRepliesBehindTheAcknowledged(t *testing.T) {
	w := newWindowTrial(t, 9, 6)
	w.reply(reply{tag: 3, multiple: true}, 3)
	w.begin(nil)
	w.sending(2)
	if n := w.repeated.Load(); n != 2 {
		t.Errorf("%d counted as sent again, want 2", n)
	}
	for _, tag := range []uint64{3, 4, 8} {
		if w.confirm(nil, []reply{{tag: tag}}) || w.acked != 3 {
			t.Errorf("tag %d of 2 is believed; %d acknowledged", tag, w.acked)
		}
	}
	w.sending(4) // of which one is sent again
	if n := w.repeated.Load(); n != 3 {
		t.Errorf("%d counted as sent again, want 3", n)
	}
	w.reply(reply{tag: 6, multiple: true}, 9)
}
