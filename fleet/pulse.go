// This file is a member's own time since it was last confirmed.

package fleet

import (
	"sync/atomic"
	"time"
)

// pulse is when the membership was last confirmed. Any goroutine may ask it.
type pulse struct {
	lasts time.Duration
	base  time.Time
	until atomic.Int64 // since base, on the monotonic clock
}

func newPulse(lasts time.Duration) *pulse { return &pulse{lasts: lasts, base: time.Now()} }

// confirmed notes that a beat which was sent at the time has been confirmed. It counts from the
// sending: the others may have seen it as early as that.
func (p *pulse) confirmed(sent time.Time) { p.until.Store(int64(sent.Sub(p.base) + p.lasts)) }

// forget ends the trust.
func (p *pulse) forget() { p.until.Store(0) }

func (p *pulse) trusted() bool { return int64(time.Since(p.base)) < p.until.Load() }
