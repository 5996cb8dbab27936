// This file tests the buckets.

package sinks_test

import (
	"fmt"
	"sync"
	"testing"

	"sluice/sinks"
)

// A value that is a bound is in its bucket, and what is above the last has one of its own.
func TestBuckets(t *testing.T) {
	b := sinks.NewBuckets(1, 2, 4)
	for _, v := range []float64{0, 1, 1.5, 2, 2.5, 4, 4.5, 100} {
		b.Add(v)
	}
	if got := fmt.Sprint(b.Histogram()); got != "{[1 2 4] [2 2 2 2] 115.5}" {
		t.Errorf("the histogram is %s", got)
	}
	if n := testing.AllocsPerRun(100, func() { b.Add(3) }); n > 0 {
		t.Errorf("%v allocations for a value", n)
	}
}

// Values of several goroutines are all counted.
func TestBucketsTogether(t *testing.T) {
	b := sinks.NewBuckets(10)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				b.Add(0.5)
			}
		})
	}
	all.Wait()
	if h := b.Histogram(); h.Counts[0] != 8000 || h.Counts[1] != 0 || h.Sum != 4000 {
		t.Errorf("the histogram is %v", h)
	}
}
