// This file counts values in buckets.

package sinks

import (
	"math"
	"slices"
	"sync/atomic"
)

// Buckets count values for a Histogram. Any goroutine may use them.
type Buckets struct {
	bounds []float64
	counts []atomic.Uint64
	sum    atomic.Uint64 // the bits of a float64
}

// NewBuckets returns empty buckets with these upper bounds, ascending.
func NewBuckets(bounds ...float64) *Buckets {
	return &Buckets{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Add counts a value. It allocates nothing.
func (b *Buckets) Add(v float64) {
	i, _ := slices.BinarySearch(b.bounds, v)
	b.counts[i].Add(1)
	for {
		sum := b.sum.Load()
		if b.sum.CompareAndSwap(sum, math.Float64bits(math.Float64frombits(sum)+v)) {
			return
		}
	}
}

// Histogram returns the counts as they stand. Its bounds must not be written to.
func (b *Buckets) Histogram() Histogram {
	h := Histogram{Bounds: b.bounds, Counts: make([]uint64, len(b.counts)), Sum: math.Float64frombits(b.sum.Load())}
	for i := range b.counts {
		h.Counts[i] = b.counts[i].Load()
	}
	return h
}
