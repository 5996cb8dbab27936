// This file holds the README's table of settings against the table in the code.

package config

import (
	"os"
	"strings"
	"testing"
)

func TestReadme(t *testing.T) {
	const begin, end = "<!-- settings:begin -->", "<!-- settings:end -->"
	content, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	_, rest, found := strings.Cut(text, begin)
	table, _, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("README.md has no %s and %s", begin, end)
	}
	if strings.TrimSpace(table) != strings.TrimSpace(Markdown()) {
		t.Errorf("the table of settings in README.md is not what `gateway help settings` prints:\n%s", Markdown())
	}
}
