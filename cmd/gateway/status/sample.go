// This file measures rates and the lag: what has been counted now is compared with samples.

package status

import (
	"context"
	"slices"
	"sync"
	"time"

	"sluice/engine"
	"sluice/sinks"
)

const (
	sampleEvery = 2 * time.Second
	rateSpan    = 10 * time.Second
	lagSpan     = time.Minute
	// minSpan is the least that a rate is measured over.
	minSpan = time.Second / 2
)

// sample is what was counted at a moment.
type sample struct {
	at     time.Time
	events int64
	lag    sinks.Histogram
	shards shardCounts // until it is older than rateSpan
}

// shardCounts are the events of shards, in the order of their ids.
type shardCounts struct {
	ids    []int
	events []int64
}

// sampler has the samples of the last minute.
type sampler struct {
	mu   sync.Mutex
	list []sample // oldest first
}

// Run measures the rates and the lag until ctx is done. Without it they are 0.
func (s *Source) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s.sample(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample takes a sample.
func (s *Source) sample(now time.Time) {
	e := s.Engine.Status()
	shards, release := s.shards()
	defer release()
	s.samples.add(now, e, shards)
}

func (p *sampler) add(now time.Time, e engine.Status, shards []engine.ShardStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var counts shardCounts
	for i := range p.list { // one older than rateSpan stays, to measure from; what is older is used again
		if old := &p.list[i].shards; i+1 < len(p.list) && now.Sub(p.list[i+1].at) >= rateSpan && old.ids != nil {
			counts, *old = shardCounts{old.ids[:0], old.events[:0]}, shardCounts{}
		}
	}
	for i := range shards {
		counts.ids, counts.events = append(counts.ids, shards[i].ID), append(counts.events, shards[i].Events)
	}
	e.Lag.Counts = slices.Clone(e.Lag.Counts)
	for len(p.list) > 1 && now.Sub(p.list[1].at) >= lagSpan {
		p.list = slices.Delete(p.list, 0, 1)
	}
	p.list = append(p.list, sample{now, e.Counts.Events, e.Lag, counts})
}

// before returns the last sample that is as old as the span, or the oldest; nil: there is none that
// anything can be measured from. The lock is held.
func (p *sampler) before(now time.Time, span time.Duration) *sample {
	for i := len(p.list) - 1; i >= 0; i-- {
		if age := now.Sub(p.list[i].at); age >= span || i == 0 && age >= minSpan {
			return &p.list[i]
		}
	}
	return nil
}

// rate returns the events a second, of so many by now.
func (p *sampler) rate(now time.Time, events int64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.before(now, rateSpan)
	if from == nil {
		return 0
	}
	return round(float64(events-from.events)/now.Sub(from.at).Seconds(), 1)
}

// lag returns the lag of the last minute, whose end has the histogram.
func (p *sampler) lag(now time.Time, to sinks.Histogram) Lag {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.before(now, lagSpan)
	if from == nil || len(from.lag.Counts) != len(to.Counts) {
		return Lag{}
	}
	counts := make([]uint64, len(to.Counts))
	for i, n := range to.Counts {
		counts[i] = n - min(n, from.lag.Counts[i])
	}
	return Lag{P50: quantile(to.Bounds, counts, 0.5), P99: quantile(to.Bounds, counts, 0.99), Max: quantile(to.Bounds, counts, 1)}
}

// quantile returns the value that the share q of the counted ones do not exceed, as
// histogram_quantile of Prometheus has it; 0: nothing was counted.
func quantile(bounds []float64, counts []uint64, q float64) float64 {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	rank, below, lower := q*float64(total), 0.0, 0.0
	for i, n := range counts {
		if i == len(bounds) {
			break
		}
		if n > 0 && below+float64(n) >= rank {
			return round(lower+(bounds[i]-lower)*(rank-below)/float64(n), 5)
		}
		below += float64(n)
		lower = bounds[i]
	}
	if total == 0 {
		return 0
	}
	return lower // the last bound: above it nothing is known
}

// shardRates are the rates of shards, which are asked for in the order of their ids.
type shardRates struct {
	from  shardCounts
	next  int
	spent float64 // seconds
}

func (p *sampler) rates(now time.Time) shardRates {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.before(now, rateSpan)
	if from == nil {
		return shardRates{}
	}
	// Its slices are used again for another sample.
	return shardRates{from: shardCounts{slices.Clone(from.shards.ids), slices.Clone(from.shards.events)}, spent: now.Sub(from.at).Seconds()}
}

// of returns the rate of a shard that has had so many events.
func (r *shardRates) of(id int, events int64) float64 {
	for r.next < len(r.from.ids) && r.from.ids[r.next] < id {
		r.next++
	}
	before := int64(0) // it was added since
	if r.next < len(r.from.ids) && r.from.ids[r.next] == id {
		before = r.from.events[r.next]
	}
	if before > events { // it was removed and added again
		before = 0
	}
	if r.spent == 0 {
		return 0
	}
	return float64(events-before) / r.spent
}
