//go:build unix

// This file tests what can be seen of the sink.

package redis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// Every error of an entry that is its own has a reason of the set, and no other.
func TestReasonOfEntry(t *testing.T) {
	for text, want := range map[string]string{
		"WRONGTYPE Operation against a key holding the wrong kind of value": "not a stream",
		"ERR The stream has exhausted the last possible ID, unable to add":  "stream exhausted",
		"ERR Elements are too large to be stored":                           "too large",
	} {
		if got := reasonOfEntry(text); got != want || !ownOfEntry(text) || !slices.Contains(DeadLetterReasons, got) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// What Publish was given is there until it is acknowledged, the oldest first, or is given up.
func TestGiven(t *testing.T) {
	var g given
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	is := func(events int, since time.Time) {
		t.Helper()
		if n, oldest := g.pending(); n != events || !oldest.Equal(since) {
			t.Errorf("%d events since %v, want %d since %v", n, oldest, events, since)
		}
	}
	is(0, time.Time{})
	for round := range int64(3) { // the ring goes round
		for i := range int64(slots + 1) {
			g.add(at(100*round+i+1), 10)
		}
		is(10*(slots+1), at(100*round+1))
		g.drop()
		is(10*slots, at(100*round+1))
		for range slots - 1 {
			g.acknowledged()
		}
		is(10, at(100*round+slots))
		g.acknowledged()
		is(0, time.Time{})
	}
	if n := testing.AllocsPerRun(100, func() { g.add(at(1), 1); g.acknowledged() }); n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// What is sent again is counted as that, by the batch and by the event.
func TestBatchesAreCounted(t *testing.T) {
	srv := redistest.Start(t)
	s := start(t, Options{}, srv.Addr).sink
	var err error
	if s.writer.client, err = Connect(t.Context(), s.o.Client); err != nil {
		t.Fatal(err)
	}
	defer s.writer.disconnect()
	b := <-s.free
	b.events = make([]sinks.Event, 10)
	for i := range b.events {
		b.events[i] = sinks.Event{Session: "s", Seq: int64(i + 1), Type: []byte("A"), Data: fmt.Append(nil, i)}
		s.add(b, int32(i))
	}
	w := &s.writer
	w.pending = append(w.pending, b)
	w.build()            // all 10
	w.build()            // again
	w.drop(w.first(), 4) // which were written
	w.alone = 6
	w.build() // the first of 6
	st := s.Status()
	if st.Batches != 3 || st.Retried != 2 || st.Resent != 11 || st.BatchSizes.Sum != 21 || st.BatchSizes.Counts[0] != 1 || st.BatchSizes.Counts[4] != 2 {
		t.Errorf("%+v", st)
	}
}
