package cli

import (
	"os"
	"strings"
	"testing"
	"time"

	"sluice/engine"
)

// TestPlanLines has the plan printed as docs/operate.md shows it.
func TestPlanLines(t *testing.T) {
	p := engine.ReshardPlan{
		From: 16, To: 32, Left: 868, Reset: time.Date(2026, 3, 5, 13, 9, 57, 0, time.UTC), Recommended: 32, MaxConcurrency: 1,
		Connecting: 31 * 5250 * time.Millisecond, Persisted: true,
	}
	doc, err := os.ReadFile("../../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Join(planLines(p), "\n")
	if !strings.Contains(strings.ReplaceAll(string(doc), "\r\n", "\n"), lines+"\nnothing is changed; gateway reshard 32 -yes begins\n") {
		t.Errorf("the document has not\n%s", lines)
	}
	p.Persisted = false
	if lines := strings.Join(planLines(p), "\n"); !strings.Contains(lines, "a restart goes by shards.count") {
		t.Error(lines)
	}
}
