// This file reads a value as text, number, duration, size or list, and reports what
// is wrong with it.

package config

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// input is a value that a setting is to take.
type input struct {
	value  any    // string, int64, json.Number, float64, bool, []any, map[string]any, nil, or a date
	loose  bool   // it is the text of a variable or flag, which stands for any kind of value
	key    string // of the setting, with what leads on from it
	at     Origin
	path   string // in the document
	places places // of the document; empty: all is at one place
	r      *report
}

func (in input) errorf(format string, args ...any) { in.r.add(Error, in.at, in.key, format, args...) }
func (in input) warnf(format string, args ...any)  { in.r.add(Warning, in.at, in.key, format, args...) }

// refuse reports what is wrong, if anything is.
func (in input) refuse(trouble string) {
	if trouble != "" {
		in.errorf("%s", trouble)
	}
}

// child is a value inside of this one: step leads to it, and key continues the key.
func (in input) child(value any, step, key string) input {
	in.value, in.key, in.path = value, in.key+key, in.path+"\x00"+step
	in.at = in.places.of(in.places.values, in.path, in.at)
	return in
}

// keyAt is where the key of a child is.
func (in input) keyAt(step string) Origin {
	return in.places.of(in.places.keys, in.path+"\x00"+step, in.at)
}

const kindText, kindList, kindTable = "text", "a list", "a table"

// kindOf completes "must be … but is …".
func kindOf(value any) string {
	switch v := value.(type) {
	case string:
		return kindText
	case int64:
		return "a whole number"
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return kindOf(n)
		}
		return kindOf(0.5)
	case float64:
		return "a number with a fraction"
	case bool:
		return "true or false"
	case []any:
		return kindList
	case map[string]any:
		return kindTable
	case nil:
		return "null"
	}
	return "a date or time"
}

// want returns the value as a T, and reports if it is none.
func want[T any](in input, example string) T {
	v, ok := in.value.(T)
	if !ok {
		in.errorf("must be %s, such as %s, but is %s", kindOf(any(v)), example, kindOf(in.value))
	}
	return v
}

// text returns the text, or the scalar that stands for it in a file; "": it was reported that
// it is of another kind than the example.
func (in input) text(example any, written string) string {
	if !in.loose && kindOf(in.value) != kindOf(example) {
		in.errorf("must be %s, such as %s, but is %s", kindOf(example), written, kindOf(in.value))
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(in.value))
}

// index returns which of the names the text is, or -1.
func (in input) index(names []string) int {
	s := want[string](in, strconv.Quote(names[0]))
	i := slices.Index(names, s)
	if i < 0 && kindOf(in.value) == kindText {
		in.errorf("%.60q is none of %s%s", s, strings.Join(names, ", "), didYouMean(s, names))
	}
	return i
}

// number returns a whole number between low and high.
func (in input) number(low, high int64) int64 {
	text := in.text(low, strconv.FormatInt(low, 10))
	base := 10 // 010 is ten, 0x10 is sixteen
	if strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0b") || strings.HasPrefix(text, "0o") {
		base = 0
	}
	n, err := strconv.ParseInt(text, base, 64)
	switch {
	case text == "":
	case err != nil && !isDigits(strings.TrimPrefix(text, "-")):
		in.errorf("%.60q is not a whole number", text)
	case err != nil || n < low || n > high:
		in.errorf("%.40s is not between %d and %d", text, low, high)
	}
	return n
}

func (in input) boolean() bool {
	text := in.text(true, "true")
	b, err := strconv.ParseBool(text)
	if err != nil && text != "" {
		in.errorf("%.60q is neither true nor false", text)
	}
	return b
}

// list returns a list's values, of a loose text its parts between commas.
func (in input) list(example string) (list []input) {
	var values []any
	if !in.loose {
		values = want[[]any](in, example)
	} else if text := in.value.(string); bracketed(text) {
		in.errorf("a list in a variable has no brackets and quotes, but commas between its values")
	} else {
		for part := range strings.SplitSeq(text, ",") {
			values = append(values, strings.TrimSpace(part))
		}
	}
	for i, v := range values {
		list = append(list, in.child(v, strconv.Itoa(i), ""))
	}
	return list
}

