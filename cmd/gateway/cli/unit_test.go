// This file holds the unit for systemd to what the program does.

package cli

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A process that ends with what no restart heals is not restarted: all exit codes of the table
// but for 0 and 1.
func TestUnitRestarts(t *testing.T) {
	unit, err := os.ReadFile("../../../deploy/systemd/sluice.service")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) `).FindAllStringSubmatch(topics["exit"], -1) {
		if m[1] != "0" && m[1] != "1" {
			want = append(want, m[1])
		}
	}
	m := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(unixText(unit))
	if m == nil || !slices.Equal(strings.Fields(m[1]), want) || len(want) < 8 {
		t.Errorf("the unit has %q, want %q", m, want)
	}
}
