// This file tests what the demo counts.

package cli

import (
	"strings"
	"testing"

	"sluice/bench/sim"
	"sluice/engine"
)

// An event that is still to be redelivered when the demo ends is not lost.
func TestDemoCount(t *testing.T) {
	for _, c := range []struct {
		report sim.Report
		want   string
	}{
		{sim.Report{Received: 7}, ", lost 0"},
		{sim.Report{Received: 7, Pending: 50}, ", lost 0, not sent again yet 50"},
		{sim.Report{Received: 7, Lost: 1, Unknown: 2, Abandoned: 3, Pending: 4}, ", lost 6, not sent again yet 4"},
	} {
		if got := demoCount(c.report, engine.Counts{}, 3); !strings.HasPrefix(got, "events 7, faults 3, ") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%q, want it to end with %q", got, c.want)
		}
	}
}
