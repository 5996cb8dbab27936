// This file draws: axes with round values, and the three kinds of plot of the page.

package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A px is a coordinate in a drawing. It prints with one decimal and is always a
// finite number.
type px float64

func (p px) String() string {
	if math.IsNaN(float64(p)) || math.Abs(float64(p)) > 1e6 {
		return "0"
	}
	return strconv.FormatFloat(float64(p), 'f', 1, 64)
}

// A drawing is a plot as SVG's elements, in the order in which they are painted.
type drawing struct {
	Title string
	Unit  string // of the values, as words under the title
	W, H  px
	Rects []rect
	Paths []path
	Texts []text
}

type rect struct {
	X, Y, W, H px
	Class      string
}

// A path with a Title shows it to a pointer that rests on it.
type path struct {
	D, Class, Title string
}

type text struct {
	X, Y   px
	Class  string
	Anchor string // "start", "middle" or "end"
	S      string
}

// A series is what one subject adds to a plot.
type series struct {
	label string
	class string // its colour
	s     spread
	shown string       // the figure in words
	line  [][2]float64 // x and y
}

// The size of a drawing, in units that are pixels on a wide page.
const (
	drawingWidth = 400
	plotHeight   = 230
	padLeft      = 46
	padRight     = 14
	padTop       = 10
	padBottom    = 40
	rowHeight    = 40
)

// An axis maps values to coordinates.
type axis struct {
	lo, hi   float64 // values
	from, to float64 // coordinates
}

func (a axis) at(v float64) px {
	v = min(max(v, a.lo), a.hi)
	return px(a.from + (v-a.lo)/(a.hi-a.lo)*(a.to-a.from))
}

// roundStep returns the least of 1, 2 and 5 times a power of ten of which at most n
// cover span.
func roundStep(span float64, n int) float64 {
	raw := span / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		// The margin keeps 0.30000000000000004 from needing a larger step than 0.3.
		if m*power >= raw*0.999999 {
			return m * power
		}
	}
	return 10 * power
}

// ticks returns the multiples of a round step in lo to hi, at most n+1, and the step.
func ticks(lo, hi float64, n int) (values []float64, step float64) {
	step = roundStep(hi-lo, n)
	for i := math.Ceil(lo/step - 1e-6); i <= math.Floor(hi/step+1e-6) && len(values) <= n; i++ {
		values = append(values, i*step)
	}
	return values, step
}

// tickText writes a multiple of step without the noise of binary fractions.
func tickText(v, step float64) string {
	if math.Abs(v) < step/2 {
		return "0"
	}
	decimals := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if math.Abs(v) >= 10000 {
		s = thousands(s)
	}
	return s
}

// ceiling returns a round value at or above v to end an axis with that begins at
// 0, for at most n steps.
func ceiling(v float64, n int) float64 {
	if !(v > 1e-12) { // nothing, as good as nothing, or not a number
		return 1
	}
	step := roundStep(v, n)
	return math.Ceil(v/step-1e-6) * step
}

