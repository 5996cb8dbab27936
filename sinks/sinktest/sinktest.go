// This file is what every sink must do: the contract of sinks.Sink, as package sinks
// explains it, as tests.

// Package sinktest tests sinks. Package redistest and package rabbitmq below it run the
// brokers that they need.
package sinktest

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/sinks"
)

// Broker is a broker and what the tests need of it. The functions are called on one
// goroutine at a time.
type Broker struct {
	// Sink returns a new sink. The test closes it.
	Sink func(t *testing.T) sinks.Opener
	// Read returns the data of the events that the broker has had since it was called
	// last, in the order in which it got them, as JSON.
	Read func(t *testing.T) [][]byte
	// Repeats says that an event whose acknowledgement was cut off may be duplicated.
	Repeats bool
	// Largest is how large an event's data may be, in bytes; 0: 8 MiB at least.
	Largest int

	// What the broker lacks is nil, and its tests are left out.

	Cut     func()                          // ends the connections that there are
	Away    func()                          // the broker is gone, with what it has kept,
	Back    func()                          // and is there again
	Refused func(t *testing.T) *sinks.Event // returns an event that the broker never takes
}

// patience bounds every wait. A machine under load may need most of it.
const patience = 2 * time.Minute

// Run runs the tests. start is called once for each, and must give it a broker that has
// nothing in it.
func Run(t *testing.T, start func(t *testing.T) Broker) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, b Broker)
		has  func(b Broker) bool
	}{
		{"order", order, nil},
		{"acknowledged is there", acknowledged, nil},
		{"sizes", sizes, nil},
		{"open", opens, nil},
		{"close", closes, nil},
		{"cut", cuts, func(b Broker) bool { return b.Cut != nil }},
		{"opened while away", openedWhileAway, func(b Broker) bool { return b.Away != nil }},
		{"away at the start", awayAtStart, func(b Broker) bool { return b.Away != nil }},
		{"away", away, func(b Broker) bool { return b.Away != nil }},
		{"cancelled", cancelled, func(b Broker) bool { return b.Away != nil }},
		{"closed while away", closedWhileAway, func(b Broker) bool { return b.Away != nil }},
		{"unavailable", unavailable, func(b Broker) bool { return b.Away != nil }},
		{"refused", refused, func(b Broker) bool { return b.Refused != nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if b := start(t); tt.has == nil || tt.has(b) {
				tt.run(t, b)
			}
		})
	}
}

// Batches of all sizes: everything arrives once, in the order of each shard.
func order(t *testing.T, b Broker) {
	tr := try(t, b)
	repeats := tr.b.Repeats
	tr.b.Repeats = false // nothing is cut off here
	tr.must(20_000)
	tr.whole()
	tr.b.Repeats = repeats
}

// What is acknowledged is with the broker.
func acknowledged(t *testing.T, b Broker) {
	tr := try(t, b)
	var seen [5]int64
	for range 20 {
		if err := tr.publish(t.Context(), tr.batch(1+tr.rand.IntN(300), 50)); err != nil {
			t.Fatal(err)
		}
		tr.settle()
		tr.check(&seen)
		if seen != tr.next {
			t.Fatalf("acknowledged up to %v, the broker has %v", tr.next, seen)
		}
	}
}

// Events of a byte and of megabytes, alone and among others.
func sizes(t *testing.T, b Broker) {
	tr := try(t, b)
	for _, pad := range []int{0, 1, 100, 4 << 10, 64 << 10, 128 << 10, 1 << 20, 8<<20 - 100, 0} {
		if b.Largest > 0 {
			pad = min(pad, b.Largest-100) // the rest of the data is shorter
		}
		if err := tr.publish(t.Context(), tr.batch(1, pad)); err != nil {
			t.Fatal(err)
		}
		tr.must(50)
		batch := append(tr.batch(20, 10), tr.event(1, pad))
		if err := tr.publish(t.Context(), append(batch, tr.batch(20, 10)...)); err != nil {
			t.Fatal(err)
		}
	}
	tr.whole()
}

// A sink that is not used, one that is, and one that is closed twice.
// Open may be called, more than once, or not at all, as in the other tests.
func opens(t *testing.T, b Broker) {
	tr := try(t, b)
	for range 2 {
		if err := tr.sink.Open(t.Context()); err != nil {
			t.Errorf("Open: %v", err)
		}
	}
	tr.must(1000)
	tr.settle()
	tr.whole()
}

// Open tries once, and Publish until the broker is there.
func openedWhileAway(t *testing.T, b Broker) {
	b.Away()
	tr := try(t, b)
	if err := tr.sink.Open(t.Context()); err == nil || errors.Is(err, sinks.ErrConfig) {
		t.Errorf("Open without the broker: %v", err)
	}
	b.Back()
	tr.must(100)
	tr.settle()
	tr.whole()
}

