package reshard

import (
	"strings"
	"testing"
)

// TestCases holds what the model finds against what docs/fleet-proofs.md says; -v prints the table, and
// traces.
func TestCases(t *testing.T) {
	for _, c := range Cases() {
		if c.Long != long {
			continue
		}
		r := c.Run()
		t.Logf("%-75s %-8s %2d %9d states, depth %2d, %v  %s", c.Name, r.Verdict(), r.Steps(), r.States, r.Depth, r.Took, r.Bad)
		if err := c.Check(r); err != nil {
			t.Errorf("%v\n%s", err, strings.Join(append(r.Trace, r.StuckTrace...), "\n"))
		}
	}
}