// bracketed reports whether a text is a list of TOML or JSON; [::1]:6379 is none.
func bracketed(text string) bool {
	return strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") && (strings.ContainsAny(text, `"'`) || !strings.Contains(text, ":"))
}

// names calls take with each text of a list that is not empty.
func (in input) names(example string, take func(in input, name string)) {
	for _, v := range in.list("[" + quote(example) + "]") {
		s := want[string](v, quote(example))
		if strings.TrimSpace(s) != "" {
			take(v, s)
		} else if kindOf(v.value) == kindText {
			v.errorf("a name in the list is empty")
		}
	}
}

// duration returns a duration between low and high.
func (in input) duration(low, high time.Duration) time.Duration {
	if n, ok := in.value.(int64); ok {
		in.errorf("%d has no unit; write \"%ds\" for seconds", n, n)
		return 0
	}
	s := in.text("90s", `"90s"`)
	d, err := time.ParseDuration(s)
	days, _ := strings.CutSuffix(s, "d")
	switch {
	case s == "":
	case err != nil && isDigits(s):
		in.errorf("%.40s has no unit; write %.40ss for seconds", s, s)
	case err != nil && isDigits(days) && len(days) < 6:
		n, _ := strconv.Atoi(days)
		in.errorf("%.60q is not a duration such as 90s, 2m or 1h30m; a day is 24h: write %dh", s, 24*n)
	case err != nil:
		in.errorf("%.60q is not a duration such as 90s, 2m or 1h30m", s)
	case d < low || d > high:
		in.errorf("%s is not between %s and %s", formatDuration(d), formatDuration(low), formatDuration(high))
	}
	return d
}

var zeros = regexp.MustCompile(`([hm])0[ms](0s)?$`)

// formatDuration is time.Duration.String without the zeros at the end.
func formatDuration(d time.Duration) string { return zeros.ReplaceAllString(d.String(), "$1") }

var (
	sizeShape = regexp.MustCompile(`(?i)^([0-9]+) *([KMG]i?B|B)?$`)
	sizeUnits = map[string]int64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
	sizeHint  = regexp.MustCompile(`(?i)^[0-9]+[KMG]$`) // of which it is not clear what it is
)

// size returns a number of bytes between low and high.
func (in input) size(low, high int64) int64 {
	n, bare := in.value.(int64)
	said := formatSize(n)
	if !bare {
		said = in.text("64MiB", `"64MiB"`)
		bare = isDigits(said)
		var ok bool
		if n, ok = parseSize(said); !ok {
			hint := ""
			if sizeHint.MatchString(said) {
				hint = fmt.Sprintf("; did you mean %.40siB?", strings.ToUpper(said))
			}
			if said != "" {
				in.errorf("%.60q is not a size such as 64MiB, 500KB or 1048576 (bytes)%s", said, hint)
			}
			return 0
		}
	}
	bounds := "between " + formatSize(low) + " and " + formatSize(high)
	if high == math.MaxInt64 {
		bounds = formatSize(low) + " or more"
	}
	if bare && n >= 0 && n < low {
		in.errorf("%d without a unit is in bytes, and this must be %s; write the unit, as in %s", n, bounds, formatSize(low))
	} else if n < low || n > high {
		in.errorf("%.40s is not %s", said, bounds)
	}
	return n
}

// parseSize reads a size; one that is too large for an int64 is the largest.
func parseSize(s string) (int64, bool) {
	parts := sizeShape.FindStringSubmatch(strings.TrimSpace(s))
	if parts == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if unit := sizeUnits[strings.ToUpper(parts[2])]; err == nil && n <= math.MaxInt64/unit {
		return n * unit, true
	}
	return math.MaxInt64, true
}

// formatSize writes a size in the largest binary unit that divides it.
func formatSize(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if bytes := sizeUnits[strings.ToUpper(unit)]; n != 0 && n%bytes == 0 {
			return strconv.FormatInt(n/bytes, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}
