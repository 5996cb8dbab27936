// This file has what can be seen of the sink.

package redis

import (
	"strings"
	"sync"
	"time"

	"sluice/sinks"
)

// given is the batches that Publish was given and that are not acknowledged: one more than there
// are slots, since Publish may wait for a slot. Any goroutine may use it; the mutex is held for
// moments, once or twice for a batch.
type given struct {
	mu      sync.Mutex
	batches [slots + 1]struct {
		at     time.Time
		events int
	}
	first, n int // of batches, a ring
	events   int
}

// add notes a batch.
func (g *given) add(at time.Time, events int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &g.batches[(g.first+g.n)%len(g.batches)]
	b.at, b.events = at, events
	g.n++
	g.events += events
}

// drop takes the newest batch back, which Publish has given up.
func (g *given) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	g.events -= g.batches[(g.first+g.n)%len(g.batches)].events
}

// acknowledged notes that the oldest batch is.
func (g *given) acknowledged() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events -= g.batches[g.first].events
	g.first, g.n = (g.first+1)%len(g.batches), g.n-1
}

// pending returns how many events there are, and since when the oldest is; zero: there are none.
func (g *given) pending() (events int, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n > 0 {
		since = g.batches[g.first].at
	}
	return g.events, since
}

// Why events are dead-lettered.
const (
	notEncodable = "not encodable"    // Options.Body fails, as for data that is no JSON
	tooLarge     = "too large"        // Redis refuses it for its size, or ends the connection over it
	notAStream   = "not a stream"     // the key of its stream is something else
	exhaustedID  = "stream exhausted" // the last possible id of its stream is used
)

// DeadLetterReasons are the reasons in sinks.Status.DeadLettered.
var DeadLetterReasons = []string{notEncodable, tooLarge, notAStream, exhaustedID}

// reasonOfEntry returns the reason of an error of XADD that is the entry's own.
func reasonOfEntry(text string) string {
	switch {
	case strings.HasPrefix(text, wrongType):
		return notAStream
	case strings.Contains(text, exhausted):
		return exhaustedID
	}
	return tooLarge
}

// Status returns what the sink does. It implements sinks.Reporter.
func (s *Sink) Status() sinks.Status {
	st := s.figures.Status()
	st.Repeated, st.Undone, st.Excluded = s.repeated.Load(), s.undone.Load(), s.excluded.Load()
	var since time.Time
	if st.Pending, since = s.given.pending(); st.Pending > 0 {
		st.Oldest = time.Since(since)
	}
	return st
}

// waiting returns how many events the sink holds.
func (s *Sink) waiting() int {
	n, _ := s.given.pending()
	return n
}
