// This file has what can be seen of a Keeper.

package resume

import (
	"strings"
	"sync"
	"time"
)

// KeeperStatus is what a Keeper does, as of one moment.
type KeeperStatus struct {
	Available bool      // the store took all that it was last asked to
	Error     string    // why not; without credentials
	Failing   time.Time // since when not; zero: it does, or was not asked yet
	Saved     time.Time // when something was last written; zero: nothing was
	// Current is when the store last had all that there was to keep: after it was written, or found to be
	// unchanged. What would be redelivered or lost after a crash is not older.
	Current  time.Time
	Pending  int   // sessions that are not stored as they are now, as far as the last Save was given them
	Failures int64 // of loading and saving
}

// watched is a KeeperStatus that any goroutine may look at.
type watched struct {
	mu sync.Mutex
	st KeeperStatus
}

// maxError bounds the text of an error, which may be a server's.
const maxError = 500

// done notes that the store has all as of now; wrote: some of it was written now.
func (w *watched) done(now time.Time, wrote bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.st.Available, w.st.Error, w.st.Failing = true, "", time.Time{}
	w.st.Current, w.st.Pending = now, 0
	if wrote {
		w.st.Saved = now
	}
}

// failed notes that the store did not take so many sessions.
func (w *watched) failed(now time.Time, pending int, err error) {
	text := err.Error()
	if len(text) > maxError {
		text = text[:maxError] + "…"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.st.Failing.IsZero() {
		w.st.Failing = now
	}
	w.st.Available, w.st.Error = false, strings.ToValidUTF8(text, "\ufffd")
	w.st.Pending = pending
	w.st.Failures++
}

// Status returns what the Keeper does. Any goroutine may call it.
func (k *Keeper) Status() KeeperStatus {
	k.watched.mu.Lock()
	defer k.watched.mu.Unlock()
	return k.watched.st
}
