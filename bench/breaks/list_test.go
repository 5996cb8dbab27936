//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The text that each edit replaces is in the product, once: an edit that has lost its place breaks nothing.
func TestBreakagesHavePlace(t *testing.T) {
	if len(breakages) < 20 {
		t.Errorf("%d breakages", len(breakages))
	}
	names := map[string]bool{}
	for _, b := range breakages {
		text, err := os.ReadFile(filepath.Join("..", "..", b.file))
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
			continue
		}
		if n := strings.Count(string(text), b.old); n != 1 || b.new == b.old {
			t.Errorf("%s: %s has the text to edit %d times", b.name, b.file, n)
		}
		if names[b.name] {
			t.Errorf("%s stands twice", b.name)
		}
		names[b.name] = true
	}
}
