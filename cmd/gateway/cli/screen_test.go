// This file tests the panel against a terminal that is played.

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/sinks"
)

// vt plays a terminal: it takes what a screen writes, and nothing else.
type vt struct {
	t             *testing.T
	columns, rows int
	lines         []string // those that have scrolled away first
	top, x, y     int      // of the screen; of the cursor
	unread        []byte   // the beginning of a sequence
	colors        int      // sequences of them
	wrapped       int      // characters beyond the last column
}

func newVT(t *testing.T, columns, rows int) *vt {
	return &vt{t: t, columns: columns, rows: rows, lines: []string{""}}
}

func (v *vt) size() (columns, rows int) { return v.columns, v.rows }

func (v *vt) Write(b []byte) (int, error) {
	n := len(b)
	b = append(v.unread, b...)
	for len(b) > 0 {
		if !utf8.FullRune(b) {
			break
		}
		r, size := utf8.DecodeRune(b)
		switch {
		case r == '\x1b':
			if size = v.sequence(b); size == 0 {
				v.unread = slices.Clone(b)
				return n, nil
			}
		case r == '\r':
			v.x = 0
		case r == '\n':
			v.down()
		case r == '\t': // in a trace of Go; events have none: TestRowsOfAnyData
			v.put(' ')
		case r < ' ' || 0x7f <= r && r < 0xa0:
			v.t.Errorf("the terminal gets %U", r)
		default:
			v.put(r)
		}
		b = b[size:]
	}
	v.unread = slices.Clone(b)
	return n, nil
}

