// This file writes a Report as tables for a terminal.

package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// width is how many columns of a terminal the tables may use.
const width = 120

// WriteTable writes r for a terminal of 120 columns: for each scenario its
// subjects, the gateway's first, then the others by CPU per event.
//
// A figure is the median of the runs that did not fail, but for the largest
// latency, which is the largest of all of them. CPU is the user and system time of
// the subject's process, "×" its ratio per event to that of the scenario's first
// gateway. What is not known is "–". Below are the failures, with the numbers of their
// runs.
func (r *Report) WriteTable(w io.Writer) error {
	var b bytes.Buffer
	for _, line := range r.head() {
		writeWrapped(&b, "", line)
	}
	if len(r.Scenarios) == 0 {
		b.WriteString("\nNo scenario was run.\n")
	}
	for i := range r.Scenarios {
		r.Scenarios[i].writeTable(&b)
	}
	return write(w, "table", b.Bytes())
}

// head returns what a reader has to know before any figure.
func (r *Report) head() []string {
	when := unknown
	if !r.Started.IsZero() {
		when = r.Started.UTC().Format("2 January 2006, 15:04 UTC")
	}
	lines := []string{
		fmt.Sprintf("Gateway %s, measured %s, in %s", or(r.Gateway), when, seconds.format(r.Seconds)),
		r.Machine.line(),
	}
	if r.Quick {
		lines = append(lines, "A quick run: too short for its figures to mean much.")
	}
	return lines
}

func (m *Machine) line() string {
	return fmt.Sprintf("%s, %d %s, %s memory, %s, kernel %s, %s, load %s at the start",
		or(m.CPU), m.Cores, plural(m.Cores, "core", "cores"), size.format(above(m.Memory, 0)), or(m.OS), or(m.Kernel), or(m.Go), number.format(m.Load))
}

// or returns s ready to be shown, or the sign for what is not known.
func or(s string) string {
	if s = printable(s); s == "" {
		return unknown
	}
	return s
}

// load says in words what the scenario asks of a subject.
func (s *Scenario) load() string {
	rate := "no events"
	switch {
	case s.Rate < 0:
		rate = "events as fast as they are read"
	case s.Rate > 0:
		rate = number.format(s.Rate) + " events/s"
	}
	transport := "plain"
	if s.TLS {
		transport = "TLS"
	}
	return fmt.Sprintf("%s %s, %s, %s", thousands(strconv.Itoa(s.Shards)), plural(s.Shards, "shard", "shards"), rate, transport)
}

func (s *Scenario) writeTable(b *bytes.Buffer) {
	b.WriteByte('\n')
	writeWrapped(b, "", fmt.Sprintf("%s: %s", or(s.Name), s.load()))
	if about := printable(s.About); about != "" {
		writeWrapped(b, "", about)
	}
	if len(s.Subjects) == 0 {
		b.WriteString("  No subject was measured.\n")
		return
	}
	subjects := s.sorted()
	reference := s.reference()
	names := newColumn("subject")
	compressions := newColumn("compression")
	runs := newColumn("runs")
	spreads := newColumn("min–max")
	ratios := newColumn("×")
	for i := range subjects {
		subject := &subjects[i]
		names.add(shorten(or(subject.Name), 30))
		compressions.add(shorten(or(subject.Compression), 14))
		runs.add(subject.runs())
		cpu := spreadOf(subject.Runs, cpuPerEvent.of)
		if cpu.n > 1 {
			spreads.add(micros.formatRange(cpu.min, cpu.max))
		} else {
			spreads.add(unknown)
		}
		ratios.add(ratio(cpu.mid, reference))
	}
	names.left, compressions.left = true, true
	cost := []*column{runs, columnOf(&eventRate, subjects), columnOf(&cpuPerEvent, subjects), spreads, ratios,
		columnOf(&cpuShare, subjects), columnOf(&allocsPerEvent, subjects)}
	memory := []*column{columnOf(&rss, subjects), columnOf(&peakRSS, subjects)}
	var delays, special []*column
	for _, m := range []measure{p50, p99, p999, latencyMax} {
		delays = append(delays, columnOf(&m, subjects))
	}
	for _, m := range figures(subjects) {
		special = append(special, columnOf(&m, subjects))
	}
	writeColumns(b, []*column{names, compressions}, cost, memory, delays, special)
	for i := range subjects {
		for _, failure := range subjects[i].failures() {
			writeWrapped(b, "  ", failure)
		}
	}
}

