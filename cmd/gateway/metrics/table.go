// This file has what a metric is. The metrics themselves are in the files table_*.go.

package metrics

import (
	"maps"
	"slices"
)

// Types of metrics.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	Histogram = "histogram"
	Summary   = "summary"
)

// Metric is a row of the table.
type Metric struct {
	Name   string
	Type   string
	Unit   string // of its values
	Labels []string
	Help   string // what it is, in one line
	Look   string // what to do when it moves

	of     func(*snapshot) bool // whether its part is there
	values func(*writer, *snapshot)
}

// group is metrics of one part.
type group struct {
	title   string
	of      func(*snapshot) bool
	metrics []Metric
}

var groups = []group{
	{"Events", hasEngine, eventMetrics},
	{"Shards", hasEngine, shardMetrics},
	{"Connections and sessions", hasEngine, connectionMetrics},
	{"Session starts", hasEngine, identifyMetrics},
	{"Queue", hasEngine, queueMetrics},
	{"Broker", func(s *snapshot) bool { return s.src.Sink != nil }, brokerMetrics},
	{"Spool", func(s *snapshot) bool { return s.src.Spool != nil }, spoolMetrics},
	{"Store", func(s *snapshot) bool { return s.src.Store != nil }, storeMetrics},
	{"Fleet", func(s *snapshot) bool { return s.src.Fleet != nil }, fleetMetrics},
	{"Commands", hasEngine, commandMetrics},
	{"Of the gateway of spec-tacles", hasEngine, oldMetrics},
	{"Process", func(*snapshot) bool { return true }, processMetrics},
}

func hasEngine(s *snapshot) bool { return s.src.Engine != nil }

// table is all metrics, in the order in which they are written.
var table = func() (all []Metric) {
	for _, g := range groups {
		for _, m := range g.metrics {
			m.of = g.of
			all = append(all, m)
		}
	}
	return all
}()

// Table returns all metrics that there can be, in the order in which they are written.
func Table() []Metric { return slices.Clone(table) }

// labels is the labels of a metric.
func labels(names ...string) []string { return names }

// byReason appends a sample for each reason, in their order.
func byReason(w *writer, counts map[string]int64) {
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		w.labelled(float64(counts[reason]), reason)
	}
}
