// This file has what every sink counts for its sinks.Status.

package broker

import (
	"slices"
	"sync/atomic"

	"sluice/sinks"
)

// Figures are what a sink is seen by. Any goroutine may use them.
type Figures struct {
	Availability
	Connections atomic.Int64
	Published   atomic.Int64

	batches, retried, resent atomic.Int64
	sizes                    *sinks.Buckets

	reasons []string
	dead    []atomic.Int64 // by reason
	lost    atomic.Int64
	put     func(ev *sinks.Event, reason error) error
}

// NewFigures returns the figures of a sink that dead-letters events for these reasons, by put; nil:
// they are dropped.
func NewFigures(reasons []string, put func(ev *sinks.Event, reason error) error) *Figures {
	return &Figures{
		sizes:   sinks.NewBuckets(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
		reasons: reasons, dead: make([]atomic.Int64, len(reasons)), put: put,
	}
}

// Batch counts a batch of n events that is written, of which so many were sent before.
func (f *Figures) Batch(n, again int) {
	f.batches.Add(1)
	f.sizes.Add(float64(n))
	if again > 0 {
		f.retried.Add(1)
		f.resent.Add(int64(again))
	}
}

// DeadLetter gives up an event for one of the reasons, of which err says more. It returns how many
// that were in all.
func (f *Figures) DeadLetter(ev *sinks.Event, reason string, err error) (all int64) {
	if f.put == nil || f.put(ev, err) != nil {
		f.lost.Add(1)
	}
	f.dead[slices.Index(f.reasons, reason)].Add(1)
	for i := range f.dead {
		all += f.dead[i].Load()
	}
	return all
}

// Status returns what the figures know of the sink: not what it holds.
func (f *Figures) Status() sinks.Status {
	st := sinks.Status{
		Connections: f.Connections.Load(), Published: f.Published.Load(),
		Batches: f.batches.Load(), Retried: f.retried.Load(), Resent: f.resent.Load(),
		BatchSizes: f.sizes.Histogram(), Lost: f.lost.Load(),
		DeadLettered: make(map[string]int64, len(f.reasons)),
	}
	for i, reason := range f.reasons {
		st.DeadLettered[reason] = f.dead[i].Load()
	}
	f.Availability.Report(&st)
	return st
}
