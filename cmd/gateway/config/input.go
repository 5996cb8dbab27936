// This file reads a value as text, number, duration, size or list, and reports what
// is wrong with it.

package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// input is a value on its way into a setting.
type input struct {
	value  any    // string, int64, float64, bool, []any, map[string]any, nil, or a date
	loose  bool   // it is the text of a variable or flag, which stands for any kind of value
	key    string // of the setting, with what leads on from it
	at     Origin
	path   string  // in the document
	places *places // of the document; nil: all is at one place
	r      *report
}

func (in input) errorf(format string, args ...any) { in.r.add(Error, in.at, in.key, format, args...) }
func (in input) warnf(format string, args ...any)  { in.r.add(Warning, in.at, in.key, format, args...) }

// child is a value inside of this one: step leads to it, and key continues the key.
func (in input) child(value any, step, key string) input {
	in.value, in.key, in.path = value, in.key+key, in.path+"\x00"+step
	if in.places != nil {
		in.at = in.places.of(in.places.values, in.path, in.at)
	}
	return in
}

// keyAt is where the key of a child is.
func (in input) keyAt(step string) Origin {
	if in.places == nil {
		return in.at
	}
	return in.places.of(in.places.keys, in.path+"\x00"+step, in.at)
}

const kindList, kindTable = "a list", "a table"

// kindOf completes "must be … but is …".
func kindOf(value any) string {
	switch value.(type) {
	case string:
		return "text"
	case int64:
		return "a whole number"
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

// want returns the value as a T, and reports if it is none. A text is not empty.
func want[T any](in input, example string) T {
	v, ok := in.value.(T)
	if !ok {
		in.errorf("must be %s, such as %s, but is %s", kindOf(any(v)), example, kindOf(in.value))
	}
	return v
}

// index returns which of the names the text is, or -1.
func (in input) index(names []string) int {
	s := want[string](in, strconv.Quote(names[0]))
	i := slices.Index(names, s)
	if _, text := in.value.(string); text && i < 0 {
		in.errorf("%.60q is none of %s%s", s, strings.Join(names, ", "), didYouMean(s, names))
	}
	return i
}

// number returns a whole number between low and high.
func (in input) number(low, high int64) int64 {
	n, ok := in.value.(int64)
	if in.loose {
		text := strings.TrimSpace(in.value.(string))
		base := 10 // 010 is ten, 0x10 is sixteen
		if strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0b") || strings.HasPrefix(text, "0o") {
			base = 0
		}
		var err error
		if n, err = strconv.ParseInt(text, base, 64); err != nil && !isDigits(strings.TrimPrefix(text, "-")) {
			in.errorf("%.60q is not a whole number", in.value)
			return 0
		} else if err != nil {
			in.errorf("%.40s is not between %d and %d", text, low, high)
			return 0
		}
	} else if !ok {
		return want[int64](in, strconv.FormatInt(low, 10))
	}
	if n < low || n > high {
		in.errorf("%d is not between %d and %d", n, low, high)
	}
	return n
}

func (in input) boolean() bool {
	if !in.loose {
		return want[bool](in, "true")
	}
	b, err := strconv.ParseBool(strings.TrimSpace(in.value.(string)))
	if err != nil {
		in.errorf("%.60q is neither true nor false", in.value)
	}
	return b
}

// list returns a list's values, of a loose text its parts between commas.
func (in input) list(example string) (list []input) {
	var values []any
	if !in.loose {
		values = want[[]any](in, "["+example+"]")
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
	for _, v := range in.list(example) {
		if s, ok := v.value.(string); ok && strings.TrimSpace(s) == "" {
			v.errorf("a name in the list is empty")
		} else if s := want[string](v, example); s != "" {
			take(v, s)
		}
	}
}

// duration returns a duration between low and high.
func (in input) duration(low, high time.Duration) time.Duration {
	if n, ok := in.value.(int64); ok {
		in.errorf("%d has no unit; write \"%ds\" for seconds", n, n)
		return 0
	}
	s := strings.TrimSpace(want[string](in, `"90s"`))
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

// formatDuration is time.Duration.String without the zeros at the end.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// sizeUnits are the units of sizes, the larger of each sort before the smaller.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// size returns a number of bytes between low and high.
func (in input) size(low, high int64) int64 {
	n, bare := in.value.(int64)
	said := formatSize(n)
	if !bare {
		if said = strings.TrimSpace(want[string](in, `"64MiB"`)); said == "" {
			return 0
		}
		var ok bool
		if n, ok = parseSize(said); !ok {
			hint := ""
			if word := strings.ToUpper(said); len(word) > 1 && isDigits(word[:len(word)-1]) && strings.ContainsAny(word[len(word)-1:], "KMG") {
				hint = fmt.Sprintf("; did you mean %.40siB?", word)
			}
			in.errorf("%.60q is not a size such as 64MiB, 500KB or 1048576 (bytes)%s", said, hint)
			return 0
		}
		bare = isDigits(said)
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
	digits, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if i := len(digits) - len(u.name); i > 0 && strings.EqualFold(digits[i:], u.name) {
			digits, unit = strings.TrimSpace(digits[:i]), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !isDigits(digits):
		return 0, false
	case err != nil || n > math.MaxInt64/unit:
		return math.MaxInt64, true
	}
	return n * unit, true
}

// formatSize writes a size in the largest binary unit that divides it.
func formatSize(n int64) string {
	for _, u := range sizeUnits[:3] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
