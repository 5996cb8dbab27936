// This file is the way from the queues to the sink.

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

// publisher takes the events of all queues, gives them to the sink, notes what is
// acknowledged and gives back what they held.
type publisher struct {
	sink    sinks.Sink
	began   time.Time     // what since counts from
	linger  time.Duration // see Options.Linger
	bell    *pool.Bell
	buffers pool.Buffers
	queues  []*queue // one for each goroutine of the reader, or one for all; fixed before run

	// The events that the sink has, and what each holds. One lies at its number, counted from
	// base, modulo maxFlight.
	flight    []sinks.Event
	held      []held
	published atomic.Uint64 // events given to it so far; written by run
	acked     atomic.Uint64 // of them; written by acknowledge
	base      uint64        // written by run, while none is in flight
	ack       func(int)     // acknowledge
	oldest    atomic.Int64  // when the first in flight was read, if there are any; see since
	lag       *histogram    // from held.read to acknowledge
	progress  progress

	barriers

	// owned by the goroutine of run
	first   int       // the queue that is asked first: they take turns
	entries [64]entry // taken, to go into flight and held
}

func newPublisher(sink sinks.Sink, linger time.Duration) *publisher {
	p := &publisher{
		sink: sink, began: time.Now(), linger: linger, bell: pool.NewBell(), flight: make([]sinks.Event, maxFlight), held: make([]held, maxFlight),
		lag: newHistogram(lagBounds),
	}
	p.ack = p.acknowledge
	return p
}

// since returns the nanoseconds from the making of the publisher to a moment after it, by the clock that is
// not set: 1 at least.
func (p *publisher) since(t time.Time) int64 { return max(1, int64(t.Sub(p.began))) }

// moment returns the moment of since.
func (p *publisher) moment(since int64) time.Time { return p.began.Add(time.Duration(since)) }

// tick is a moment, in units of about half a millisecond since publisher.began, which begin anew after 26
// days: what lies less than half of that before or after another is told apart. With so few bytes an entry of a
// queue is two lines of the processor's cache.
type tick uint32

const tickBits = 19 // nanoseconds of a tick, as a power of two

// tickOf returns the tick of publisher.since.
func tickOf(since int64) tick { return tick(since >> tickBits) }

// after returns the time from before to t; below zero: t is before it.
func (t tick) after(before tick) time.Duration { return time.Duration(int32(t-before)) << tickBits }

// since returns the publisher.since of a tick around now.
func (t tick) since(now int64) int64 { return now - int64(tickOf(now).after(t)) }

// close lets run return once all is acknowledged. Nothing is pushed any more.
func (p *publisher) close() {
	for _, q := range p.queues {
		q.close()
	}
}

// run gives events to the sink until the publisher is closed and all are acknowledged,
// the sink fails, or ctx is done.
func (p *publisher) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, p.bell.Ring)()
	ended := func() bool { _, forever := p.empty(); return forever && p.inFlight() == 0 || ctx.Err() != nil }
	idle := func() bool {
		now, _ := p.empty()
		return (now && p.unpassed.Load() == 0 || p.inFlight() == maxFlight) && !ended()
	}
	p.progress.turns.Add(1)
	defer p.progress.turns.Add(1)
	for {
		p.pass()
		events := p.take()
		if len(events) == 0 {
			if ended() {
				p.pass()
				return context.Cause(ctx)
			}
			p.progress.turns.Add(1)
			p.bell.Wait(idle)
			p.progress.turns.Add(1)
			continue
		}
		if err := p.publish(ctx, events); err != nil {
			return err
		}
	}
}

// inFlight returns how many events the sink has not acknowledged.
func (p *publisher) inFlight() int { return int(p.published.Load() - p.acked.Load()) }

// waiting returns how many events the sink has not acknowledged or not been given, about.
func (p *publisher) waiting() int {
	n := p.inFlight()
	for _, q := range p.queues {
		n += q.ring.Len()
	}
	return n
}

// empty reports whether there is nothing to take now, and whether there never
// will be.
func (p *publisher) empty() (now, forever bool) {
	now, forever = true, true
	for _, q := range p.queues {
		n, f := q.ring.Empty()
		n = n && !q.overflows.Load()
		now, forever = now && n, forever && f && n
	}
	return now, forever
}

// take moves events from the queues to where the sink finds them. A lone event
// is not held up; while the sink has others, a few wait shortly for more, since
// one batch costs it less than two.
func (p *publisher) take() []sinks.Event {
	events := p.fill(nil)
	if len(events) > 0 && len(events) < maxBatchEvents/4 && p.linger > 0 && p.inFlight() > 0 {
		time.Sleep(p.linger)
		events = p.fill(events)
	}
	return events
}

