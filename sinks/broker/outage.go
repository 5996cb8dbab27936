// This file logs outages of a broker, and says how long to wait before the next try.

package broker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	firstWait = 100 * time.Millisecond
	longest   = 2 * time.Second
	logEvery  = time.Minute
	// logMost is how many outages are logged in a minute: a broker may come and go all the
	// time.
	logMost = 5
)

// Outage follows a broker's failures: it logs the first, one each minute after
// it, and the end. The zero value with Log and Broker set is ready. It belongs to one
// goroutine.
type Outage struct {
	Log    *slog.Logger
	Broker string // its name as its makers write it, such as "RabbitMQ"
	// Commands says that bots' commands are read, and not events written.
	Commands bool
	// Tried is when what fails was begun, if that is known: a broker that does not answer has been
	// unavailable since then, and not since the timeout.
	Tried time.Time
	// Availability, if it is not nil, is kept up.
	Availability *Availability
	// Waiting, if it is not nil, returns how many events wait: the line about the end has the most.
	Waiting func() int

	since  time.Time // of the first failure; zero: there is no outage
	logged time.Time // last; zero: this outage is not
	tries  int
	most   int // of Waiting in this outage

	minute  time.Time // when it began
	outages int       // that were logged in it
	skipped int       // outages since the last line that were not logged
}

// Failed notes a failure and returns how long to wait before the next try: 0.1 s
// at first, twice as long each time, 2 s at most, less up to a half by chance, so
// that processes which lost a broker together do not come back together.
func (o *Outage) Failed(err error) time.Duration {
	if errors.Is(err, context.Canceled) {
		return firstWait // the sink is closed: nothing is known of the broker
	}
	now := time.Now()
	if o.since.IsZero() {
		o.since, o.tries, o.most, o.logged = now, 0, 0, time.Time{}
		if !o.Tried.IsZero() && o.Tried.Before(now) {
			o.since = o.Tried
		}
	}
	o.Wait()
	if o.Availability != nil {
		o.Availability.Lost(o.since, err)
	}
	if now.Sub(o.minute) >= logEvery {
		o.minute, o.outages = now, 0
	}
	if o.logged.IsZero() && o.outages < logMost || !o.logged.IsZero() && now.Sub(o.logged) >= logEvery {
		if o.logged.IsZero() {
			o.outages++
		}
		o.logged = now
		attrs := []any{"error", err, "for", now.Sub(o.since).Round(time.Second)}
		if o.skipped > 0 {
			attrs = append(attrs, "outages_not_logged", o.skipped)
			o.skipped = 0
		}
		if o.Commands {
			o.Log.Warn(o.Broker+" unavailable; reading no commands", attrs...)
		} else {
			o.Log.Warn(o.Broker+" unavailable; buffering events", attrs...)
		}
	}
	wait := min(firstWait<<min(o.tries, 10), longest)
	o.tries++
	return wait/2 + rand.N(wait/2)
}

// Wait notes how many events wait, before some are acknowledged.
func (o *Outage) Wait() {
	if o.Waiting != nil && !o.since.IsZero() {
		o.most = max(o.most, o.Waiting())
	}
}

// Progress notes that something got through, though there is no end yet: the waits begin
// anew.
func (o *Outage) Progress() { o.tries = 0 }

// Over notes that the broker is back. attrs, as slog's, are added to what
// is logged.
func (o *Outage) Over(attrs ...any) {
	if o.since.IsZero() {
		return
	}
	defer func() { o.since = time.Time{} }()
	o.Wait()
	if o.Availability != nil {
		o.Availability.Back()
	}
	if o.logged.IsZero() {
		o.skipped++
		return
	}
	if o.Waiting != nil {
		attrs = append([]any{"waiting", o.most}, attrs...)
	}
	attrs = append([]any{"after", time.Since(o.since).Round(time.Millisecond)}, attrs...)
	if o.Commands {
		o.Log.Info(o.Broker+" available again; reading commands", attrs...)
	} else {
		o.Log.Info(o.Broker+" available again", attrs...)
	}
}
