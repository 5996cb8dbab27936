package status

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/sinks"
)

// Rates are those of the last ten seconds, the lag that of the last minute.
func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &state{shards: make([]engine.ShardStatus, 2)}
		e.shards[1].ID = 7
		s := newSource(t, e)
		counts := make([]uint64, 3)
		e.engine.Lag = sinks.Histogram{Bounds: []float64{0.01, 1}, Counts: counts}
		pass := func(d time.Duration, perSecond int64, bucket int) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(time.Second)
				e.shards[1].Events += perSecond
				e.engine.Counts.Events += perSecond
				counts[bucket] += uint64(perSecond)
				s.sampleAt(sampleEvery)
			}
		}
		if d := s.Status(); d.Events.Rate != 0 || d.Events.Lag != (Lag{}) {
			t.Errorf("without a sample: %+v", d.Events)
		}
		pass(5*time.Minute, 100, 0)
		check := func(what string, rate float64, lag Lag) {
			t.Helper()
			d := s.Status()
			if d.Events.Rate != rate || d.Events.Lag != lag || d.Shards.List[0].Rate != 0 || d.Shards.List[1].Rate != rate {
				t.Errorf("%s: rate %v, %v, %v; lag %v; want %v, %v", what, d.Events.Rate, d.Shards.List[0].Rate, d.Shards.List[1].Rate, d.Events.Lag, rate, lag)
			}
		}
		check("steady", 100, Lag{P50: 0.005, P99: 0.0099, Max: 0.01})
		pass(14*time.Second, 0, 0)
		check("quiet", 0, Lag{P50: 0.005, P99: 0.0099, Max: 0.01})
		pass(70*time.Second, 0, 0)
		check("long quiet", 0, Lag{})
		pass(70*time.Second, 10, 1)
		check("slow", 10, Lag{P50: 0.505, P99: 0.9901, Max: 1})
		pass(70*time.Second, 10, 2)
		check("slower than the last bound", 10, Lag{P50: 1, P99: 1, Max: 1})
		if n := len(s.samples.list); n > int(lagSpan/sampleEvery)+2 {
			t.Errorf("%d samples are kept", n)
		}
		kept := 0
		for _, x := range s.samples.list {
			if x.shards.ids != nil {
				kept++
			}
		}
		if kept > int(rateSpan/sampleEvery)+2 {
			t.Errorf("the shards of %d samples are kept", kept)
		}

		e.shards = []engine.ShardStatus{{ID: 1, Counts: engine.Counts{Events: 3}}, {ID: 7, Counts: engine.Counts{Events: 30}}}
		list := s.Shards()
		if list[0].Rate <= 0 || list[1].Rate <= list[0].Rate {
			t.Errorf("a shard that is new, and one that was added again: %+v", list)
		}
	})
}

// sampleAt takes a sample if the last one is so old.
func (s *Source) sampleAt(every time.Duration) {
	if n := len(s.samples.list); n == 0 || time.Since(s.samples.list[n-1].at) >= every {
		s.sample(time.Now())
	}
}
