// This file shows tests of package engine_test what an engine has.

package engine

import (
	"iter"
	"time"

	"sluice/resume"
	"sluice/wire"
)

// Snapshots returns the shards and what would resume each of them now.
func (e *Engine) Snapshots() iter.Seq2[int, resume.Session] {
	return (&saver{shards: e.running.Load()}).snapshots
}

// Stopped has the engine find that its process was stopped.
func (e *Engine) Stopped() { e.running.Load().env.pulse.stops.Add(1) }

// NewQueue returns an IdentifyQueue by itself, with a full budget.
func NewQueue(concurrency int) IdentifyQueue {
	q := newIdentifyQueue(concurrency)
	q.setLimit(wire.SessionStartLimit{Total: 1000, Remaining: 1000, ResetAfter: 24 * time.Hour, MaxConcurrency: concurrency}, time.Now())
	q.onEmpty = func(time.Time) {}
	return q
}
