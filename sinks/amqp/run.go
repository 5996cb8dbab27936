// This file keeps a connection to a broker, and decides what follows its failures.

package amqp

import (
	"context"
	"errors"
	"time"

	"sluice/sinks"
	"sluice/sinks/broker"
)

const (
	// maxTries is how often the broker may close the channel for the same event
	// before it is dead-lettered.
	maxTries = 3
	// suspicion is how often it may do so before events are sent one at a time, which
	// shows the one that it is for.
	suspicion = 2
	// steady is how long a connection has to last to count as a good one, if there is
	// nothing to publish.
	steady = 5 * time.Second
)

// runner is the state of run, which owns it.
type runner struct {
	*Sink
	outage  recovery
	away    bool
	down    bool   // no events are taken, as the figures have it
	downAt  uint64 // the first place not acknowledged then
	scratch []*sinks.Event
	buf     []byte // frames

	refused   int    // times in a row that the broker closed the channel for an event
	refusedAt uint64 // the first place not acknowledged at the last of them
	single    uint64 // events before this place are sent one at a time
	largest   int    // bytes of the largest message of the last write
	reason    error  // why the poisoned event must be dead-lettered
}

// run publishes what the window holds until Close.
func (s *Sink) run() {
	defer close(s.ended)
	r := &runner{Sink: s, outage: recovery{Outage: broker.Outage{Log: s.o.Log, Broker: "RabbitMQ", Waiting: s.waiting}}}
	b := &brokers{o: &s.o, addresses: s.addresses}
	s.mu.Lock()
	l := s.begin
	s.mu.Unlock()
	for first := true; s.ctx.Err() == nil; {
		if l == nil {
			var err error
			r.outage.Tried = time.Now()
			if l, err = newLink(s.ctx, b, s); err != nil {
				r.failed(err)
				continue
			}
		}
		s.window.Begin(l)
		s.setLink(l)
		if !r.down {
			s.figures.Back()
		}
		began := time.Now()
		if !first {
			signal(s.rebind) // who has deleted the exchange has deleted its bindings
		}
		first = false
		err := r.serve(l)
		s.setLink(nil)
		if err != nil {
			r.outage.Tried = r.silent(began)
			r.lost(r.outage.Tried, explain(err)) // also while it blocks
		}
		l.close()
		s.unblock()
		l = nil
		if err != nil {
			r.suspect(err)
			r.failed(err)
		}
	}
	if l != nil { // of Open, and closed before it was used
		l.close()
	}
	s.window.Abandon()
}

// failed logs a failure and waits before the next try.
func (r *runner) failed(err error) {
	if r.ctx.Err() != nil {
		return
	}
	r.away = true
	err = explain(err)
	r.lost(r.outage.Tried, err)
	pause(r.ctx, r.outage.Failed(err))
}

// recovered ends an outage, if there is one, after the connection has been good for
// a time.
func (r *runner) recovered(lasted time.Duration) {
	if r.away && r.outage.due(lasted) {
		r.away = false
		r.outage.end()
	}
}

// signal leaves a note in c, which holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// suspect draws the conclusions from a failure that may be an event's fault: the
// broker closes the channel for a message that is too large for it. Any other failure
// is the broker's, and the events wait.
func (r *runner) suspect(err error) {
	var closed *closedError
	if !errors.As(err, &closed) || !closed.tooLarge() {
		return
	}
	p := r.window.Look(false)
	if p.Tail >= r.single && p.Tail != r.refusedAt {
		r.refused = 0 // it is another event, or may be
	}
	r.refused++
	r.refusedAt = p.Tail
	alone := p.Tail < r.single && p.Sent-p.Tail == 1
	switch {
	case alone && r.refused >= maxTries && closed.about(r.largest):
		r.refused, r.reason = 0, err
		r.window.Poison(p.Tail)
	case r.refused >= suspicion:
		r.single = max(r.single, p.Tried)
	}
}
