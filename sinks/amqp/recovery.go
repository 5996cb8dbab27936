// This file distinguishes the end of an outage from a broker that fails again and again.

package amqp

import (
	"context"
	"time"

	"sluice/sinks/broker"
)

// recovery is an Outage that ends at once if the last one ended a while ago, and
// otherwise when the connection has lasted. A broker that lets a gateway in and hangs up
// at the next moment is asked more and more slowly, and gets a line a minute.
type recovery struct {
	broker.Outage
	out   bool
	ended time.Time
}

// Failed is Outage's.
func (r *recovery) Failed(err error) time.Duration {
	r.out = true
	return r.Outage.Failed(err)
}

// due reports whether an outage is over once a connection has lasted for a time.
func (r *recovery) due(lasted time.Duration) bool {
	return lasted >= steady || time.Since(r.ended) >= logEvery
}

// end notes that the outage, if there is one, is over.
func (r *recovery) end(attrs ...any) {
	if r.out {
		r.out, r.ended = false, time.Now()
		r.Over(attrs...)
	}
}

// up ends the outage when that is due, unless ctx ends before.
func (r *recovery) up(ctx context.Context) {
	if !r.due(0) {
		pause(ctx, steady)
	}
	if ctx.Err() == nil {
		r.end()
	}
}
