// This file shows tests of package engine_test what an engine has.

package engine

import (
	"iter"

	"sluice/resume"
)

// Snapshots returns the shards and what would resume each of them now.
func (e *Engine) Snapshots() iter.Seq2[int, resume.Session] {
	return (&saver{shards: e.running.Load()}).snapshots
}

// Stopped has the engine find that its process was stopped.
func (e *Engine) Stopped() { e.running.Load().env.pulse.stops.Add(1) }