func closes(t *testing.T, b Broker) {
	if err := b.Sink(t).Close(); err != nil {
		t.Errorf("Close of a fresh sink: %v", err)
	}
	tr := try(t, b)
	tr.must(1000)
	tr.settle()
	for range 2 {
		if err := tr.sink.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	tr.whole()
}

// Connections are cut in the middle of batches.
func cuts(t *testing.T, b Broker) {
	tr := try(t, b)
	for range 10 {
		tr.must(500 + tr.rand.IntN(3000))
		b.Cut()
	}
	tr.must(100)
	tr.whole()
}

// A broker that comes after the sink.
func awayAtStart(t *testing.T, b Broker) {
	b.Away()
	tr := try(t, b)
	published := make(chan struct{})
	go func() {
		defer close(published)
		if err := tr.publish(t.Context(), tr.batch(500, 20)); err != nil {
			t.Errorf("Publish: %v", err)
		}
	}()
	b.Back()
	<-published
	tr.whole()
}

// A broker that goes away and comes back, twice, while events are published.
func away(t *testing.T, b Broker) {
	tr := try(t, b)
	for range 2 {
		tr.must(2000)
		b.Away()
		back := make(chan struct{})
		go func() {
			defer close(back)
			b.Back()
		}()
		tr.must(20_000)
		<-back
	}
	tr.whole()
}

// Publish waits for a broker that is unavailable, and no longer than its context lasts. What it
// was given stays borrowed.
func cancelled(t *testing.T, b Broker) {
	tr := try(t, b)
	tr.must(100)
	tr.settle()
	b.Away()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		for {
			if err := tr.publish(ctx, tr.batch(200, 1000)); err != nil {
				ended <- err
				return
			}
		}
	}()
	for before := -1; ; time.Sleep(100 * time.Millisecond) { // until it waits
		given, _ := tr.counts()
		if given == before {
			break
		}
		before = given
	}
	select {
	case err := <-ended:
		t.Fatalf("Publish: %v", err)
	default:
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Publish = %v, want that the context was cancelled", err)
		}
	case <-time.After(patience):
		t.Fatal("Publish goes on after its context is done")
	}
	b.Back()
}

// Close does not wait for a broker that is unavailable, and nothing is acknowledged after it.
func closedWhileAway(t *testing.T, b Broker) {
	tr := try(t, b)
	tr.must(100)
	tr.settle()
	b.Away()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	published := make(chan error, 1)
	go func() { published <- tr.publish(ctx, tr.batch(100, 20)) }()
	select {
	case err := <-published:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Second): // it waits for the confirmation: the end of ctx ends that
		cancel()
		<-published
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		tr.sink.Close() // what it says of what was not acknowledged is its own
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close waits for the broker")
	}
	tr.mu.Lock()
	tr.ended = true
	tr.mu.Unlock()
	b.Back()
	var seen [5]int64
	tr.check(&seen)
}

// An event that the broker never takes is acknowledged after a while, and holds up none
// of those behind it.
func refused(t *testing.T, b Broker) {
	tr := try(t, b)
	tr.must(100)
	for range 2 {
		batch := append(tr.batch(50, 20), *b.Refused(t))
		if err := tr.publish(t.Context(), append(batch, tr.batch(50, 20)...)); err != nil {
			t.Fatal(err)
		}
		tr.dead++
		tr.must(100)
	}
	tr.whole()
}

// A sink reports that the broker is unavailable, since when, why and what waits for it, from the moment
// on that it notices until the broker takes events again.
func unavailable(t *testing.T, b Broker) {
	tr := try(t, b)
	if st := tr.status(); st.Available || st.Pending != 0 || st.Published != 0 || st.Connections != 0 {
		t.Errorf("before Open: %+v", st)
	}
	tr.must(100)
	tr.settle()
	tr.until("availability", func(st sinks.Status) bool {
		return st.Available && st.Error == "" && !st.Since.IsZero() && st.Unavailable >= 0 && st.Connections > 0
	})
	b.Away()
	before := tr.status().Published
	published := make(chan struct{})
	go func() {
		defer close(published)
		if err := tr.publish(t.Context(), tr.batch(50, 20)); err != nil {
			t.Errorf("Publish: %v", err)
		}
	}()
	tr.until("the outage, and what waits for its end", func(st sinks.Status) bool { return !st.Available && st.Pending > 0 })
	st := tr.status()
	if st.Pending != 50 || st.Oldest <= 0 || st.Error == "" || st.Unavailable <= 0 || time.Since(st.Since) < 0 || st.Published != before {
		t.Errorf("while it is unavailable: %+v", st)
	}
	tr.until("time to pass", func(now sinks.Status) bool {
		return now.Since.Equal(st.Since) && now.Unavailable > st.Unavailable && now.Oldest > st.Oldest
	})
	b.Back()
	<-published
	tr.settle()
	tr.until("the broker to count as available again", func(now sinks.Status) bool {
		return now.Available && now.Error == "" && now.Since.After(st.Since) && now.Unavailable >= st.Unavailable
	})
	ended := tr.status().Unavailable
	tr.whole()
	if got := tr.status().Unavailable; got != ended {
		t.Errorf("the unavailable time goes on: %v after %v", got, ended)
	}
	tr.sink.Close()
	if got := tr.status(); got.Published+got.Repeated != 150 {
		t.Errorf("after Close: %+v", got)
	}
}
