// This file has what can be seen of the sink.

package stdio

import (
	"errors"
	"time"

	"sluice/sinks"
)

// stalled is how long a write may last before its reader counts as one that takes nothing.
const stalled = 5 * time.Second

var errStalled = errors.New("the reader of standard output does not read")

// Status returns what the sink does. It implements sinks.Reporter. No event is dead-lettered: a
// write that fails ends the sink.
func (s *Sink) Status() sinks.Status {
	st := s.figures.Status()
	if st.Pending = int(s.pending.Load()); st.Pending > 0 {
		st.Oldest = time.Since(time.Unix(0, s.given.Load()))
	}
	began := s.writing.Load()
	if lasts := time.Since(time.Unix(0, began)); began != 0 && lasts >= stalled {
		st.Available, st.Since, st.Error = false, time.Unix(0, began), errStalled.Error()
		st.Unavailable += lasts
	}
	return st
}
