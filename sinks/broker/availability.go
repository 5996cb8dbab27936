// This file follows whether a broker takes events.

package broker

import (
	"strings"
	"sync"
	"time"

	"sluice/sinks"
)

// Availability is whether a broker takes events, as far as its sink has noticed. The zero value is
// that of one which was not asked yet: it counts as unavailable, for no time. Any goroutine may use it.
type Availability struct {
	mu      sync.Mutex
	up      bool   // it is reached, and takes what it is sent
	blocked string // why it asks that nothing be sent; "": it does not
	err     string // why it is not up
	since   time.Time
	before  time.Duration // in which it was unavailable, until since
}

// maxError bounds the text of an error, which may be a server's.
const maxError = 500

// Lost notes that the broker takes nothing since a time, unless that is known already, and why.
func (a *Availability) Lost(since time.Time, err error) {
	text := err.Error()
	if len(text) > maxError {
		text = text[:maxError] + "…"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = strings.ToValidUTF8(text, "\ufffd")
	a.set(since, false, a.blocked)
}

// Back notes that the broker takes what it is sent.
func (a *Availability) Back() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = ""
	a.set(time.Now(), true, a.blocked)
}

// Block notes that the broker asks that nothing be sent, and why; "": it does not any more.
func (a *Availability) Block(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(time.Now(), a.up, reason)
}

// set makes a change as of a time, with mu held.
func (a *Availability) set(at time.Time, up bool, blocked string) {
	was := a.up && a.blocked == ""
	a.up, a.blocked = up, blocked
	if is := up && blocked == ""; is == was && !a.since.IsZero() {
		return
	}
	if at.Before(a.since) {
		at = a.since
	}
	if !was && !a.since.IsZero() {
		a.before += at.Sub(a.since)
	}
	a.since = at
}

// Report fills in the fields of st that it is about.
func (a *Availability) Report(st *sinks.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st.Available = a.up && a.blocked == ""
	st.Blocked = a.blocked != ""
	st.Since, st.Unavailable, st.Error = a.since, a.before, a.err
	if !st.Available && !a.since.IsZero() {
		st.Unavailable += time.Since(a.since)
	}
	if a.up && st.Blocked {
		st.Error = "blocked: " + a.blocked
	}
}
