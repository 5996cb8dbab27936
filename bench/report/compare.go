// This file compares two Reports and says what is more than noise.

package report

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// A change counts from this many runs a side on, and above this part of the
// figure before.
const (
	leastRuns   = 3
	leastChange = 0.03
)

// Compare writes what changed from a to b: for each scenario, and each subject that
// both have by name and compression, events a second, CPU per event, RSS, the p99
// latency and the scenario's own figures; of subjects that had no events the CPU time
// in percent of a core. What only one has is listed, and it warns of what makes two
// Reports hard to compare: another machine, another load, another version of the form,
// a quick run.
//
// The figures are medians of the runs that did not fail. A change is taken for more
// than noise when the ranges from the least to the largest of both sides' runs do not
// overlap and the medians differ by more than 3 %. With fewer than three runs on a side
// nothing is said. With just three on each, chance alone parts the ranges one time in
// ten (2 of the 20 ways to deal six values to two sides), with five one time in 126, so
// that of many small changes some are expected to be none: repeat.
func Compare(w io.Writer, a, b *Report) error {
	var out bytes.Buffer
	for i, r := range []*Report{a, b} {
		for j, line := range r.head() {
			label := [2]string{"Before: ", "After:  "}[i]
			if j > 0 {
				label = "        "
			}
			writeWrapped(&out, label, line)
		}
	}
	for _, warning := range warnings(a, b) {
		writeWrapped(&out, "", "Warning: "+warning)
	}
	var alone []string
	counted, common := 0, 0
	for i := range a.Scenarios {
		before := &a.Scenarios[i]
		after := b.scenario(before.Name)
		if after == nil {
			alone = append(alone, "before: "+or(before.Name))
			continue
		}
		for j := range before.Subjects {
			x := &before.Subjects[j]
			y := after.subject(x)
			if y == nil {
				alone = append(alone, "before: "+or(before.Name)+", "+x.label())
				continue
			}
			common++
			counted += writeChanges(&out, before, after, x, y)
		}
		for j := range after.Subjects {
			if y := &after.Subjects[j]; before.subject(y) == nil {
				alone = append(alone, "after: "+or(after.Name)+", "+y.label())
			}
		}
	}
	for i := range b.Scenarios {
		if a.scenario(b.Scenarios[i].Name) == nil {
			alone = append(alone, "after: "+or(b.Scenarios[i].Name))
		}
	}
	if len(alone) > 0 {
		out.WriteString("\nOnly one of the two has\n")
		for _, line := range alone {
			writeWrapped(&out, "  ", line)
		}
	}
	out.WriteByte('\n')
	switch {
	case common == 0:
		out.WriteString("Nothing to compare: no subject is in both.\n")
	default:
		writeWrapped(&out, "", fmt.Sprintf("%d %s more than noise: with at least %d runs on each side, the ranges of the runs do not overlap and the medians "+
			"differ by more than %s.", counted, plural(counted, "change is", "changes are"), leastRuns, share.format(leastChange)))
		writeWrapped(&out, "", "With just three runs a side chance alone parts the ranges one time in ten: repeat before a small change is believed.")
	}
	return write(w, "comparison", out.Bytes())
}

// warnings says what makes a and b hard to compare.
func warnings(a, b *Report) []string {
	var list []string
	differ := func(what, x, y string) {
		if x != y {
			list = append(list, fmt.Sprintf("%s: %s before, %s after", what, x, y))
		}
	}
	differ("another version of the JSON form", fmt.Sprint(a.Version), fmt.Sprint(b.Version))
	x, y := &a.Machine, &b.Machine
	differ("another CPU", or(x.CPU), or(y.CPU))
	differ("other cores", fmt.Sprint(x.Cores), fmt.Sprint(y.Cores))
	differ("another system", or(x.OS), or(y.OS))
	differ("another kernel", or(x.Kernel), or(y.Kernel))
	differ("another Go", or(x.Go), or(y.Go))
	if a.Quick {
		list = append(list, "the run before was a quick one")
	}
	if b.Quick {
		list = append(list, "the run after was a quick one")
	}
	for i := range a.Scenarios {
		before := &a.Scenarios[i]
		if after := b.scenario(before.Name); after != nil {
			differ("another load in "+or(before.Name), before.load(), after.load())
		}
	}
	return list
}

