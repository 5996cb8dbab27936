// This file writes a Report as a page.

package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
)

//go:embed page.html
var pageText string

// WriteHTML writes r as one page of HTML that needs nothing beside it: no script,
// no font, no image. It is well-formed XML too. Figures are those of WriteTable;
// lines over time, and distributions, are those of one run of each subject, the one
// with the median CPU time.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("report: write page: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, r.page()); err != nil {
		return fmt.Errorf("report: write page: %w", err)
	}
	return write(w, "page", b.Bytes())
}

// page is what the template is given.
type page struct {
	Gateway  string
	When     string
	Took     string
	Quick    bool
	Machine  string
	Overview overview
	Sections []section
}

// overview has a row for each scenario and a column for each program.
type overview struct {
	Heads []string
	Rows  []overviewRow
}

type overviewRow struct {
	ID, Name string
	Cells    [][]overviewCell
}

// overviewCell is one subject: a program may stand in a scenario with several
// compressions.
type overviewCell struct {
	CPU, Ratio, Memory, Note string
}

type section struct {
	ID       string
	Name     string
	About    string
	Load     string
	Legend   []legend
	Drawings []drawing
	Heads    []head
	Rows     []row
	Failures []string
}

type legend struct {
	Class, Label string
}

// head is that of a subject's column.
type head struct {
	Name, Compression string
}

// row is one figure of all subjects.
type row struct {
	Name  string
	First bool // of a group
	Cells []cell
}

type cell struct {
	Value, Range string
}

func (r *Report) page() page {
	p := page{
		Gateway: or(r.Gateway),
		When:    unknown,
		Took:    seconds.format(r.Seconds),
		Quick:   r.Quick,
		Machine: r.Machine.line(),
	}
	if !r.Started.IsZero() {
		p.When = r.Started.UTC().Format("2 January 2006, 15:04 UTC")
	}
	// A program keeps its colour over the whole page.
	colours := make(map[string]int)
	for _, s := range r.Scenarios {
		for _, subject := range s.sorted() {
			if _, ok := colours[subject.Name]; !ok {
				colours[subject.Name] = len(colours)
				p.Overview.Heads = append(p.Overview.Heads, or(subject.Name))
			}
		}
	}
	for i := range r.Scenarios {
		id := "scenario-" + strconv.Itoa(i+1)
		p.Sections = append(p.Sections, r.Scenarios[i].section(id, colours))
		p.Overview.Rows = append(p.Overview.Rows, r.Scenarios[i].overview(id, colours))
	}
	return p
}

func (s *Scenario) overview(id string, colours map[string]int) overviewRow {
	line := overviewRow{ID: id, Name: or(s.Name), Cells: make([][]overviewCell, len(colours))}
	reference := s.reference()
	_, same := s.compression()
	for _, subject := range s.sorted() {
		cpu := spreadOf(subject.Runs, cpuPerEvent.of)
		c := overviewCell{CPU: micros.format(cpu.mid), Memory: rss.unit.format(spreadOf(subject.Runs, rss.of).mid)}
		if r := quotient(cpu.mid, reference); sane(r) {
			c.Ratio = "× " + number.format(r)
		}
		if !same {
			c.Note = or(subject.Compression)
		}
		if subject.good() == 0 {
			c = overviewCell{CPU: "failed", Note: c.Note}
		}
		at := colours[subject.Name]
		line.Cells[at] = append(line.Cells[at], c)
	}
	return line
}

// compression returns what all subjects use, if they use the same.
func (s *Scenario) compression() (name string, same bool) {
	for _, subject := range s.Subjects {
		if subject.Compression != s.Subjects[0].Compression {
			return "", false
		}
		name = subject.Compression
	}
	return name, true
}

func (s *Scenario) section(id string, colours map[string]int) section {
	out := section{ID: id, Name: or(s.Name), About: printable(s.About), Load: s.load()}
	subjects := s.sorted()
	compression, same := s.compression()
	if same && len(subjects) > 0 {
		out.Load += ", compression " + or(compression)
	}
	labels := make([]string, len(subjects))
	classes := make([]string, len(subjects))
	seen := make(map[string]int)
	for i := range subjects {
		subject := &subjects[i]
		labels[i] = or(subject.Name)
		if !same {
			labels[i] = subject.label()
		}
		classes[i] = class(colours[subject.Name], seen[subject.Name])
		seen[subject.Name]++
		out.Legend = append(out.Legend, legend{classes[i], labels[i]})
		out.Heads = append(out.Heads, head{or(subject.Name), or(subject.Compression)})
		out.Failures = append(out.Failures, subject.failures()...)
	}
	p := plotter{subjects, labels, classes}
	out.Drawings = p.drawings()
	out.Rows = s.rows(subjects)
	return out
}

// class is the colour of a program, paler or dashed for its second compression and
// those after. Beyond eight programs colours repeat, with dashes.
func class(colour, variant int) string {
	c := "s" + strconv.Itoa(colour%8)
	if variant += colour / 8; variant > 0 {
		c += " v" + strconv.Itoa(min(variant, 2))
	}
	return c
}

