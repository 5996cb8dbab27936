// This file is the way from the outlets to the sink.

package engine

import (
	"context"

	"sluice/pool"
)

// Bounds of one call of Sink.Publish.
const (
	maxBatchEvents = 1024
	maxBatchBytes  = 1 << 20
)

// lane takes the events of all outlets, offers them to the sink, notes what is
// acknowledged and gives back what they held.
type lane struct {
	sink    Sink
	bell    *pool.Bell
	buffers pool.Buffers
	outlets []*outlet // fixed before run

	// owned by the goroutine of run
	first int // the outlet that is asked first: they take turns
}

func newLane(sink Sink) *lane { return &lane{sink: sink, bell: pool.NewBell()} }

// close lets run return once all is offered. Nothing is pushed any more.
func (l *lane) close() {
	for _, o := range l.outlets {
		o.ring.Close()
	}
}

// run offers events to the sink until the lane is closed and empty, or the sink
// fails.
func (l *lane) run(ctx context.Context) error {
	events := make([]Event, maxBatchEvents)
	idle := func() bool { now, forever := l.empty(); return now && !forever }
	for {
		n := l.take(events)
		if n == 0 {
			if _, forever := l.empty(); forever {
				return nil
			}
			l.bell.Wait(idle)
			continue
		}
		if err := l.offer(ctx, events[:n]); err != nil {
			return err
		}
		clear(events[:n]) // no pointers into returned buffers are kept
	}
}

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

// take fills events from the outlets.
func (l *lane) take(events []Event) (n int) {
	for i := range l.outlets {
		n += l.outlets[(l.first+i)%len(l.outlets)].ring.Take(events[n:])
	}
	l.first++
	return n
}

// offer gives events to the sink until it has acknowledged all.
func (l *lane) offer(ctx context.Context, events []Event) error {
	for len(events) > 0 {
		acked, err := l.sink.Publish(ctx, events[:batchLen(events)])
		l.acknowledge(events[:acked])
		if err != nil {
			return err
		}
		events = events[acked:]
	}
	return nil
}

// batchLen returns how many of the first events go into one call of Publish.
func batchLen(events []Event) int {
	n, bytes := 0, 0
	for n < len(events) && n < maxBatchEvents && (n == 0 || bytes+events[n].size <= maxBatchBytes) {
		bytes += events[n].size
		n++
	}
	return n
}

// acknowledge notes that the sink has the events, returns their buffers, and
// gives their outlets room.
func (l *lane) acknowledge(events []Event) {
	for i := 0; i < len(events); {
		o, bytes := events[i].outlet, 0
		for ; i < len(events) && events[i].outlet == o; i++ {
			ev := &events[i]
			if ev.Seq > 0 {
				ev.origin.acked.Store(ev.Seq)
			}
			bytes += ev.size
			l.buffers.Put(ev.buf)
			ev.buf = nil
		}
		o.ring.Release(int64(bytes))
	}
}
