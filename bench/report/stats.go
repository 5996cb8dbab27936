// This file says what is taken from the runs of a subject and how repetitions
// become one figure.

package report

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// A spread is what repetitions gave. Runs with a Failure, and runs that do not
// know the figure, are not in it. Without any, n is 0 and the rest not a number.
type spread struct {
	n             int
	min, mid, max float64
}

// spreadOf returns the least, the median and the largest of what of returns.
func spreadOf(runs []Run, of func(*Run) float64) spread {
	var values []float64
	for i := range runs {
		if runs[i].Failure != "" {
			continue
		}
		if v := of(&runs[i]); sane(v) {
			values = append(values, v)
		}
	}
	n := len(values)
	if n == 0 {
		nan := math.NaN()
		return spread{0, nan, nan, nan}
	}
	slices.Sort(values)
	mid := values[n/2]
	if n%2 == 0 {
		mid = (values[n/2-1] + mid) / 2
	}
	return spread{n, values[0], mid, values[n-1]}
}

// A measure is one thing known of a run.
type measure struct {
	name   string
	unit   unit
	better int                // -1: less is better, 1: more is; 0: nothing is said
	of     func(*Run) float64 // not a number where it is not known
	worst  bool               // repetitions become their largest, not their median
}

// value is the one figure of the repetitions.
func (m *measure) value(s spread) float64 {
	if m.worst {
		return s.max
	}
	return s.mid
}

// The measures that every scenario has.
var (
	eventRate = measure{name: "events/s", unit: number, better: 1, of: func(r *Run) float64 {
		return quotient(float64(r.Events), r.Seconds)
	}}
	cpuPerEvent = measure{name: "CPU µs/event", unit: micros, better: -1, of: func(r *Run) float64 {
		return quotient(r.User+r.System, float64(r.Events))
	}}
	cpuShare = measure{name: "CPU", unit: share, better: -1, of: func(r *Run) float64 {
		return quotient(r.User+r.System, r.Seconds)
	}}
	allocsPerEvent = measure{name: "allocs/event", unit: number, better: -1, of: func(r *Run) float64 {
		if r.Allocs < 0 {
			return math.NaN()
		}
		return quotient(float64(r.Allocs), float64(r.Events))
	}}
	rss        = measure{name: "RSS", unit: size, better: -1, of: func(r *Run) float64 { return above(r.RSS, 0) }}
	peakRSS    = measure{name: "peak RSS", unit: size, better: -1, of: func(r *Run) float64 { return above(r.MaxRSS, 0) }}
	heap       = measure{name: "live heap", unit: size, better: -1, of: func(r *Run) float64 { return above(r.Heap, -1) }}
	threads    = measure{name: "threads", unit: number, of: func(r *Run) float64 { return above(int64(r.Threads), 0) }}
	goroutines = measure{name: "goroutines", unit: number, of: func(r *Run) float64 { return above(int64(r.Goroutines), -1) }}
	p50        = measure{name: "p50", unit: seconds, better: -1, of: latency(func(l *Latency) float64 { return l.P50 })}
	p90        = measure{name: "p90", unit: seconds, better: -1, of: latency(func(l *Latency) float64 { return l.P90 })}
	p99        = measure{name: "p99", unit: seconds, better: -1, of: latency(func(l *Latency) float64 { return l.P99 })}
	p999       = measure{name: "p99.9", unit: seconds, better: -1, of: latency(func(l *Latency) float64 { return l.P999 })}
	latencyMax = measure{name: "max", unit: seconds, better: -1, of: latency(func(l *Latency) float64 { return l.Max }), worst: true}
)

// latency returns what of takes from a run in which events were timed.
func latency(of func(*Latency) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Latency.Count <= 0 {
			return math.NaN()
		}
		return of(&r.Latency)
	}
}

// figure returns the measure of one of Run.Figures.
func figure(name string) measure {
	return measure{name: strings.ReplaceAll(printable(name), "_", " "), unit: unitOf(name), of: func(r *Run) float64 {
		if v, ok := r.Figures[name]; ok {
			return v
		}
		return math.NaN()
	}}
}

// figures returns the measures of all Figures of subjects, by name.
func figures(subjects []Subject) []measure {
	var names []string
	for _, s := range subjects {
		for _, run := range s.Runs {
			if run.Failure != "" {
				continue
			}
			for name := range run.Figures {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	var list []measure
	for _, name := range slices.Compact(names) {
		list = append(list, figure(name))
	}
	return list
}

// quotient is a/b, or not a number where b counts nothing.
func quotient(a, b float64) float64 {
	if b <= 0 {
		return math.NaN()
	}
	return a / b
}

// above is v, or not a number where v is not above least.
func above(v, least int64) float64 {
	if v <= least {
		return math.NaN()
	}
	return float64(v)
}

// reference returns the CPU per event to which a scenario's subjects are
// compared: that of its first subject that is the gateway.
func (s *Scenario) reference() float64 {
	for i := range s.Subjects {
		if s.Subjects[i].Gateway {
			return spreadOf(s.Subjects[i].Runs, cpuPerEvent.of).mid
		}
	}
	return math.NaN()
}

// sorted returns the subjects in the order in which they are shown: the gateway's
// as they stand, so that the one compared to is first; then the others, those that
// need the least CPU per event first and those of which it is not known last.
func (s *Scenario) sorted() []Subject {
	list := slices.Clone(s.Subjects)
	slices.SortStableFunc(list, func(a, b Subject) int {
		if a.Gateway != b.Gateway {
			if a.Gateway {
				return -1
			}
			return 1
		}
		if a.Gateway {
			return 0
		}
		x, y := spreadOf(a.Runs, cpuPerEvent.of), spreadOf(b.Runs, cpuPerEvent.of)
		if x.n == 0 || y.n == 0 {
			return cmp.Compare(min(y.n, 1), min(x.n, 1))
		}
		return cmp.Compare(x.mid, y.mid)
	})
	return list
}

// good returns how many of the runs count.
func (s *Subject) good() int {
	n := 0
	for i := range s.Runs {
		if s.Runs[i].Failure == "" {
			n++
		}
	}
	return n
}

// typical returns the run that stands for all where one has to: that with the
// median CPU time per second, of two in the middle the cheaper; nil: none counts.
func (s *Subject) typical() *Run {
	var runs []*Run
	for i := range s.Runs {
		if s.Runs[i].Failure == "" {
			runs = append(runs, &s.Runs[i])
		}
	}
	if len(runs) == 0 {
		return nil
	}
	slices.SortStableFunc(runs, func(a, b *Run) int { return cmp.Compare(cpuShare.of(a), cpuShare.of(b)) })
	return runs[(len(runs)-1)/2]
}