// scenario returns the first of that name, or nil.
func (r *Report) scenario(name string) *Scenario {
	for i := range r.Scenarios {
		if r.Scenarios[i].Name == name {
			return &r.Scenarios[i]
		}
	}
	return nil
}

// subject returns the first with the name and compression of like, or nil.
func (s *Scenario) subject(like *Subject) *Subject {
	for i := range s.Subjects {
		if s.Subjects[i].Name == like.Name && s.Subjects[i].Compression == like.Compression {
			return &s.Subjects[i]
		}
	}
	return nil
}

// label names the subject among those of all scenarios.
func (s *Subject) label() string { return or(s.Name) + ", " + or(s.Compression) }

// writeChanges writes what changed from x to y and returns how many of the changes
// are more than noise.
func writeChanges(b *bytes.Buffer, before, after *Scenario, x, y *Subject) int {
	b.WriteByte('\n')
	writeWrapped(b, "", fmt.Sprintf("%s: %s, runs %s before, %s after", or(before.Name), x.label(), x.runs(), y.runs()))
	names, befores, afters := newColumn("figure"), newColumn("before"), newColumn("after")
	ranges, changes, verdicts := newColumn("ranges"), newColumn("change"), newColumn("")
	names.left, verdicts.left = true, true
	counted := 0
	list := []measure{eventRate, cpuPerEvent, rss, p99}
	if spreadOf(x.Runs, eventRate.of).max == 0 && spreadOf(y.Runs, eventRate.of).max == 0 {
		list = []measure{cpuShare, rss, p99}
	}
	list = append(list, figures([]Subject{*x, *y})...)
	for _, m := range list {
		p, q := spreadOf(x.Runs, m.of), spreadOf(y.Runs, m.of)
		if p.n == 0 && q.n == 0 {
			continue
		}
		verdict, real := judge(p, q, m.better)
		if real {
			counted++
		}
		names.add(shorten(m.name, 40))
		befores.add(m.unit.format(p.mid))
		afters.add(m.unit.format(q.mid))
		ranges.add(m.unit.formatRange(p.min, p.max) + " → " + m.unit.formatRange(q.min, q.max))
		changes.add(percent(p.mid, q.mid))
		verdicts.add(verdict)
	}
	if len(names.cells) == 1 {
		b.WriteString("  No run counts on either side.\n")
	} else {
		writeColumns(b, []*column{names}, []*column{befores, afters, changes, verdicts, ranges})
	}
	for _, failure := range x.failures() {
		writeWrapped(b, "  ", "before: "+failure)
	}
	for _, failure := range y.failures() {
		writeWrapped(b, "  ", "after: "+failure)
	}
	return counted
}

// judge says in words whether the change from p to q is more than noise, as
// Compare documents, and reports whether it is.
func judge(p, q spread, better int) (verdict string, real bool) {
	switch {
	case p.n == 0:
		return "not known before", false
	case q.n == 0:
		return "not known after", false
	case p.n < leastRuns || q.n < leastRuns:
		return "too few runs to say", false
	case p.max >= q.min && q.max >= p.min, math.Abs(q.mid-p.mid) <= leastChange*math.Abs(p.mid):
		return "noise", false
	}
	rises := q.mid > p.mid
	switch {
	case better == 0 && rises:
		return "higher", true
	case better == 0:
		return "lower", true
	case rises == (better > 0):
		return "better", true
	default:
		return "worse", true
	}
}

// percent writes the change from p to q in percent of p, or beyond ten times as
// a multiple.
func percent(p, q float64) string {
	change := quotient(q-p, math.Abs(p))
	switch {
	case !sane(p) || !sane(q) || !sane(change):
		return unknown
	case change > 10 && p > 0:
		return "× " + digits(q/p)
	}
	// Adding zero takes the sign from a change that is rounded to none.
	return fmt.Sprintf("%+.1f %%", math.Round(1000*change)/10+0)
}
