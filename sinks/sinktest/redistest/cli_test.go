//go:build unix

package redistest

import (
	"strings"
	"testing"
)

// CLI returns what redis-cli prints.
func TestCLI(t *testing.T) {
	s := Start(t)
	s.CLI("XADD", "a", "1-1", "data", "two\r\nlines")
	s.CLI("XADD", "a", "1-2", "data", "")
	s.CLI("XGROUP", "CREATE", "a", "group", "0")
	for _, args := range [][]string{
		{"XREADGROUP", "GROUP", "group", "one", "STREAMS", "a", "0"},
		{"XRANGE", "a", "-", "+"},
		{"XINFO", "GROUPS", "a"},
		{"XPENDING", "a", "group"},
		{"XPENDING", "b", "group"}, // an error
		{"XRANGE", "b", "-", "+"},
		{"XREAD", "STREAMS", "b", "0"},
		{"GET", "b"},
		{"GET", "a"},
		{"EVAL", "return {1, {'', {}, false}, redis.error_reply('no such thing'), {{'a', {'b'}}}, 'z'}", "0"},
		{"ROLE"},
		{"nothing"},
		{"GET"},
		{"INFO", "keyspace"},
	} {
		got, err := s.TryCLI(args...)
		want, e := s.TryCLI(append([]string{"--raw"}, args...)...)
		if strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") || err != nil || e != nil {
			t.Errorf("%q: %q, %v; want %q, %v", args, got, err, want, e)
		}
	}
	s.Kill()
	if out, err := s.TryCLI("PING"); err == nil {
		t.Errorf("of no server: %q", out)
	}
}
