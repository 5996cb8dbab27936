//go:build linux

// This file tests the documentation's bots with events that they have not asked for.

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// block returns what a document has between two texts.
func block(t *testing.T, doc, from, to string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/tree/" + doc) // as the test cache sees it
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), from)
	text, _, ended := strings.Cut(rest, to)
	if !ok || !ended {
		t.Fatalf("%s has no block from %q to %q", doc, from, to)
	}
	return text
}

// The gateway's own GATEWAY_GAP, and an event that Discord may add, come between others.
func TestDocumentedBots(t *testing.T) {
	const unknown = `{"event":"GATEWAY_GAP","shard":0,"seq":1,"session":"s/gap","data":{"shard":0,"shards":1,"session":"s","seq":8,"at":"2026-11-24T12:00:00.000Z","reason":"invalid session"}}
{"event":"NEW","shard":0,"seq":1,"session":"t","data":null}
`
	for _, tt := range []struct {
		name    string
		command []string
		input   string
		want    string
	}{
		{"python", []string{"python3", "-c", block(t, "README.md", "bin/gateway | python3 -c '", "'\n")},
			`{"event":"MESSAGE_CREATE","shard":0,"seq":2,"session":"t","data":{"author":{"username":"ada"},"channel_id":"7"}}`, "ada writes in 7\n"},
		{"jq", []string{"jq", "--unbuffered", "-r", block(t, "docs/stdio.md", "bin/gateway | jq --unbuffered -r '", "'\n")},
			`{"event":"MESSAGE_CREATE","shard":0,"seq":2,"session":"t","data":{"author":{"username":"ada"},"channel_id":"7"}}`, "ada writes in 7\n"},
		{"commands", []string{"python3", "-c", block(t, "docs/commands.md", "cat >bin/bot.py <<'EOF'\n", "EOF\n")},
			`{"event":"GUILD_CREATE","shard":0,"seq":2,"session":"t","data":{"id":"7"}}`,
			`{"guild_id": "7", "packet": {"op": 8, "d": {"guild_id": "7", "query": "", "limit": 0}}}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.command[0]); err != nil {
				t.Skipf("%s is not here", tt.command[0])
			}
			cmd := exec.CommandContext(t.Context(), tt.command[0], tt.command[1:]...)
			cmd.Stdin = strings.NewReader(unknown + tt.input + "\n" + unknown)
			out, err := cmd.Output()
			if err != nil || string(out) != tt.want {
				t.Errorf("%q, %v; want %q", out, err, tt.want)
			}
		})
	}
}