func (s *Scenario) rows(subjects []Subject) []row {
	reference := s.reference()
	runs := row{Name: "runs", First: true}
	ratios := row{Name: "CPU/event ×"}
	for i := range subjects {
		runs.Cells = append(runs.Cells, cell{Value: subjects[i].runs()})
		ratios.Cells = append(ratios.Cells, cell{Value: ratio(spreadOf(subjects[i].Runs, cpuPerEvent.of).mid, reference)})
	}
	rows := []row{runs}
	groups := [][]measure{
		{eventRate, cpuPerEvent, cpuShare, allocsPerEvent},
		{rss, peakRSS, heap, threads, goroutines},
		{p50, p90, p99, p999, latencyMax},
		figures(subjects),
	}
	for i, group := range groups {
		first := i > 0
		for _, m := range group {
			line := row{Name: m.name, First: first}
			known := false
			for j := range subjects {
				v := spreadOf(subjects[j].Runs, m.of)
				c := cell{Value: m.unit.format(m.value(v))}
				if m.unit.format(v.min) != m.unit.format(v.max) {
					c.Range = m.unit.formatRange(v.min, v.max)
				}
				known = known || v.n > 0
				line.Cells = append(line.Cells, c)
			}
			if !known {
				continue
			}
			switch {
			case i == 2:
				line.Name = "latency " + line.Name
			case m.name == cpuShare.name:
				line.Name = "CPU, % of a core"
			}
			first = false
			rows = append(rows, line)
			if m.name == cpuPerEvent.name {
				rows = append(rows, ratios)
			}
		}
	}
	return rows
}

// plotter makes the drawings of one scenario.
type plotter struct {
	subjects []Subject
	labels   []string
	classes  []string
}

// maxFigureBars bounds how many of a scenario's own figures get bars; the
// table has all.
const maxFigureBars = 6

func (p *plotter) drawings() []drawing {
	var list []drawing
	bar := func(m *measure, title, axisUnit string) bool {
		if d, ok := p.bars(m, title, axisUnit); ok {
			list = append(list, d)
			return true
		}
		return false
	}
	if !bar(&cpuPerEvent, "CPU per event", "µs") {
		bar(&cpuShare, "CPU", "% of a core")
	}
	bar(&rss, "Memory (RSS)", "")
	bar(&p99, "Latency, p99", "")
	for i, m := range figures(p.subjects) {
		if i < maxFigureBars {
			bar(&m, m.name, "")
		}
	}
	if lines, ok := p.lines(func(r *Run) [][2]float64 { return r.Latency.curve() }); ok {
		list = append(list, distributions("Latency", lines))
	}
	if lines, ok := p.lines(func(r *Run) [][2]float64 {
		return timed(r.Samples, func(s *Sample) float64 { return s.CPU })
	}); ok {
		list = append(list, timeline("CPU over time", number, "cores", lines))
	}
	if lines, ok := p.lines(func(r *Run) [][2]float64 {
		return timed(r.Samples, func(s *Sample) float64 { return float64(s.RSS) })
	}); ok {
		list = append(list, timeline("Memory (RSS) over time", size, "", lines))
	}
	return list
}

// bars draws m of each subject. It reports whether there was anything to draw: bars
// begin at 0, and show neither what is below nor nothing but zeros.
func (p *plotter) bars(m *measure, title, axisUnit string) (d drawing, ok bool) {
	var list []series
	for i := range p.subjects {
		v := spreadOf(p.subjects[i].Runs, m.of)
		if v.n > 0 && v.min < 0 {
			return drawing{}, false
		}
		ok = ok || v.max > 0
		shown := m.unit.format(v.mid)
		if p.subjects[i].good() == 0 {
			shown = "failed"
		}
		list = append(list, series{label: p.labels[i], class: p.classes[i], s: v, shown: shown})
	}
	return bars(title, m.unit, axisUnit, list), ok
}

// lines returns what of finds in the typical run of each subject, and whether it
// found anything.
func (p *plotter) lines(of func(*Run) [][2]float64) (list []series, ok bool) {
	for i := range p.subjects {
		run := p.subjects[i].typical()
		if run == nil {
			continue
		}
		if line := of(run); len(line) > 1 {
			list = append(list, series{label: p.labels[i], class: p.classes[i], line: line})
		}
	}
	return list, len(list) > 0
}

// curve returns the distribution, or the few points of it that are known.
func (l *Latency) curve() [][2]float64 {
	if l.Count <= 0 {
		return nil
	}
	if len(l.Curve) > 0 {
		return l.Curve
	}
	return [][2]float64{{l.P50, 0.5}, {l.P90, 0.9}, {l.P99, 0.99}, {l.P999, 0.999}}
}

// maxPoints bounds the points of a line over time: more than one for two pixels
// shows nothing.
const maxPoints = 200

// timed returns of of the samples over their time, means where they are too many.
func timed(samples []Sample, of func(*Sample) float64) [][2]float64 {
	var line [][2]float64
	each := (len(samples) + maxPoints - 1) / maxPoints
	for i := 0; i < len(samples); i += each {
		part := samples[i:min(i+each, len(samples))]
		var at, sum float64
		for j := range part {
			at += part[j].At
			sum += of(&part[j])
		}
		n := float64(len(part))
		if at, v := at/n, sum/n; sane(at) && sane(v) {
			line = append(line, [2]float64{at, math.Max(v, 0)})
		}
	}
	return line
}
