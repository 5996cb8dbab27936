// This file tests the moments at which events come.

package sim

import (
	"io"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The gaps between the events of a shard have the mean and the variance of an exponential distribution, those between the
// events of two shards together as well, so that they know nothing of each other; each event is a write of its own.
func TestPoisson(t *testing.T) {
	const rate, events = 250, 5000
	rec, err := Record(events, compressZstd)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var slow atomic.Bool
		var all []time.Time
		of := make([][]time.Time, 2)
		d, srv := memServer(t, Options{Shards: 2, MaxConcurrency: 2, Rate: rate, Poisson: true, Hold: true, Recording: rec, OnWrite: func(shard int, seqs []int64) {
			if len(seqs) != 1 {
				t.Errorf("events %v in one write", seqs)
			}
			if slow.Load() { // so that many are due
				time.Sleep(50 * time.Millisecond)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if seqs[0] > 1 { // not READY
				of[shard], all = append(of[shard], time.Now()), append(all, time.Now())
			}
		}})
		for shard := range 2 {
			c, _ := d.start(t, zstdQuery, shard, 2, allIntents)
			go io.Copy(io.Discard, c.nc)
		}
		srv.Play()
		time.Sleep(events / rate * 3 / 4 * time.Second)
		slow.Store(true)
		time.Sleep(time.Second)
		srv.Silence()
		for _, tt := range []struct {
			name string
			at   []time.Time
			rate float64
		}{{"shard 0", of[0], rate}, {"shard 1", of[1], rate}, {"both", all, 2 * rate}} {
			var sum, squares float64
			for i := range tt.at[1:] {
				gap := tt.at[i+1].Sub(tt.at[i]).Seconds() * tt.rate
				sum, squares = sum+gap, squares+gap*gap
			}
			n := float64(len(tt.at) - 1)
			mean := sum / n
			if variance := squares/n - mean*mean; math.Abs(mean-1) > 0.05 || math.Abs(variance-1) > 0.15 {
				t.Errorf("%s: %.0f gaps, of mean %.3f and variance %.3f in means of the rate", tt.name, n, mean, variance)
			}
		}
		srv.Close()
	})
}
