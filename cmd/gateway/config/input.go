// This file reads a setting's value as text, number, duration, size or list,
// and tells what is wrong with it.

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
	*node
	key string
	r   *report
}

func (in input) errorf(format string, args ...any) {
	in.r.add(Error, in.at, in.key, format, args...)
}

func (in input) warnf(format string, args ...any) {
	in.r.add(Warning, in.at, in.key, format, args...)
}

// child is a value inside of this one; path continues the key.
func (in input) child(n *node, path string) input {
	return input{node: n, key: in.key + path, r: in.r}
}

// want reports whether the value is of one of the kinds, and tells if not.
func (in input) want(example string, kinds ...kind) bool {
	if slices.Contains(kinds, in.kind) {
		return true
	}
	in.errorf("must be %s, such as %s, but is %s", kinds[0], example, in.kind)
	return false
}

// string returns a text.
func (in input) string(example string) (string, bool) {
	return in.text, in.want(example, kindText)
}

// oneOf returns a text that is one of the names.
func (in input) oneOf(names ...string) (string, bool) {
	s, ok := in.string(strconv.Quote(names[0]))
	if !ok {
		return "", false
	}
	if !slices.Contains(names, s) {
		hint := didYouMean(s, names)
		for _, name := range names {
			if hint == "" && strings.HasPrefix(name, s+"-") {
				hint = "; did you mean " + name + "?"
			}
		}
		in.errorf("%.60q is none of %s%s", s, strings.Join(names, ", "), hint)
		return "", false
	}
	return s, true
}

// number returns a whole number between low and high.
func (in input) number(low, high int64) (int64, bool) {
	n := in.integer
	if in.loose {
		text := strings.TrimSpace(in.text)
		base := 10 // 010 is ten, 0x10 is sixteen
		if strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0b") || strings.HasPrefix(text, "0o") {
			base = 0
		}
		var err error
		if n, err = strconv.ParseInt(text, base, 64); err != nil {
			if isDigits(strings.TrimPrefix(text, "-")) {
				in.errorf("%.40s is not between %d and %d", text, low, high)
			} else {
				in.errorf("%.60q is not a whole number", in.text)
			}
			return 0, false
		}
	} else if !in.want(strconv.FormatInt(low, 10), kindInteger) {
		return 0, false
	}
	if n < low || n > high {
		in.errorf("%d is not between %d and %d", n, low, high)
		return 0, false
	}
	return n, true
}

// values returns a list's values, of a loose text its parts between commas.
func (in input) values(example string) ([]input, bool) {
	if !in.loose {
		if !in.want("["+example+"]", kindList) {
			return nil, false
		}
		values := make([]input, len(in.list))
		for i, n := range in.list {
			values[i] = in.child(n, "")
		}
		return values, true
	}
	if bracketed(in.text) {
		in.errorf("a list in a variable has no brackets and quotes, but commas between its values")
		return nil, false
	}
	var values []input
	for part := range strings.SplitSeq(in.text, ",") {
		n := *in.node
		n.text = strings.TrimSpace(part)
		values = append(values, in.child(&n, ""))
	}
	return values, true
}

// bracketed reports whether a text is a list of TOML or JSON; [::1]:6379 is none.
func bracketed(text string) bool {
	return strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") && (strings.ContainsAny(text, `"'`) || !strings.Contains(text, ":"))
}

// names returns the texts of a list. What is none, or empty, is told and left
// out; ok is false when it is no list at all.
func (in input) names(example string) (names []input, ok bool) {
	values, ok := in.values(example)
	for _, v := range values {
		switch s, isText := v.string(example); {
		case !isText:
		case strings.TrimSpace(s) == "":
			v.errorf("a name in the list is empty")
		default:
			names = append(names, v)
		}
	}
	return names, ok
}

// duration returns a duration between low and high.
func (in input) duration(low, high time.Duration) (time.Duration, bool) {
	if in.kind == kindInteger {
		in.errorf("%d has no unit; write \"%ds\" for seconds", in.integer, in.integer)
		return 0, false
	}
	s, ok := in.string(`"90s"`)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(strings.TrimSpace(s))
	switch {
	case err != nil && isDigits(s):
		in.errorf("%.40s has no unit; write %.40ss for seconds", s, s)
	case err != nil:
		hint := ""
		if days, ok := strings.CutSuffix(strings.TrimSpace(s), "d"); ok && isDigits(days) && len(days) < 6 {
			n, _ := strconv.Atoi(days)
			hint = fmt.Sprintf("; a day is 24h: write %dh", 24*n)
		}
		in.errorf("%.60q is not a duration such as 90s, 2m or 1h30m%s", s, hint)
	case d < low || d > high:
		in.errorf("%s is not between %s and %s", formatDuration(d), formatDuration(low), formatDuration(high))
	default:
		return d, true
	}
	return 0, false
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
func (in input) size(low, high int64) (int64, bool) {
	n := in.integer
	if in.kind != kindInteger {
		s, ok := in.string(`"64MiB"`)
		if !ok {
			return 0, false
		}
		if n, ok = parseSize(s); !ok {
			hint := ""
			if word := strings.ToUpper(strings.TrimSpace(s)); len(word) > 1 && isDigits(word[:len(word)-1]) && strings.ContainsAny(word[len(word)-1:], "KMG") {
				hint = fmt.Sprintf("; did you mean %.40siB?", word)
			}
			in.errorf("%.60q is not a size such as 64MiB, 500KB or 1048576 (bytes)%s", s, hint)
			return 0, false
		}
	}
	bounds := "between " + formatSize(low) + " and " + formatSize(high)
	if high == math.MaxInt64 || high == math.MaxInt {
		bounds = formatSize(low) + " or more"
	}
	switch hasUnit := in.kind == kindText && !isDigits(strings.TrimSpace(in.text)); {
	case n >= low && n <= high:
		return n, true
	case n >= 0 && n < low && !hasUnit:
		in.errorf("%d without a unit is in bytes, and this must be %s; write the unit, as in %s", n, bounds, formatSize(low))
	default:
		said := formatSize(n)
		if hasUnit {
			said = strings.TrimSpace(in.text)
		}
		in.errorf("%.40s is not %s", said, bounds)
	}
	return 0, false
}

// parseSize reads a size; one that is too large for an int64 is the largest.
func parseSize(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	digits, unit := s, int64(1)
	for _, u := range sizeUnits {
		if len(s) > len(u.name) && strings.EqualFold(s[len(s)-len(u.name):], u.name) {
			digits, unit = strings.TrimSpace(s[:len(s)-len(u.name)]), u.bytes
			break
		}
	}
	if !isDigits(digits) {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
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
