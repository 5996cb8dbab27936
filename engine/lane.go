// This file is the way from the outlets to the sink.

package engine

import (
	"context"
	"sync/atomic"
	"time"

	"sluice/internal/failpoint"
	"sluice/pool"
	"sluice/sinks"
)

const (
	// maxFlight bounds the events that a sink holds and has not acknowledged: at
	// 100,000 a second so many are 80 ms of a broker's time.
	maxFlight = 8 << 10
	// Bounds of one call of Sink.Publish.
	maxBatchEvents = 1024
	maxBatchBytes  = 1 << 20
)

// lane takes the events of all outlets, lends them to the sink, notes what is
// acknowledged and gives back what they held.
type lane struct {
	sink    sinks.Sink
	wait    time.Duration // see Options.BatchWait
	bell    *pool.Bell
	buffers pool.Buffers
	outlets []*outlet // fixed before run

	// The events that the sink has, and what each holds. One lies at its number, counted from
	// base, modulo maxFlight.
	flight []sinks.Event
	held   []held
	lent   atomic.Uint64 // events lent so far; written by run
	acked  atomic.Uint64 // of them; written by acknowledge
	base   uint64        // written by run, while none is in flight
	ack    func(int)     // acknowledge

	// owned by the goroutine of run
	first   int       // the outlet that is asked first: they take turns
	entries [64]entry // on their way into flight and held
}

func newLane(sink sinks.Sink, wait time.Duration) *lane {
	l := &lane{sink: sink, wait: wait, bell: pool.NewBell(), flight: make([]sinks.Event, maxFlight), held: make([]held, maxFlight)}
	l.ack = l.acknowledge
	return l
}

// close lets run return once all is acknowledged. Nothing is pushed any more.
func (l *lane) close() {
	for _, o := range l.outlets {
		o.ring.Close()
	}
}

// run lends events to the sink until the lane is closed and all are acknowledged,
// the sink fails, or ctx is done.
func (l *lane) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.bell.Ring)()
	ended := func() bool { _, forever := l.empty(); return forever && l.inFlight() == 0 || ctx.Err() != nil }
	idle := func() bool {
		now, _ := l.empty()
		return (now || l.inFlight() == maxFlight) && !ended()
	}
	for {
		events := l.take()
		if len(events) == 0 {
			if ended() {
				return context.Cause(ctx)
			}
			l.bell.Wait(idle)
			continue
		}
		if err := l.lend(ctx, events); err != nil {
			return err
		}
	}
}

// inFlight returns how many events the sink has not acknowledged.
func (l *lane) inFlight() int { return int(l.lent.Load() - l.acked.Load()) }

// empty reports whether there is nothing to take now, and whether there never
// will be.
func (l *lane) empty() (now, forever bool) {
	now, forever = true, true
	for _, o := range l.outlets {
		n, f := o.ring.Empty()
		now, forever = now && n, forever && f
	}
	return now, forever
}

// take moves events from the outlets to where the sink finds them. A lone event
// is not held up; while the sink has others, a few wait shortly for more, since
// one batch costs it less than two.
func (l *lane) take() []sinks.Event {
	events := l.fill(nil)
	if len(events) > 0 && len(events) < maxBatchEvents/4 && l.wait > 0 && l.inFlight() > 0 {
		time.Sleep(l.wait)
		events = l.fill(events)
	}
	return events
}

// fill appends to events, which are the last in flight but not yet counted as lent.
func (l *lane) fill(events []sinks.Event) []sinks.Event {
	n := len(events)
	if n == 0 && l.inFlight() == 0 {
		l.base = l.lent.Load() // what was used last is in the processor's cache
	}
	from := int((l.lent.Load() - l.base) % maxFlight)
	to := min(from+min(maxFlight-l.inFlight(), maxBatchEvents), maxFlight)
	at := from + n
	for i := range l.outlets {
		at += l.move(l.outlets[(l.first+i)%len(l.outlets)].ring, at, to)
	}
	l.first++
	return l.flight[from:at]
}

// move takes events of a ring to the places from at to end, and returns how many.
func (l *lane) move(ring *pool.Ring[entry], at, end int) int {
	n := 0
	for at+n < end {
		taken := l.entries[:ring.Take(l.entries[:min(end-at-n, len(l.entries))])]
		for i := range taken {
			l.flight[at+n], l.held[at+n] = taken[i].Event, taken[i].held
			n++
		}
		if len(taken) < len(l.entries) {
			break
		}
	}
	return n
}

// lend gives events to the sink.
func (l *lane) lend(ctx context.Context, events []sinks.Event) error {
	for len(events) > 0 {
		from := int((l.lent.Load() - l.base) % maxFlight)
		batch := events[:batchLen(l.held[from:from+len(events)])]
		l.lent.Add(uint64(len(batch)))
		failpoint.Hit("publish")
		if err := l.sink.Publish(ctx, batch, l.ack); err != nil {
			return err
		}
		events = events[len(batch):]
	}
	return nil
}

// batchLen returns how many of the first events go into one call of Publish.
func batchLen(events []held) int {
	n, bytes := 0, 0
	for n < len(events) && n < maxBatchEvents && (n == 0 || bytes+events[n].size <= maxBatchBytes) {
		bytes += events[n].size
		n++
	}
	return n
}

// acknowledge notes that the sink's receiver has the n oldest events in flight,
// returns their buffers, and gives their outlets room.
func (l *lane) acknowledge(n int) {
	if n < 0 || n > l.inFlight() {
		panic("engine: the sink acknowledges more events than it was given")
	}
	failpoint.Hit("acknowledge")
	for at := l.acked.Load() - l.base; n > 0; {
		o, bytes, same := l.held[at%maxFlight].outlet, 0, 0
		for ; same < n; same++ {
			ev, h := &l.flight[at%maxFlight], &l.held[at%maxFlight]
			if h.outlet != o {
				break
			}
			at++
			if ev.Seq > 0 || ev.Gap {
				h.origin.acked.Store(ev.Seq)
			}
			bytes += h.size
			l.buffers.Put(h.buf)
			*ev, *h = sinks.Event{}, held{} // no pointers into returned buffers are kept
		}
		l.acked.Add(uint64(same))
		o.ring.Release(int64(bytes))
		n -= same
	}
	l.bell.Ring()
}
