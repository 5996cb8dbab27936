// This file has what can be seen of the spool.

package spool

import (
	"strings"
	"sync"
	"time"

	"sluice/sinks"
)

// Status is what the disk of a Sink holds, as of one moment.
type Status struct {
	Spooling bool          // new events go to the disk, and what is there is not all delivered
	Bytes    int64         // of the segments
	MaxBytes int64         // Options.MaxBytes
	Events   int64         // on the disk and not delivered; without those that an earlier process has left, which are not counted before they are read
	Oldest   time.Duration // since the oldest of all those came; of those of an earlier process: since their segment was last written. 0: there is none
	Spooled  int64         // events that were written to the disk, in all
	Failures int64         // writes that have failed, or that Options.MaxBytes did not let
	Failing  time.Time     // since when the disk takes nothing; zero: it does
	Error    string        // why it does not
	Damaged  int64         // segments whose rest could not be read: what was in it is lost to the consumers
}

// seen is what Status and Spool look at. It has a mutex of its own: that of the Sink is held while the
// disk is written.
type seen struct {
	mu     sync.Mutex
	spool  Status    // without Oldest
	oldest time.Time // on the disk; zero: none
	memory int       // events that are not on the disk
	since  time.Time // when the oldest of them came
}

// Spool returns what the disk holds. Any goroutine may call it.
func (s *Sink) Spool() Status {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	st := s.seen.spool
	st.Oldest = age(s.seen.oldest)
	return st
}

// Status returns what the inner sink does, if it is a sinks.Reporter; what is pending includes what
// the spool holds. It implements sinks.Reporter.
func (s *Sink) Status() sinks.Status {
	var st sinks.Status
	if r, ok := s.inner.(sinks.Reporter); ok {
		st = r.Status()
	}
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	st.Pending = s.seen.memory + int(s.seen.spool.Events)
	st.Oldest = max(age(s.seen.oldest), age(s.seen.since))
	return st
}

// age returns how long ago a time is; of the zero time it is 0.
func age(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return time.Since(at)
}

// note leaves for others what there is to be seen. s.mu is held.
func (s *Sink) note() {
	st := Status{
		Spooling: s.spooling, Bytes: s.log.total, MaxBytes: s.o.MaxBytes, Events: s.ages.events, Spooled: s.spooled,
		Failures: s.failures, Failing: s.failing, Damaged: s.cursor.damaged,
	}
	if !st.Failing.IsZero() {
		st.Error = s.failure
	}
	var oldest, since time.Time
	switch {
	case !s.spooling && len(s.queue) > 0:
		since = s.queue[0].at
	case s.spooling && len(s.log.list) > 0 && s.log.list[0].left:
		oldest = s.log.list[0].written
	case s.spooling && len(s.ages.list) > 0:
		oldest = s.ages.list[0].at
	}
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	s.seen.spool, s.seen.oldest, s.seen.memory, s.seen.since = st, oldest, s.inMemory, since
}

// maxError bounds the text of an error.
const maxError = 500

// fails notes why the disk takes nothing.
func (s *Sink) fails(err error) {
	s.failures++
	s.failure = err.Error()
	if len(s.failure) > maxError {
		s.failure = s.failure[:maxError] + "…"
	}
	s.failure = strings.ToValidUTF8(s.failure, "\ufffd")
}

// ages are when the events on the disk came: of those that came within a second, or within a hundredth
// of the time since the oldest, it has the first, so that they stay few however long an outage lasts.
type ages struct {
	list   []came // the oldest first
	events int64
}

type came struct {
	at     time.Time
	events int64
}

// add notes events that came later than all others.
func (a *ages) add(at time.Time, events int) {
	a.events += int64(events)
	if last := len(a.list) - 1; last >= 0 && at.Sub(a.list[last].at) < max(time.Second, at.Sub(a.list[0].at)/100) {
		a.list[last].events += int64(events)
		return
	}
	a.list = append(a.list, came{at, int64(events)})
}

// remove notes that the oldest events are delivered.
func (a *ages) remove(events int) {
	for left := int64(events); left > 0 && len(a.list) > 0; {
		n := min(left, a.list[0].events)
		left -= n
		a.events -= n
		if a.list[0].events -= n; a.list[0].events == 0 {
			a.list = a.list[1:]
		}
	}
}
