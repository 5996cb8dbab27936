package search

import (
	"slices"
	"testing"
)

// A counter that goes up by 1 or 2, and may stop for ever at 3.
type counter struct{ N, Stopped uint8 }

func count(bad uint8) Model[counter] {
	return Model[counter]{
		Next: func(s *counter, step Step[counter]) {
			for _, by := range []uint8{1, 2} {
				if t := (counter{N: s.N + by}); s.Stopped == 0 && t.N <= 6 {
					text := ""
					if t.N == bad {
						text = "I1: it is bad"
					}
					step(func() string { return string('0' + by) }, text, &t)
				}
			}
			if s.N == 3 {
				step(func() string { return "stop" }, "", &counter{N: 3, Stopped: 1})
			}
		},
		Good: func(s *counter) bool { return s.N == 6 },
	}
}

func TestExplore(t *testing.T) {
	if r := Explore(count(5), 100); r.Verdict() != "I1" || !slices.Equal(r.Trace, []string{"1", "2", "2   <== I1: it is bad"}) {
		t.Errorf("%s, %q", r.Verdict(), r.Trace)
	}
	if r := Explore(count(9), 100); r.Verdict() != "I5" || r.States != 8 || r.Stuck != 1 || !slices.Equal(r.StuckTrace, []string{"1", "2", "stop"}) {
		t.Errorf("%+v", r)
	}
	if r := Explore(count(9), 3); r.Verdict() != "unknown" {
		t.Errorf("%+v", r)
	}
}

// Two counters, of which it does not matter which is which.
func TestAlike(t *testing.T) {
	m := Model[[2]uint8]{
		Next: func(s *[2]uint8, step Step[[2]uint8]) {
			for i := range s {
				if n := *s; s[i] < 9 {
					n[i]++
					bad := ""
					if max(n[0], n[1]) == 3 && n[0]+n[1] == 3 {
						bad = "I2: one alone"
					}
					step(func() string { return string('A' + byte(i)) }, bad, &n)
				}
			}
		},
	}
	m.Alike = func(s *[2]uint8) [2]uint8 { return [2]uint8{min(s[0], s[1]), max(s[0], s[1])} }
	if r := Explore(m, 100); !slices.Equal(r.Trace, []string{"A", "A", "A   <== I2: one alone"}) {
		t.Errorf("%q", r.Trace)
	}
	next := m.Next
	m.Next = func(s *[2]uint8, step Step[[2]uint8]) {
		next(s, func(label func() string, _ string, t *[2]uint8) { step(label, "", t) })
	}
	if r := Explore(m, 1000); r.States != 55 {
		t.Errorf("%d states of 100, want 55", r.States)
	}
}
