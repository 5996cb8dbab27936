// This file writes the text format: families with their HELP and TYPE, and samples.

package metrics

import (
	"math"
	"strconv"

	"sluice/sinks"
)

// writer appends families. It allocates nothing but its buffer.
type writer struct {
	b []byte
	m *Metric // whose samples are written
}

// family appends m with all its samples, or nothing if it has none.
func (w *writer) family(m *Metric, s *snapshot) {
	if !m.of(s) {
		return
	}
	before := len(w.b)
	w.b = append(w.b, "# HELP "...)
	w.b = append(w.b, m.Name...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, m.Help...)
	w.b = append(w.b, "\n# TYPE "...)
	w.b = append(w.b, m.Name...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, m.Type...)
	w.b = append(w.b, '\n')
	head := len(w.b)
	w.m = m
	m.values(w, s)
	if len(w.b) == head {
		w.b = w.b[:before]
	}
}

// value appends a sample without labels.
func (w *writer) value(v float64) {
	w.b = append(w.b, w.m.Name...)
	w.end(v)
}

// count appends a sample without labels.
func (w *writer) count(v int64) { w.value(float64(v)) }

// flag appends 1 or 0.
func (w *writer) flag(v bool) { w.value(oneIf(v)) }

// labelled appends a sample whose labels, in the order of the table, have these values.
func (w *writer) labelled(v float64, values ...string) {
	w.b = append(w.b, w.m.Name...)
	for i, value := range values {
		if i == 0 {
			w.b = append(w.b, '{')
		} else {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, w.m.Labels[i]...)
		w.b = append(w.b, `="`...)
		w.escaped(value)
		w.b = append(w.b, '"')
	}
	w.b = append(w.b, '}')
	w.end(v)
}

// shard appends a sample of a shard, which is the only label.
func (w *writer) shard(id int, v float64) {
	w.series("", id)
	w.b = append(w.b, '}')
	w.end(v)
}

// series begins a sample whose first label is a number.
func (w *writer) series(suffix string, id int) {
	w.b = append(w.b, w.m.Name...)
	w.b = append(w.b, suffix...)
	w.b = append(w.b, '{')
	w.b = append(w.b, w.m.Labels[0]...)
	w.b = append(w.b, `="`...)
	w.b = strconv.AppendInt(w.b, int64(id), 10)
	w.b = append(w.b, '"')
}

// quantile appends a sample of a summary.
func (w *writer) quantile(id int, q string, v float64) {
	w.series("", id)
	w.b = append(w.b, `,quantile="`...)
	w.b = append(w.b, q...)
	w.b = append(w.b, `"}`...)
	w.end(v)
}

// summary appends the sum and the count of a summary.
func (w *writer) summary(id int, sum float64, count int64) {
	w.series("_sum", id)
	w.b = append(w.b, '}')
	w.end(sum)
	w.series("_count", id)
	w.b = append(w.b, '}')
	w.end(float64(count))
}

// histogram appends all samples of a histogram; none of one that counts nothing yet, and has no buckets.
func (w *writer) histogram(h *sinks.Histogram) {
	if len(h.Counts) == 0 {
		return
	}
	total := uint64(0)
	for i, n := range h.Counts {
		total += n
		w.b = append(w.b, w.m.Name...)
		w.b = append(w.b, `_bucket{le="`...)
		if i < len(h.Bounds) {
			w.number(h.Bounds[i])
		} else {
			w.b = append(w.b, "+Inf"...)
		}
		w.b = append(w.b, `"}`...)
		w.end(float64(total))
	}
	w.b = append(w.b, w.m.Name...)
	w.b = append(w.b, "_sum"...)
	w.end(h.Sum)
	w.b = append(w.b, w.m.Name...)
	w.b = append(w.b, "_count"...)
	w.end(float64(total))
}

// end ends a sample with its value.
func (w *writer) end(v float64) {
	w.b = append(w.b, ' ')
	w.number(v)
	w.b = append(w.b, '\n')
}

// number appends a value. Whole numbers have all their digits, so that the text can be read.
func (w *writer) number(v float64) {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		w.b = strconv.AppendInt(w.b, int64(v), 10)
		return
	}
	w.b = strconv.AppendFloat(w.b, v, 'g', -1, 64)
}

// escaped appends the value of a label.
func (w *writer) escaped(value string) {
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			w.b = append(w.b, '\\', c)
		case '\n':
			w.b = append(w.b, `\n`...)
		default:
			w.b = append(w.b, c)
		}
	}
}

// oneIf returns 1 for true.
func oneIf(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
