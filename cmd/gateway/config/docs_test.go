// This file holds the table in docs/settings.md against the settings in the code.

package config

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in docs/settings.md anew")

func TestSettingsTable(t *testing.T) {
	const name, begin, end = "../../../docs/settings.md", "<!-- settings:begin -->\n", "<!-- settings:end -->"
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	head, rest, found := strings.Cut(text, begin)
	table, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("docs/settings.md has no %s and %s", begin, end)
	}
	if table == Markdown() {
		return
	}
	if !*update {
		t.Fatalf("the table in docs/settings.md is not what `gateway help settings` prints; go test ./cmd/gateway/config -run %s -update writes it", t.Name())
	}
	if err := os.WriteFile(name, []byte(head+begin+Markdown()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
