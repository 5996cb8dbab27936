// This file holds the text to what Prometheus' own linter says.

package metrics

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// promtool checks a text, and returns the complaints.
func promtool(t *testing.T, text []byte) []string {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Fatal("the tests of metrics need promtool: apt-get install prometheus")
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

func TestPromtool(t *testing.T) {
	src, _ := fullSource(3)
	src.PacketsMode = PacketsOff
	if all := promtool(t, New(src).Append(nil)); len(all) > 0 {
		t.Errorf("promtool check metrics:\n%s", strings.Join(all, "\n"))
	}
	// The old names are as they were.
	src.PacketsMode = PacketsOn
	for _, line := range promtool(t, New(src).Append(nil)) {
		if !strings.HasPrefix(line, "gateway_packets_") || !strings.HasSuffix(line, `should have "_total" suffix`) {
			t.Errorf("promtool check metrics: %s", line)
		}
	}
	if all := promtool(t, []byte("sluice_events 1\n")); len(all) == 0 {
		t.Error("promtool finds nothing wrong with a metric without HELP")
	}
}
