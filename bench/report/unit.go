// This file writes figures and names for people: units, digits, and what is not
// known.

package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// unknown stands in the output for a figure that is not known.
const unknown = "–"

// A unit says how a figure is written.
type unit int

const (
	number  unit = iota
	seconds      // in ns, µs, ms, s, min or h, whichever fits
	micros       // seconds, written in µs and without the unit
	size         // bytes, in B, KiB, MiB, GiB or TiB
	share        // of one core, in percent
)

// A scale is one step of a unit: one of it is worth Factor.
type scale struct {
	factor float64
	name   string
}

var scales = map[unit][]scale{
	number:  {{1, ""}},
	seconds: {{1e-9, "ns"}, {1e-6, "µs"}, {1e-3, "ms"}, {1, "s"}, {60, "min"}, {3600, "h"}},
	micros:  {{1e-6, ""}},
	size:    {{1, "B"}, {1 << 10, "KiB"}, {1 << 20, "MiB"}, {1 << 30, "GiB"}, {1 << 40, "TiB"}},
	share:   {{0.01, "%"}},
}

// scaleFor returns the scale in which v is written. Seconds become minutes and
// hours only from two of them on: 90 s is easier to read than 1.5 min.
func (u unit) scaleFor(v float64) scale {
	steps := scales[u]
	best := steps[0]
	for _, s := range steps[1:] {
		least := s.factor * 0.9995 // what would be rounded to the next step
		if u == seconds && s.factor > 1 {
			least = 2 * s.factor
		}
		if math.Abs(v) >= least {
			best = s
		}
	}
	return best
}

// format writes v with three digits that count and its unit.
func (u unit) format(v float64) string {
	if !sane(v) {
		return unknown
	}
	s := u.scaleFor(v)
	text := digits(v / s.factor)
	if s.name == "" || v == 0 {
		return text
	}
	return text + " " + s.name
}

// formatRange writes lo and hi in one unit: "1.2–1.4 ms".
func (u unit) formatRange(lo, hi float64) string {
	if !sane(lo) || !sane(hi) {
		return unknown
	}
	s := u.scaleFor(hi)
	text := digits(lo/s.factor) + "–" + digits(hi/s.factor)
	if s.name == "" || hi == 0 {
		return text
	}
	return text + " " + s.name
}

// sane reports whether v can be a figure at all: it is a number, and not of a
// size that only a broken report has and no axis could show.
func sane(v float64) bool { return math.Abs(v) <= 1e15 }

// digits writes v with three digits that count, or all of its whole part.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a < 1e-4:
		return strconv.FormatFloat(v, 'e', 1, 64)
	case a < 0.0995:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case v == math.Trunc(v) && a < 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a < 1e9:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	default:
		return strconv.FormatFloat(v, 'e', 2, 64)
	}
}

// thousands sets commas into a whole number.
func thousands(s string) string {
	sign, s := "", s
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// unitOf returns the unit of one of Run.Figures by the words of its name.
// What stands after "per" is not what was counted.
func unitOf(figure string) unit {
	for word := range strings.SplitSeq(figure, "_") {
		switch word {
		case "per":
			return number
		case "bytes", "rss", "memory", "heap":
			return size
		case "seconds", "late", "lateness", "latency", "time", "took", "delay", "wait":
			return seconds
		}
	}
	return number
}

// printable returns s on one line and without what could move a terminal's
// cursor or is not allowed in a page: reports come from elsewhere too.
func printable(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// shorten cuts s to at most n runes.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return strings.TrimRight(string(runes[:n-1]), " ") + "…"
}

// plural returns one for 1 and many otherwise.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
