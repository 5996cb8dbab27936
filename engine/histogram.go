// This file counts durations in buckets.

package engine

import (
	"math"
	"sync/atomic"
	"time"

	"sluice/sinks"
)

// Upper bounds of the buckets, ascending.
var (
	lagBounds = []time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
		2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
	}
	roundTripBounds = []time.Duration{
		5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
	}
	latenessBounds = []time.Duration{
		time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
		250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	}
	// Commands wait for a turn within Discord's limits, or for a shard to be ready.
	waitedBounds = []time.Duration{
		10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second,
		30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
	}
)

// histogram counts durations. Any goroutine may use it.
type histogram struct {
	bounds []time.Duration
	counts []atomic.Uint64 // one more than bounds
	sum    atomic.Uint64   // of seconds, as the bits of a float64
}

func newHistogram(bounds []time.Duration) *histogram {
	return &histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// observe counts n of the duration d. One below zero, which a clock may come to, is zero.
func (h *histogram) observe(d time.Duration, n int) {
	if n == 0 {
		return
	}
	d = max(d, 0)
	i := 0
	for i < len(h.bounds) && d > h.bounds[i] {
		i++
	}
	h.counts[i].Add(uint64(n))
	for {
		old := h.sum.Load()
		sum := math.Float64frombits(old) + d.Seconds()*float64(n)
		if h.sum.CompareAndSwap(old, math.Float64bits(sum)) {
			return
		}
	}
}

// status returns the counts as they stand, in seconds.
func (h *histogram) status() sinks.Histogram {
	t := sinks.Histogram{Bounds: make([]float64, len(h.bounds)), Counts: make([]uint64, len(h.counts))}
	for i, d := range h.bounds {
		t.Bounds[i] = d.Seconds()
	}
	for i := range h.counts {
		t.Counts[i] = h.counts[i].Load()
	}
	t.Sum = math.Float64frombits(h.sum.Load())
	return t
}
