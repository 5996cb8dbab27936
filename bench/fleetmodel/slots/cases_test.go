package slots

import (
	"os"
	"strings"
	"testing"
)

func TestX(t *testing.T) {
	for _, c := range Cases() {

		if c.Long != (os.Getenv("LONG") != "") {
			continue
		}
		if os.Getenv("N") != "" && !strings.Contains(c.Name, os.Getenv("N")) {
			continue
		}
		r := c.Run()
		err := c.Check(r)
		t.Logf("%-60s %-8s %2d %9d states depth %d %v %s  %v", c.Name, r.Verdict(), r.Steps(), r.States, r.Depth, r.Took, r.Bad, err)
		for _, l := range r.Trace {
			if os.Getenv("T") != "" {
				t.Log(l)
			}
		}
		for _, l := range r.StuckTrace {
			if os.Getenv("T") != "" {
				t.Log(l)
			}
		}
	}
}