// bars draws a bar from 0 to the median for each series, with whiskers from its
// least to its largest run.
func bars(title string, u unit, axisUnit string, list []series) drawing {
	top := 0.0
	for _, s := range list {
		if s.s.n > 0 {
			top = max(top, s.s.max)
		}
	}
	sc := u.scaleFor(top)
	if axisUnit == "" {
		axisUnit = sc.name
	}
	const left, right = 4.0, drawingWidth - 22.0
	bottom := float64(len(list)*rowHeight) + 4
	x := axis{0, ceiling(top/sc.factor, 5), left, right}
	d := drawing{Title: title, Unit: axisUnit, W: drawingWidth, H: px(bottom + 22)}
	values, step := ticks(0, x.hi, 5)
	for _, v := range values {
		at := x.at(v)
		d.line("grid", at, 4, at, px(bottom))
		anchor := "middle"
		if v == 0 {
			anchor = "start"
		}
		d.text(at, px(bottom+16), "tick", anchor, tickText(v, step))
	}
	for i, s := range list {
		y := float64(i * rowHeight)
		// A strip of the page's colour keeps the grid from running through the words.
		d.Rects = append(d.Rects, rect{left, px(y + 3), drawingWidth - left, 17, "paper"})
		d.text(left, px(y+16), "name", "start", shorten(s.label, 36))
		d.text(drawingWidth-4, px(y+16), "value", "end", s.shown)
		if s.s.n == 0 {
			continue
		}
		lo, mid, hi := x.at(s.s.min/sc.factor), x.at(s.s.mid/sc.factor), x.at(s.s.max/sc.factor)
		d.Rects = append(d.Rects, rect{left, px(y + 23), max(mid-left, 1), 12, "bar " + s.class})
		if s.s.n > 1 {
			whisker := path{
				D:     fmt.Sprintf("M%v %vH%vM%v %vv6M%v %vv6", lo, px(y+29), hi, lo, px(y+26), hi, px(y+26)),
				Class: "halo", // so that it is seen on a bar of any colour
				Title: fmt.Sprintf("%s: %s in %d runs", s.label, u.formatRange(s.s.min, s.s.max), s.s.n),
			}
			d.Paths = append(d.Paths, whisker)
			whisker.Class = "whisker"
			d.Paths = append(d.Paths, whisker)
		}
	}
	return d
}

// fractions are the ticks of a distribution's axis. It is drawn by the
// logarithm of what is left above, so that every nine takes as much room.
var fractions = []struct {
	f float64
	s string
}{{0, "0 %"}, {0.5, "50 %"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}}

// nines is the height of a fraction: 0.9 lies at 1, 0.99 at 2, 0.999, where the
// plots end, at 3.
func nines(f float64) float64 { return -math.Log10(1 - min(max(f, 0), 0.999)) }

// The shortest and the longest time that a distribution is drawn for, in seconds.
const shortest, longest = 1e-7, 1e5

// distributions draws which fraction of the events took at most how long.
func distributions(title string, list []series) drawing {
	lo, hi := longest, shortest
	for i := range list {
		list[i].line = upTo999(list[i].line)
		for _, p := range list[i].line {
			lo, hi = min(lo, p[0]), max(hi, p[0])
		}
	}
	if lo >= hi {
		lo, hi = hi/2, hi*2
	}
	d := drawing{Title: title, Unit: "share of events, the tail stretched", W: drawingWidth, H: plotHeight}
	// The axis ends at 1, 2 or 5 times a power of ten, and is marked there too; over
	// many decades at the powers alone.
	var marks []float64
	for e := -8; e <= 6; e++ {
		for _, m := range []float64{1, 2, 5} {
			marks = append(marks, m*math.Pow(10, float64(e)))
		}
	}
	first, last := 0, len(marks)-1
	for marks[first+1] <= lo*1.000001 {
		first++
	}
	for marks[last-1] >= hi*0.999999 {
		last--
	}
	x := axis{math.Log10(marks[first]), math.Log10(marks[last]), padLeft, drawingWidth - padRight}
	y := axis{0, 3, plotHeight - padBottom, padTop}
	every := 1
	if last-first > 6 {
		every = 3 * (1 + (last-first)/21)
	}
	for i := first; i <= last; i++ {
		at := x.at(math.Log10(marks[i]))
		if i%every == 0 {
			d.line("grid", at, padTop, at, plotHeight-padBottom)
			d.text(at, plotHeight-padBottom+16, "tick", "middle", markText(marks[i]))
		}
	}
	for _, f := range fractions {
		at := y.at(nines(f.f))
		d.line("grid", padLeft, at, drawingWidth-padRight, at)
		d.text(padLeft-6, at+4, "tick", "end", f.s)
	}
	d.text((padLeft+drawingWidth-padRight)/2, plotHeight-6, "axis", "middle", "time from the write by Discord to the write by the subject")
	for _, s := range list {
		d.curve(s, func(p [2]float64) (px, px) { return x.at(math.Log10(p[0])), y.at(nines(p[1])) })
	}
	return d
}

