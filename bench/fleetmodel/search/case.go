package search

import (
	"fmt"
	"strings"
)

// Case is a model with some of its rules, and what is to come of it.
type Case struct {
	Name string // of the model, a slash, and of the case
	// Removed names the rules that are left out; empty: none is.
	Removed string
	// Want is the invariant that is violated first, as I1; empty: none is.
	Want string
	// Steps is the length of the shortest trace to that; 0 with an empty Want.
	Steps int
	Long  bool // it takes longer than a second or two
	Run   func() Result
}

// Verdict returns what a search has found, as a word: the invariant that is violated, "holds", or
// "unknown" if the search has stopped at its bound.
func (r Result) Verdict() string {
	switch {
	case r.Bad != "":
		name, _, _ := strings.Cut(r.Bad, ":")
		return name
	case !r.Complete:
		return "unknown"
	case r.Stuck > 0:
		return "I5"
	}
	return "holds"
}

// Steps returns the length of the trace to what is violated.
func (r Result) Steps() int {
	if r.Bad == "" && r.Stuck > 0 {
		return len(r.StuckTrace)
	}
	return len(r.Trace)
}

// Check compares what was found with what was to come.
func (c *Case) Check(r Result) error {
	want := c.Want
	if want == "" {
		want = "holds"
	}
	if got := r.Verdict(); got != want || r.Steps() != c.Steps {
		return fmt.Errorf("%s: %s after %d steps, want %s after %d", c.Name, got, r.Steps(), want, c.Steps)
	}
	return nil
}