// fill appends to events, which are the last in flight but not yet counted as published.
func (p *publisher) fill(events []sinks.Event) []sinks.Event {
	n := len(events)
	if n == 0 && p.inFlight() == 0 {
		p.base = p.published.Load() // what was used last is in the processor's cache
	}
	from := int((p.published.Load() - p.base) % maxFlight)
	to := min(from+min(maxFlight-p.inFlight(), maxBatchEvents), maxFlight)
	at := from + n
	for i := range p.queues {
		q := p.queues[(p.first+i)%len(p.queues)]
		if q.overflows.Load() {
			q.mu.Lock()
			q.refill()
			q.mu.Unlock()
		}
		at += p.move(q.ring, at, to)
	}
	p.first++
	return p.flight[from:at]
}

// move takes events of a ring to the places from at to end, and returns how many.
func (p *publisher) move(ring *pool.Ring[entry], at, end int) int {
	n := 0
	for at+n < end {
		taken := p.entries[:ring.Take(p.entries[:min(end-at-n, len(p.entries))])]
		for i := range taken {
			p.flight[at+n], p.held[at+n] = taken[i].Event, taken[i].held
			n++
		}
		if len(taken) < len(p.entries) {
			break
		}
	}
	return n
}

// publish gives events to the sink.
func (p *publisher) publish(ctx context.Context, events []sinks.Event) error {
	for {
		from := int((p.published.Load() - p.base) % maxFlight)
		if p.deposing.Load() > 0 {
			events = events[:p.discard(events, p.held[from:])]
		}
		if len(events) == 0 {
			return nil
		}
		batch := events[:batchLen(p.held[from:from+len(events)])]
		before := p.published.Load()
		p.published.Add(uint64(len(batch)))
		if p.acked.Load() == before { // else acknowledge notes it, or has noted what is before it
			p.oldest.Store(p.held[from].read.since(p.since(time.Now())))
		}
		failpoint.Hit("publish")
		p.progress.turns.Add(1)
		err := p.sink.Publish(ctx, batch, p.ack)
		p.progress.turns.Add(1)
		if err != nil {
			return err
		}
		events = events[len(batch):]
	}
}

// batchLen returns how many of the first events go into one call of Publish.
func batchLen(events []held) int {
	n, bytes := 0, 0
	for n < len(events) && n < maxBatchEvents && (n == 0 || bytes+int(events[n].size) <= maxBatchBytes) {
		bytes += int(events[n].size)
		n++
	}
	return n
}

// acknowledge notes that the sink's receiver has the n oldest events in flight,
// returns their buffers, and gives their queues room.
func (p *publisher) acknowledge(n int) {
	if n < 0 || n > p.inFlight() {
		panic("engine: the sink acknowledges more events than it was given")
	}
	failpoint.Hit("acknowledge")
	now := p.since(time.Now())
	run, read := 0, tick(0) // events that were read at one moment, and when
	for at := p.acked.Load() - p.base; n > 0; {
		q, bytes, same := p.held[at%maxFlight].queue, 0, 0
		var origin *session // whose acked is to be seq
		var seq int64
		for ; same < n; same++ {
			ev, h := &p.flight[at%maxFlight], &p.held[at%maxFlight]
			if h.queue != q {
				break
			}
			at++
			if ev.Seq > 0 || ev.Gap {
				if h.origin != origin {
					if origin != nil {
						origin.acked.Store(seq)
					}
					origin = h.origin
				}
				seq = ev.Seq
			}
			if h.read != read {
				p.lag.observe(tickOf(now).after(read), run)
				run, read = 0, h.read
			}
			run++
			bytes += int(h.size)
			p.buffers.Put(h.buf)
			clearEvent(ev, h)
		}
		if origin != nil {
			origin.acked.Store(seq) // before barriers are passed
		}
		p.acked.Add(uint64(same))
		q.ring.Release(int64(bytes))
		n -= same
	}
	p.lag.observe(tickOf(now).after(read), run)
	if acked := p.acked.Load(); acked != p.published.Load() {
		p.oldest.Store(p.held[(acked-p.base)%maxFlight].read.since(now))
	}
	p.reach()
	p.bell.Ring()
}

// clearEvent keeps no pointers into a buffer that is given back.
func clearEvent(ev *sinks.Event, h *held) { *ev, *h = sinks.Event{}, held{} }