// markText writes 1, 2 or 5 times a power of ten of seconds, never as minutes: these
// would not be round.
func markText(v float64) string {
	s := seconds.scaleFor(min(v, 1))
	return digits(math.Round(v/s.factor)) + " " + s.name
}

// upTo999 returns the part of a distribution that is drawn: up to where 99.9 % lie,
// and times that have a logarithm.
func upTo999(curve [][2]float64) [][2]float64 {
	var part [][2]float64
	for _, p := range curve {
		if !sane(p[0]) || !sane(p[1]) {
			continue
		}
		p[0] = min(max(p[0], shortest), longest)
		if p[1] >= 0.999 {
			if n := len(part); n > 0 && p[1] > part[n-1][1] {
				// Where the line to the first point beyond meets 99.9 %.
				last := part[n-1]
				way := (3 - nines(last[1])) / (-math.Log10(max(1-p[1], 1e-6)) - nines(last[1]))
				p[0] = last[0] * math.Pow(p[0]/last[0], way)
			}
			return append(part, [2]float64{p[0], 0.999})
		}
		part = append(part, p)
	}
	return part
}

// timeline draws values over the time of a run, in seconds since its window began.
// What lies before is marked as the warm-up.
func timeline(title string, u unit, axisUnit string, list []series) drawing {
	lo, hi, top := math.Inf(1), math.Inf(-1), 0.0
	for _, s := range list {
		for _, p := range s.line {
			lo, hi, top = min(lo, p[0]), max(hi, p[0]), max(top, p[1])
		}
	}
	if lo >= hi {
		lo, hi = lo-1, hi+1
	}
	sc := u.scaleFor(top)
	if axisUnit == "" {
		axisUnit = sc.name
	}
	over := scale{1, "s"}
	switch span := hi - lo; {
	case span > 3*3600:
		over = scale{3600, "h"}
	case span > 600:
		over = scale{60, "min"}
	}
	x := axis{lo / over.factor, hi / over.factor, padLeft, drawingWidth - padRight}
	y := axis{0, ceiling(top/sc.factor, 5), plotHeight - padBottom, padTop}
	d := drawing{Title: title, Unit: axisUnit, W: drawingWidth, H: plotHeight}
	caption := "time since the window began, " + over.name
	if lo < 0 {
		caption += "; grey: warm-up"
		end := x.at(0)
		d.Rects = append(d.Rects, rect{padLeft, padTop, end - padLeft, plotHeight - padBottom - padTop, "warmup"})
	}
	values, step := ticks(0, y.hi, 5)
	for _, v := range values {
		at := y.at(v)
		d.line("grid", padLeft, at, drawingWidth-padRight, at)
		d.text(padLeft-6, at+4, "tick", "end", tickText(v, step))
	}
	values, step = ticks(x.lo, x.hi, 6)
	for _, v := range values {
		at := x.at(v)
		d.line("grid", at, plotHeight-padBottom, at, plotHeight-padBottom+4)
		d.text(at, plotHeight-padBottom+16, "tick", "middle", tickText(v, step))
	}
	d.text((padLeft+drawingWidth-padRight)/2, plotHeight-6, "axis", "middle", caption)
	for _, s := range list {
		d.curve(s, func(p [2]float64) (px, px) { return x.at(p[0] / over.factor), y.at(p[1] / sc.factor) })
	}
	return d
}

func (d *drawing) text(x, y px, class, anchor, s string) {
	d.Texts = append(d.Texts, text{x, y, class, anchor, s})
}

func (d *drawing) line(class string, x1, y1, x2, y2 px) {
	d.Paths = append(d.Paths, path{D: fmt.Sprintf("M%v %vL%v %v", x1, y1, x2, y2), Class: class})
}

// curve draws a series' line.
func (d *drawing) curve(s series, at func([2]float64) (x, y px)) {
	if len(s.line) == 0 {
		return
	}
	var b strings.Builder
	for i, p := range s.line {
		x, y := at(p)
		b.WriteByte("ML"[min(i, 1)])
		b.WriteString(x.String() + " " + y.String())
	}
	d.Paths = append(d.Paths, path{D: b.String(), Class: "curve " + s.class, Title: s.label})
}
