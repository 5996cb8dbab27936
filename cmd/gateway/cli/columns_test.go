// This file tests what fits into a row.

package cli

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sluice/sinks"
)

// columnsIn counts the columns of a row.
func columnsIn(row string) (n int) {
	for _, r := range row {
		n += columnsOf(r)
	}
	return n
}

func TestAppendCut(t *testing.T) {
	for _, tt := range []struct {
		text    string
		columns int
		want    string
	}{
		{"", 3, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"abcd", 1, "…"},
		{"abcd", 0, ""},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"日本語", 1, "…"},
		{"e\u0301e\u0301", 2, "e\u0301e\u0301"},
		{"e\u0301e\u0301e", 2, "e\u0301…"},
		{"👩‍💻!", 5, "👩‍💻!"},
		{"👩‍💻!", 4, "👩‍…"},
		{"❤\ufe0f", 1, "…"},
		{"\x1b[31mred", 40, `\u001b[31mred`},
		{"\u009b31mred", 40, `\u009b31mred`},
		{"a\x7fb\u202ec\u2028\t\r\n", 80, `a\u007fb\u202ec\u2028\u0009\u000d\u000a`},
		{"\u009b31m", 5, "…"},
		{"ab\u009b", 5, "ab…"},
		{"\U000e0001", 80, `\U000e0001`},
		{"a\xffb", 3, "a\ufffdb"},
		{strings.Repeat("\u0301", 1000), 2, "…"},
	} {
		if got := string(appendCut(nil, []byte(tt.text), tt.columns)); got != tt.want && !(len(tt.text) == 2000 && strings.HasSuffix(got, "…") && len(got) < 30) {
			t.Errorf("%q in %d columns: %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}

// Whatever the data of an event holds, its row fits and does nothing to the terminal.
func TestRowsOfAnyData(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	runes := []rune("aé日👩‍💻❤\ufe0f\u0301\u009b\x7f\u202e\u2028\ufffd\U0001f1e9\U0001f3fb\x1b[")
	for range 5000 {
		var data []byte
		for range rng.IntN(120) {
			if rng.IntN(10) == 0 {
				data = append(data, byte(rng.Uint32()))
			} else {
				data = utf8.AppendRune(data, runes[rng.IntN(len(runes))])
			}
		}
		columns := 1 + rng.IntN(100)
		ev := &sinks.Event{Shard: 7, Seq: 123, Type: []byte("MESSAGE_CREATE"), Data: data}
		row := string(eventRow(ev, columns, false))
		if n := columnsIn(row); n > columns || !utf8.ValidString(row) {
			t.Fatalf("%q: %d columns of %d: %q", data, n, columns, row)
		}
		for _, r := range row {
			if r != zeroWidthJoiner && !unicode.IsPrint(r) {
				t.Fatalf("%q: %U is printed", data, r)
			}
		}
		painted := string(eventRow(ev, columns, true))
		for _, color := range []string{"\x1b[2m", "\x1b[0;36m", "\x1b[0m"} {
			painted = strings.ReplaceAll(painted, color, "")
		}
		if painted != row {
			t.Fatalf("%q: with colours %q, without %q", data, painted, row)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text    string
		columns int
		want    []string
	}{
		{"", 5, []string{""}},
		{"one two", 7, []string{"one two"}},
		{"one two", 6, []string{"one", "two"}},
		{"one two", 3, []string{"one", "two"}},
		{"one   two", 4, []string{"one", "two"}},
		{"one two   ", 7, []string{"one two"}},
		{"onetwo", 4, []string{"onet", "wo"}},
		{"  onetwo", 4, []string{"  on", "etwo"}},
		{"日本語", 4, []string{"日本", "語"}},
		{"日", 1, []string{"日"}},
	} {
		if got := wrap(tt.text, tt.columns); strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("%q in %d columns: %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}
