// This file tests what a reload tells whoever asks for it.

package cli

import (
	"slices"
	"strings"
	"testing"

	"sluice/cmd/gateway/admin"
	"sluice/cmd/gateway/config"
	"sluice/sinks/sinktest"
)

// `gateway reload` ends with an error that has all that is wrong in a line, without secrets, when the settings are broken;
// else it prints what has changed.
func TestReloadCommand(t *testing.T) {
	const token, password = "token-0123456789abcdef", "a-password"
	g := newReloading(t, nil, "")
	address := sinktest.FreeAddress(t)
	file := "[http]\naddress = '" + address + "'\ntoken = '" + token + "'\n"
	g.write(file)
	cfg, problems := config.Load(g.sources)
	if problems.Failed() {
		t.Fatal(problems)
	}
	g.reloader = newReloader(g.sources, cfg, g.level, g.log)
	served, err := serveAdmin(cfg, admin.Options{Actions: g.reloader}, g.log)
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	t.Chdir(t.TempDir()) // whose gateway.toml the command would read
	for _, tt := range []struct {
		file   string
		code   int
		stdout string
		stderr []string
	}{
		{"events = [\"no name\"]\nlarge_threshold = 1\n" + file + "[redis]\nurls = [\"redis://:" + password + "@127.0.0.1:x\"]", exitFailure, "",
			[]string{"error: " + errReload.Error() + ": ", "events: ", "; ", "large_threshold: ", "redis.urls"}},
		{"[http", exitFailure, "", []string{errReload.Error() + ": ", "not TOML"}},
		{"[api]\nca_file = '/nowhere'\n" + file, exitFailure, "", []string{errReload.Error() + ": ", "api.ca_file"}},
		{file, exitOK, "nothing has changed\n", nil},
		{file + "[log]\nlevel = \"warn\"", exitOK, "log.level: \"warn\", was \"info\"\n", nil},
	} {
		g.write(tt.file)
		o := runCommand([]string{"HTTP_TOKEN=" + token}, "reload", "-address", address)
		if o.code != tt.code || o.stdout != tt.stdout || strings.Count(o.stderr, "\n") != min(1, len(tt.stderr)) || strings.Contains(o.stderr, password) {
			t.Errorf("%s: %+v", tt.file, o)
		}
		for _, says := range tt.stderr {
			if !strings.Contains(o.stderr, says) {
				t.Errorf("%s: said %q, want %s", tt.file, o.stderr, says)
			}
		}
	}
}

// Whether gaps are written follows events on standard output. It needs a restart, and is named also where no
// setting broker.gaps is there.
func TestReloadGaps(t *testing.T) {
	const later = "broker.gaps: changed, and needs a restart"
	g := newReloading(t, nil, `events = ["READY", "GATEWAY_GAP"]`)
	for _, tt := range []struct {
		file  string
		named bool
	}{
		{`events = ["RESUMED", "GATEWAY_GAP"]`, false},
		{`events = ["READY"]`, true},
		{`events = ["READY", "GATEWAY_GAP"]`, false},
		{"", false}, // all events, and gaps
		{"events = [\"READY\", \"GATEWAY_GAP\"]\n[broker]\ngaps = false", true},
		{"events = [\"READY\"]\n[broker]\ngaps = true", false},
	} {
		before := len(g.out.String())
		if lines := g.reload(tt.file); slices.Contains(lines, later) != tt.named {
			t.Errorf("%s: said %q", tt.file, lines)
		}
		logged := strings.Contains(g.out.String()[before:], "needs a restart; it is left unchanged\" setting=broker.gaps")
		if logged != tt.named || !g.cfg.Current().Broker.Gaps {
			t.Errorf("%s: gaps are %v; logged %s", tt.file, g.cfg.Current().Broker.Gaps, g.out.String()[before:])
		}
	}
	amqp := newReloading(t, []string{"BROKER_TYPE=amqp", "AMQP_URL=amqp://127.0.0.1:1"}, `events = ["READY", "GATEWAY_GAP"]`)
	if lines := amqp.reload(`events = ["READY"]`); slices.Contains(lines, later) { // there they do not depend on events
		t.Errorf("said %q", lines)
	}
}