// sequence takes a sequence and returns its length, 0 if it is not there whole.
func (v *vt) sequence(b []byte) int {
	end := slices.IndexFunc(b, func(c byte) bool { return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' })
	if end < 0 {
		return 0
	}
	n := 1
	fmt.Sscanf(string(b[:end]), "\x1b[%d", &n)
	switch b[end] {
	case 'A':
		v.y = max(v.top, v.y-n)
	case 'K':
		v.cut()
	case 'J':
		v.cut()
		v.lines = v.lines[:v.y+1]
	case 'm':
		v.colors++
	default:
		v.t.Errorf("the terminal gets %q", b[:end+1])
	}
	return end + 1
}

// cut erases from the cursor to the end of its row.
func (v *vt) cut() {
	if row := []rune(v.lines[v.y]); v.x < len(row) {
		v.lines[v.y] = string(row[:v.x])
	}
}

func (v *vt) down() {
	if v.y++; v.y == len(v.lines) {
		v.lines = append(v.lines, "")
	}
	v.top = max(v.top, v.y-v.rows+1)
}

// put prints a character; rows of wide ones are a column short.
func (v *vt) put(r rune) {
	if columnsIn(v.lines[v.y])+columnsOf(r) > v.columns && v.x == utf8.RuneCountInString(v.lines[v.y]) {
		v.wrapped++
		v.x = 0
		v.down()
	}
	row := []rune(v.lines[v.y])
	for len(row) <= v.x {
		row = append(row, ' ')
	}
	row[v.x] = r
	v.lines[v.y] = string(row)
	v.x++
}

// resize breaks rows that are too long, as most terminals do.
func (v *vt) resize(columns, rows int) {
	v.columns, v.rows = columns, rows
	var lines []string
	for i, line := range v.lines {
		if i == v.y {
			v.y = len(lines)
		}
		row := []rune(line)
		for len(row) > columns {
			lines = append(lines, string(row[:columns]))
			row = row[columns:]
		}
		lines = append(lines, string(row))
	}
	v.lines = lines
	v.top = max(0, v.y-rows+1)
}

// visible returns the rows on the screen.
func (v *vt) visible() []string { return v.lines[v.top:] }

// played returns a screen on a played terminal.
func played(t *testing.T, columns, rows int, keep bool) (*screen, *vt) {
	v := newVT(t, columns, rows)
	return &screen{w: v, size: v.size, keep: keep, stop: make(chan struct{})}, v
}

func logLine(i int) string {
	return fmt.Sprintf("time=2026-01-02T03:04:%02d.000Z level=WARN msg=\"connection ended\" shard=%d cause=\"a long one \u009b2J\" error=\"%s\"\n", i, i, strings.Repeat("x", 30))
}

func (s *screen) event(i int) {
	ev := &sinks.Event{Shard: 1, Seq: int64(i), Type: []byte("MESSAGE_CREATE"), Data: []byte(strings.Repeat("data \u009b2J 日本", 1000))}
	columns, _ := s.size()
	s.addRows([][]byte{eventRow(ev, columns, s.color)})
}

// Rows, log and status line of the demo keep their places, however the terminal is sized.
func TestScreen(t *testing.T) {
	s, v := played(t, 60, 12, true)
	for i := range 40 {
		s.event(i)
		if i%8 == 0 {
			s.Write([]byte(logLine(i)))
		}
		s.frame(fmt.Sprintf("status %d", i))
		rows := v.visible()
		if len(rows) > 12 {
			t.Fatalf("%d rows", len(rows))
		}
		if got := rows[len(rows)-2:]; got[0] != fmt.Sprintf("status %d", i) || got[1] != "" || v.x != 0 {
			t.Fatalf("after %d the last rows are %q", i, got)
		}
		if got, want := strings.Count(strings.Join(rows, "\n"), " WARN \"connection ended\""), min(3, i/8+1); got != want {
			t.Fatalf("after %d there are %d log lines in the panel, want %d:\n%s", i, got, want, strings.Join(rows, "\n"))
		}
		if got := strings.Count(strings.Join(v.lines, "\n"), "status"); got != 1 {
			t.Fatalf("after %d the status is there %d times", i, got)
		}
	}
	s.close()
	s.Write([]byte("the count\n"))
	if v.wrapped > 0 {
		t.Errorf("%d characters are beyond the last column", v.wrapped)
	}
	all := strings.Join(v.lines, "\n")
	for i := range 40 {
		if n := strings.Count(all, fmt.Sprintf("%2d %6d MESSAGE_CREATE", 1, i)); n != 1 {
			t.Errorf("event %d is shown %d times", i, n)
		}
		if n := strings.Count(all, fmt.Sprintf("time=2026-01-02T03:04:%02d.000Z level=WARN", i)); (n == 1) != (i%8 == 0) {
			t.Errorf("log line %d is shown %d times", i, n)
		}
	}
	if !strings.Contains(all, strings.Repeat("x", 30)) || !strings.HasSuffix(all, "\nthe count\n") || strings.Contains(all, "status") {
		t.Errorf("the end is\n%s", strings.Join(v.visible(), "\n"))
	}
	if v.colors > 0 {
		t.Errorf("%d colours", v.colors)
	}
}

// What was drawn before the terminal changed its size is not left behind.
func TestScreenResized(t *testing.T) {
	s, v := played(t, 100, 20, true)
	for i, size := range [][2]int{{100, 20}, {40, 20}, {7, 20}, {120, 30}, {60, 4}, {60, 2}, {1, 1}, {80, 24}, {30, 10}} {
		v.resize(size[0], size[1])
		s.Write([]byte(logLine(i)))
		s.frame(fmt.Sprintf("status %d %s", i, strings.Repeat("s", 50)))
		if s.resized() {
			t.Errorf("%v: the panel does not fit", size)
		}
		if len(v.visible()) > size[1] {
			t.Errorf("%v: %d rows", size, len(v.visible()))
		}
		if n := strings.Count(strings.Join(v.lines, "\n"), "status"); n > 1 || n == 0 && size[0] > 10 && size[1] > 2 {
			t.Errorf("%v: the status is there %d times:\n%s", size, n, strings.Join(v.lines, "\n"))
		}
	}
	v.resize(20, 10)
	if !s.resized() {
		t.Error("the screen does not see that its rows are broken")
	}
	s.frame(s.text)
	if s.resized() {
		t.Error("the screen is not drawn anew")
	}
}

// After Ctrl-Z and fg the panel is somewhere above, below it what the shell wrote.
func TestScreenContinued(t *testing.T) {
	s, v := played(t, 40, 10, true)
	s.frame("status 1")
	v.Write([]byte("$ fg\r\ngateway demo\r\n"))
	s.drawn = nil
	s.frame("status 2")
	if got := strings.Join(v.lines, "|"); got != "status 1|$ fg|gateway demo|status 2|" {
		t.Errorf("%q", got)
	}
}

// A status that stands is not drawn again, and an event waits for a frame.
func TestScreenWrites(t *testing.T) {
	s, _ := played(t, 40, 10, true)
	writes := 0
	w := s.w
	s.w = writerFunc(func(b []byte) (int, error) { writes++; return w.Write(b) })
	s.frame("status")
	s.frame("")
	s.frame("status")
	for i := range 100 {
		s.event(i)
	}
	if writes != 1 {
		t.Errorf("%d writes, want 1", writes)
	}
	s.frame("")
	if writes != 2 {
		t.Errorf("%d writes after a frame, want 2", writes)
	}
	s.addRows([][]byte{[]byte(strings.Repeat("x", maxPending))})
	if writes != 3 {
		t.Errorf("%d writes after many rows, want 3", writes)
	}
}

// A terminal that is gone fails the events.
func TestScreenGone(t *testing.T) {
	s, _ := played(t, 40, 10, true)
	gone := errors.New("gone")
	s.w = writerFunc(func([]byte) (int, error) { return 0, gone })
	rows := &eventRows{size: s.size, add: s.addRows}
	acked := 0
	publish := func() error {
		return rows.Publish(t.Context(), []sinks.Event{{Type: []byte("X")}}, func(n int) { acked += n })
	}
	if err := publish(); err != nil || acked != 1 {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
	s.frame("status")
	if err := publish(); !errors.Is(err, gone) || acked != 1 {
		t.Errorf("%d acknowledged, %v", acked, err)
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
