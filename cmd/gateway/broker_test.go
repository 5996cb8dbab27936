// This file tests what is made of standard output.

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEndLine(t *testing.T) {
	for _, tt := range []struct{ before, after string }{
		{"", ""}, {"whole\n", "whole\n"}, {"whole\n{\"event", "whole\n{\"event\n"},
	} {
		name := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(name, []byte(tt.before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := endLine(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got, _ := os.ReadFile(name); string(got) != tt.after {
			t.Errorf("%q becomes %q, want %q", tt.before, got, tt.after)
		}
	}
}
