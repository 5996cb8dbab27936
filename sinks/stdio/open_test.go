// This file tests what becomes of a file that a process before has left.

package stdio

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOpenEndsLine(t *testing.T) {
	for _, tt := range []struct {
		before, after string
		format        Format
	}{
		{"", "", JSON}, {"whole\n", "whole\n", JSON}, {"whole\n{\"event", "whole\n{\"event\n", JSON}, {"\x93", "\x93", MsgPack},
	} {
		name := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(name, []byte(tt.before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := NewSink(f, tt.format).Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got, _ := os.ReadFile(name); string(got) != tt.after {
			t.Errorf("%q becomes %q, want %q", tt.before, got, tt.after)
		}
	}
}
