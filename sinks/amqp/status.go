// This file has what can be seen of the sink.

package amqp

import (
	"errors"
	"time"

	"sluice/sinks"
)

// Why events are dead-lettered.
const (
	notEncodable = "not encodable"        // Options.Body fails, as for data that is no JSON
	longKey      = "routing key too long" // AMQP allows 255 bytes
	longHeaders  = "headers too large"    // for a frame
	tooLarge     = "too large"            // for the broker
)

// DeadLetterReasons are the reasons in sinks.Status.DeadLettered.
var DeadLetterReasons = []string{notEncodable, longKey, longHeaders, tooLarge}

// deadLetterError is why an event is dead-lettered, with the reason that it counts as.
type deadLetterError struct {
	reason string
	error
}

func (e *deadLetterError) Unwrap() error { return e.error }

// reasonOf returns the reason that an error of the encoder, or the broker's, counts as.
func reasonOf(err error) string {
	var known *deadLetterError
	switch {
	case errors.As(err, &known):
		return known.reason
	case errors.As(err, new(*closedError)):
		return tooLarge
	}
	return notEncodable
}

// Status returns what the sink does. It implements sinks.Reporter.
func (s *Sink) Status() sinks.Status {
	st := s.figures.Status()
	w := s.window.Stats()
	st.Published, st.Nacked, st.Unroutable = w.Acknowledged, w.Refused, s.unroutable.Load()
	var since time.Time
	if _, st.Pending, since = s.window.Oldest(); st.Pending > 0 {
		st.Oldest = time.Since(since)
	}
	return st
}

// waiting returns how many events the sink holds.
func (s *Sink) waiting() int {
	_, n, _ := s.window.Oldest()
	return n
}

// lost notes that the broker takes no events since a time, and why.
func (r *runner) lost(since time.Time, err error) {
	r.down, r.downAt = true, r.window.Look(true).Tail
	r.figures.Lost(since, err)
}

// back notes, on a link that is good, whether the broker takes events again: it has confirmed one, or
// there was none for a while.
func (r *runner) back(tail uint64, lasted bool) {
	if r.down && (tail > r.downAt || lasted) {
		r.down = false
		r.figures.Back()
	}
}

// silent returns since when nothing of what is in flight on a link was confirmed, which has failed
// now; without any it is now.
func (r *runner) silent(began time.Time) time.Time {
	p := r.window.Look(false)
	if p.Sent == p.Tail {
		return time.Now()
	}
	if _, _, since := r.window.Oldest(); since.After(began) {
		return since
	}
	return began
}