// runs says how many runs count, and of how many if not all do.
func (s *Subject) runs() string {
	if good := s.good(); good != len(s.Runs) {
		return fmt.Sprintf("%d of %d", good, len(s.Runs))
	}
	return fmt.Sprint(len(s.Runs))
}

// failures says of the runs that failed why, once for those with the same reason.
func (s *Subject) failures() []string {
	var reasons []string
	runs := make(map[string][]string)
	for i := range s.Runs {
		reason := s.Runs[i].Failure
		if reason == "" {
			continue
		}
		if runs[reason] == nil {
			reasons = append(reasons, reason)
		}
		runs[reason] = append(runs[reason], strconv.Itoa(i+1))
	}
	for i, reason := range reasons {
		n := runs[reason]
		reasons[i] = fmt.Sprintf("%s: %s %s failed: %s", s.label(), plural(len(n), "run", "runs"), strings.Join(n, ", "), or(reason))
	}
	return reasons
}

// ratio writes v as a multiple of reference.
func ratio(v, reference float64) string {
	return number.format(quotient(v, reference))
}

// A column is one of a table; cells[0] is its head.
type column struct {
	cells []string
	left  bool // set to the left, as words are
	wide  int  // of its widest cell
	known bool // at least one cell under the head is
}

func newColumn(head string) *column {
	c := new(column)
	c.add(shorten(head, 40))
	c.known = false
	return c
}

// columnOf returns m of each subject.
func columnOf(m *measure, subjects []Subject) *column {
	c := newColumn(m.name)
	for i := range subjects {
		c.add(m.unit.format(m.value(spreadOf(subjects[i].Runs, m.of))))
	}
	return c
}

func (c *column) add(cell string) {
	c.cells = append(c.cells, cell)
	c.wide = max(c.wide, utf8.RuneCountInString(cell))
	c.known = c.known || cell != unknown
}

// writeColumns writes the columns of each group after those of key, in as many
// tables as it takes to stay within width. A group begins in the table of the one
// before only where all of it has room; one of which nothing is known is left out.
func writeColumns(b *bytes.Buffer, key []*column, groups ...[]*column) {
	const gap = 2
	used := 0
	for _, c := range key {
		used += gap + c.wide
	}
	table := key
	room := width - used
	flush := func() {
		if len(table) > len(key) {
			writeRows(b, table)
		}
		table = key[:len(key):len(key)]
		room = width - used
	}
	flush()
	for _, group := range groups {
		need, known := 0, false
		for _, c := range group {
			need += gap + c.wide
			known = known || c.known
		}
		if !known {
			continue
		}
		if need > room {
			flush()
		}
		for _, c := range group {
			if gap+c.wide > room {
				flush()
			}
			table = append(table, c)
			room -= gap + c.wide
		}
	}
	flush()
}

func writeRows(b *bytes.Buffer, columns []*column) {
	for row := range columns[0].cells {
		var line strings.Builder
		for _, c := range columns {
			pad := strings.Repeat(" ", c.wide-utf8.RuneCountInString(c.cells[row]))
			line.WriteString("  ")
			if c.left {
				line.WriteString(c.cells[row] + pad)
			} else {
				line.WriteString(pad + c.cells[row])
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// writeWrapped writes text in lines of at most width, the first after indent and
// the others two columns further in. A word that fits on no line is cut.
func writeWrapped(b *bytes.Buffer, indent, text string) {
	line, at, empty := indent, len(indent), true
	for word := range strings.FieldsSeq(text) {
		word = shorten(word, width-len(indent)-2)
		n := utf8.RuneCountInString(word)
		if !empty && at+1+n > width {
			b.WriteString(line + "\n")
			line, at, empty = strings.Repeat(" ", len(indent)+2), len(indent)+2, true
		}
		if !empty {
			line, at = line+" ", at+1
		}
		line, at, empty = line+word, at+n, false
	}
	b.WriteString(line + "\n")
}
