// This file tests what a start that fails leaves open.

package cli

import (
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"sluice/cmd/gateway/config"
)

// A start that fails late has closed what it has opened: the next one finds the directories
// of the store and of the spool free.
func TestFailedStartCloses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	environ := func(more ...string) []string {
		return append([]string{
			"DISCORD_TOKEN=x.y.z", "SHARD_STORE_DIRECTORY=" + filepath.Join(dir, "state"),
			"SPOOL_DIRECTORY=" + filepath.Join(dir, "spool"), "BROKER_TYPE=amqp", "AMQP_URL=amqp://127.0.0.1:1",
		}, more...)
	}
	for _, tt := range []struct {
		name, want string
		environ    []string
	}{
		{"debug.address", "debug.address", environ("DEBUG_ADDRESS=" + l.Addr().String())},
		{"http.address", "http.address", environ("HTTP_ADDRESS=" + l.Addr().String())},
		{"prometheus.address", "prometheus.address", environ("PROMETHEUS_ADDRESS=" + l.Addr().String())},
		{"the broker", "broker.required", environ("BROKER_REQUIRED=true")},
	} {
		for n := range 2 {
			cfg, problems := config.Load(config.Sources{Environ: tt.environ})
			if problems.Failed() {
				t.Fatal(problems)
			}
			log := slog.New(slog.DiscardHandler)
			r := newReloader(config.Sources{Environ: tt.environ}, cfg, new(slog.LevelVar), log)
			err := run(t.Context(), cfg, Brokers(), log, r, nil, func() { t.Error("started") })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, start %d: %v", tt.name, n, err)
			}
		}
	}
}
