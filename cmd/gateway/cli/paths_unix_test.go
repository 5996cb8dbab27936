//go:build unix

package cli

import (
	"strings"
	"syscall"
	"testing"
)

// A named pipe without a reader would have check wait for ever.
func TestDeadLettersToNamedPipe(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	o := runCommand([]string{"BROKER_TYPE=amqp", "AMQP_URL=amqp://127.0.0.1:1", "BROKER_DEAD_LETTERS=pipe", "DISCORD_TOKEN=x.y.z", "DISCORD_INTENTS=GUILDS"}, "check")
	if o.code != exitUsage || !strings.Contains(o.stderr, "broker.dead_letters: pipe is a named pipe") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}
