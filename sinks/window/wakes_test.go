// This file tests who is woken, and when.

package window

import (
	"testing"

	"sluice/sinks"
)

// Publish is woken when a quarter of the window is free, and the sender at each acknowledgement if it
// watches.
func TestWakes(t *testing.T) {
	if w := New(4096); len(w.events) != 4096 {
		t.Errorf("a window of 4,096 events has memory for %d", len(w.events))
	}
	w := New(8)
	w.Begin(nil)
	w.Add(make([]sinks.Event, 8), func(int) {})
	if len(w.Woken()) != 1 {
		t.Fatal("the sender is not woken for new events")
	}
	<-w.Woken()
	if w.Add(make([]sinks.Event, 1), func(int) {}); len(w.Woken()) > 0 {
		t.Error("the sender is woken for an event that was not taken")
	}
	w.Add(nil, func(int) {}) // Publish does not wait any more
	w.Sending(8)
	if w.Confirm(nil, []Reply{{Number: 8, Through: true}}); len(w.Headroom()) > 0 {
		t.Error("Publish is woken although it does not wait")
	}
	w.Begin(nil)
	if n := w.Add(make([]sinks.Event, 9), func(int) {}); n != 8 {
		t.Fatalf("%d events added to a window of 8", n)
	}
	<-w.Woken()
	w.Sending(8)
	w.Confirm(nil, []Reply{{Number: 1}})
	if len(w.Headroom()) > 0 || len(w.Woken()) > 0 {
		t.Error("woken for a place of eight")
	}
	w.Look(true)
	w.Confirm(nil, []Reply{{Number: 2}})
	if len(w.Headroom()) != 1 || len(w.Woken()) != 1 {
		t.Errorf("a quarter is free: Publish is woken %d times, the sender %d times", len(w.Headroom()), len(w.Woken()))
	}
	<-w.Headroom()
	<-w.Woken()
	w.Confirm(nil, []Reply{{Number: 4}}) // acknowledges nothing
	if len(w.Headroom()) > 0 || len(w.Woken()) > 0 {
		t.Error("woken for a confirm that acknowledges nothing")
	}
	w.Confirm(nil, []Reply{{Refused: true, Number: 3}})
	if len(w.Woken()) != 1 {
		t.Error("the sender is not woken for a refusal")
	}
	if ev, n, since := w.Oldest(); ev == nil || n != 6 || since.IsZero() {
		t.Errorf("the oldest of %d is %v, of %v", n, ev, since)
	}
	if <-w.Woken(); len(w.Woken()) > 0 {
		t.Fatal("woken twice")
	}
	if w.Wake(); len(w.Woken()) != 1 {
		t.Error("the sender is not woken by Wake")
	}
	w.Rewind()
	w.Sending(6)
	w.Confirm(nil, []Reply{{Number: 0, Through: true}})
	if ev, n, since := w.Oldest(); ev != nil || n != 0 || !since.IsZero() {
		t.Errorf("the oldest of none: %v, %d, %v", ev, n, since)
	}
}

// Replies are urgent while the sender looks at every acknowledgement.
func TestWatched(t *testing.T) {
	w := New(8)
	for _, watch := range []bool{false, true, true, false} {
		if w.Look(watch); w.Watched() != watch {
			t.Errorf("after Look(%v) it is %v", watch, w.Watched())
		}
	}
}

// After Abandon no reply acknowledges anything, whatever the connection was called.
func TestAbandon(t *testing.T) {
	for _, conn := range []any{nil, 1, "x", new(int)} {
		w := New(8)
		w.Begin(conn)
		w.Add(make([]sinks.Event, 3), func(int) { t.Error("acknowledged") })
		w.Sending(3)
		w.Abandon()
		w.Sending(3)
		if !w.Confirm(conn, []Reply{{Number: 1}, {Number: 3, Through: true}}) {
			t.Error("what is no reply of this connection is not believed")
		}
	}
}

// Nothing is allocated for an event.
func TestAllocs(t *testing.T) {
	w := New(64)
	batch := make([]sinks.Event, 64)
	next := make([]*sinks.Event, 0, 64)
	replies := make([]Reply, 0, 64)
	conn := new(int)
	acked := func(int) {}
	w.Begin(conn)
	sent := uint64(0)
	if n := testing.AllocsPerRun(100, func() {
		w.Add(batch, acked)
		n := len(w.Next(next, 64))
		w.Sending(n)
		replies = replies[:0]
		for i := n; i > 0; i-- { // out of order
			replies = append(replies, Reply{Number: sent + uint64(i)})
		}
		sent += uint64(n)
		if w.Look(false); !w.Confirm(conn, replies) {
			t.Fatal("not believed")
		}
	}); n > 0 {
		t.Errorf("%v allocations for 64 events", n)
	}
	if p := w.Look(false); p.Tail != sent || p.Head != sent || sent == 0 {
		t.Errorf("%+v after %d events", p, sent)
	}
}
