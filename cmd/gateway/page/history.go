// This file keeps the last fifteen minutes.

package page

import (
	"math"
	"strconv"

	"sluice/cmd/gateway/status"
)

const (
	historyStep = 5 // periods
	historySize = 15 * 60 / historyStep
)

// sample is a moment of the history.
type sample struct {
	at       int64 // Unix time in seconds
	rate     float64
	p50, p99 float64
	lost     int64 // events lost and gaps, since the start
	flags    int
}

const (
	sampleUnavailable = 1 << iota // the broker
	sampleNotReady                // a shard, or more
)

func sampleOf(s *status.Status) sample {
	n := sample{at: s.At.Unix(), rate: s.Events.Rate, p50: s.Events.Lag.P50, p99: s.Events.Lag.P99, lost: s.Events.Lost + s.Events.Gaps}
	if !s.Broker.Available {
		n.flags |= sampleUnavailable
	}
	if s.Shards.Run == 0 || s.Shards.Ready < s.Shards.Run {
		n.flags |= sampleNotReady
	}
	return n
}

// history is a ring of samples.
type history struct {
	samples [historySize]sample
	next    uint64 // number of the next
}

func (h *history) add(s sample) {
	h.samples[h.next%historySize] = s
	h.next++
}

// between appends the samples from number n to end as an array, as far as they are kept.
func (h *history) between(dst []byte, n, end uint64) []byte {
	if h.next > historySize {
		n = max(n, h.next-historySize)
	}
	dst = append(dst, '[')
	for i := n; i < end; i++ {
		if i > n {
			dst = append(dst, ',')
		}
		dst = h.samples[i%historySize].append(dst)
	}
	return append(dst, ']')
}

func (s sample) append(dst []byte) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, s.at, 10)
	dst = append(dst, ',')
	dst = appendFloat(dst, s.rate, 10)
	dst = append(dst, ',')
	dst = appendFloat(dst, s.p50, 1e6)
	dst = append(dst, ',')
	dst = appendFloat(dst, s.p99, 1e6)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, s.lost, 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(s.flags), 10)
	return append(dst, ']')
}

// appendFloat appends a number, rounded to a part of one; what is no number in JSON is 0.
func appendFloat(dst []byte, f, part float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	return strconv.AppendFloat(dst, math.Round(f*part)/part, 'f', -1, 64)
}
