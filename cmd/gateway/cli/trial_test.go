//go:build unix

// This file tests what is found out before a process hands over.

package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sinks/sinktest/redistest"
)

// `gateway check`, as a process that hands over calls it, refuses what would not start, and
// leaves nothing behind.
func TestTrial(t *testing.T) {
	defer awaitClients(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	server := redistest.Start(t, "--requirepass", "right")
	redis := func(login string) string { return "REDIS_URL=redis://" + login + server.Addr }
	amqp := "SPOOL_DIRECTORY=spool\nBROKER_TYPE=amqp\nAMQP_URL=amqp://127.0.0.1:1"
	for _, tt := range []struct {
		name, environ, held, want string // want: a part of the error; empty: none
	}{
		{"all is well", amqp, "", ""},
		{"state directory", "SHARD_STORE_DIRECTORY=file/state", "", "error: shard_store.directory: "},
		{"state directory that is not used", "SHARD_STORE_TYPE=memory\nSHARD_STORE_DIRECTORY=file/state", "", ""},
		{"spool", amqp + "\nSPOOL_DIRECTORY=file/spool", "", "error: spool.directory: "},
		{"debug.address", "DEBUG_ADDRESS=" + taken, "", "error: debug.address: "},
		{"debug.address, and another before", "DEBUG_ADDRESS=" + taken, "127.0.0.1:1", "error: debug.address: "},
		{"debug.address of the process before", "DEBUG_ADDRESS=" + taken, taken, ""},
		{"the same port", "DEBUG_ADDRESS=" + taken, "localhost:" + port, ""},
		{"http.address", "HTTP_ADDRESS=" + taken, "", "error: http.address: "},
		{"http.address of the process before", "HTTP_ADDRESS=" + taken + "\n" + heldVariable + "=" + taken, "", ""},
		{"prometheus.address of the process before", "PROMETHEUS_ADDRESS=" + taken + "\n" + heldVariable + "=127.0.0.1:1," + taken, "", ""},
		{"the right password", "BROKER_TYPE=redis\n" + redis(":right@"), "", ""},
		{"a wrong password", "BROKER_TYPE=redis\n" + redis(":wrong-one@"), "", "error: redis.urls: "},
		{"no password", "SHARD_STORE_TYPE=redis\n" + redis(""), "", "error: redis.urls: "},
		{"a broker that is away", "BROKER_TYPE=redis\nREDIS_URL=127.0.0.1:1", "", ""},
		{"and is required", "BROKER_TYPE=redis\nREDIS_URL=127.0.0.1:1\nBROKER_REQUIRED=true", "", "broker.required is set"},
		{"RabbitMQ, which is required", amqp + "\nBROKER_REQUIRED=true", "", "broker.required is set"},
		{"a CA file", "DISCORD_API_CA_FILE=not-there.pem", "", "not-there.pem"},
	} {
		environ := append(strings.Split(tt.environ, "\n"), "DISCORD_TOKEN=x.y.z")
		if o := runCommand(environ, "check"); tt.name != "a CA file" && !strings.Contains(tt.want, "directory") && o.code != exitOK {
			t.Errorf("%s: check alone ends with %d\n%s", tt.name, o.code, o.stderr)
		}
		o := runCommand(append(environ, trialVariable+"="+tt.held), "check")
		if (o.code == exitOK) != (tt.want == "") || !strings.Contains(o.stderr, tt.want) || strings.Contains(o.stderr, "wrong-one") {
			t.Errorf("%s: exit code %d, want %q\n%s", tt.name, o.code, tt.want, o.stderr)
		}
	}
	left, _ := filepath.Glob("*/.upgrade-*")
	if here, _ := filepath.Glob(".upgrade-*"); len(left)+len(here) > 0 {
		t.Errorf("%q %q are left", left, here)
	}
}
