//go:build linux

// This file tests where the control socket is, whatever keeps the sessions, and what is so where it cannot be.

package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// asks runs a subcommand beside the program, with its environment.
func (p *program) asks(args ...string) (out string, ok bool) {
	cmd := exec.CommandContext(p.t.Context(), p.cmd.Path, args...)
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	text, err := cmd.CombinedOutput()
	return string(text), err == nil
}

// gateway health and gateway status find the process wherever sessions are kept. In a directory that is read-only there is no
// socket, which is a line of the log and nothing more.
func TestStateDirectory(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for name, tt := range map[string]struct {
		env  []string
		says string // of the socket that is not there
	}{
		"file":   {nil, ""},
		"redis":  {[]string{"SHARD_STORE_TYPE=redis", "REDIS_URL=" + redis.Addr}, ""},
		"memory": {[]string{"SHARD_STORE_TYPE=memory"}, ""},
		// Not even root creates something there.
		"cannot be made": {[]string{"SHARD_STORE_TYPE=memory", "SHARD_STORE_DIRECTORY=/proc/state"}, "there is no control socket"},
		"read-only":      {[]string{"SHARD_STORE_TYPE=memory", "SHARD_STORE_DIRECTORY=/proc/sys"}, "the control socket is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startSim(t, sim.Options{Shards: 1, Guilds: -1}) // fewer events than fill the pipe, which nobody reads before the end
			address := sinktest.FreeAddress(t)
			p := startGateway(t, setup{name: buildGateway(t)}, srv, append(tt.env, "HTTP_ADDRESS="+address, "DISCORD_INTENTS=GUILDS")...)
			waitFor(t, "readiness", func() bool {
				code, _, err := answered(asker(nil), "GET", "http://"+address+"/readyz", "")
				return err == nil && code == 200
			})
			for _, args := range [][]string{{"health"}, {"health", "-ready"}, {"status"}} {
				if out, ok := p.asks(args...); ok != (tt.says == "") || !ok && strings.Count(out, "\n") != 1 {
					t.Errorf("gateway %v: %v, %s", args, ok, out)
				}
				if out, ok := p.asks(append(args, "-address", address)...); !ok {
					t.Errorf("gateway %v -address: %s", args, out)
				}
			}
			p.terminate()
			p.read(func(int, line) bool { return true })
			p.exit(0)
			told := 0
			for line := range strings.Lines(p.stderr.String()) {
				if !strings.Contains(line, "level=INFO") {
					t.Errorf("logged %s", line)
				}
				if strings.Contains(line, "gateway status and the like") {
					told++
				}
			}
			if told != min(1, len(tt.says)) || !strings.Contains(p.stderr.String(), tt.says) {
				t.Errorf("%d lines are about the socket, want %q:\n%s", told, tt.says, p.stderr.String())
			}
		})
	}
}
