// This file tests processes that join a fleet, or do not.

package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// asked returns what /livez or /readyz answers, 0 if nobody does.
func asked(address, path string) (code int, body string) {
	code, body, err := answered(asker(nil), "GET", "http://"+address+path+"?verbose", "")
	if err != nil {
		return 0, ""
	}
	return code, body
}

// A process that cannot join lives, is not ready, and says why; SIGTERM ends it well. When Redis is there it
// joins by itself. One whose intents are others does not join, and ends with a line that names them.
func TestFleetJoin(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	redis.Kill()
	srv := startSim(t, sim.Options{Shards: 2, IdentifyWindow: time.Millisecond})
	gateway := buildGateway(t)
	member := func(name, address string, env ...string) *program {
		return startGateway(t, setup{name: gateway}, srv, append(env, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "DISCORD_SHARD_IDS=auto",
			"DISCORD_SHARD_COUNT=2", "FLEET_MEMBER="+name, "HTTP_ADDRESS="+address)...)
	}
	first, second := sinktest.FreeAddress(t), sinktest.FreeAddress(t)
	p, q := member("p", first), member("q", second)
	for _, address := range []string{first, second} {
		waitFor(t, "a line that says why it is not ready", func() bool {
			code, body := asked(address, "/readyz")
			return code == 503 && strings.Contains(body, "fleet: not joined yet: ") && strings.Contains(body, "connection refused")
		})
		if code, body := asked(address, "/livez"); code != 200 {
			t.Errorf("/livez of a process that waits: %d %q", code, body)
		}
		if code, body := asked(address, "/metrics"); code != 200 || !strings.Contains(body, "\nsluice_fleet_confirmed 0\n") {
			t.Errorf("/metrics of a process that waits: %d %q", code, body)
		}
	}
	q.terminate()
	q.exit(0)
	redis.Restart()
	waitFor(t, "member", func() bool {
		code, body := asked(first, "/readyz")
		return code == 200 && strings.Contains(body, "2 of 2 ready")
	})
	odd := member("odd", sinktest.FreeAddress(t), "DISCORD_RAW_INTENTS=1")
	odd.exit(2)
	if text := odd.stderr.String(); !strings.Contains(text, "fleet: intents: 1 here, and ") || !strings.Contains(text, " for member p") {
		t.Errorf("it says\n%s", text)
	}
	p.terminate()
	p.exit(0)
}

// said runs a command beside a program, and returns what it prints and its exit code.
func said(t *testing.T, p *program, args ...string) (text string, code int) {
	t.Helper()
	cmd := exec.Command(p.cmd.Path, args...)
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// owns returns how many shards each member has, as a program sees it; nil: it does not say.
func owns(t *testing.T, p *program) map[string]int {
	text, code := said(t, p, "fleet", "-json")
	var f struct {
		Members []struct {
			Name   string
			Shards int
		}
		Moves []struct{ Shard int }
	}
	if err := json.Unmarshal([]byte(text), &f); code != 0 || err != nil || len(f.Moves) > 0 {
		return nil
	}
	n := make(map[string]int)
	for _, m := range f.Members {
		n[m.Name] = m.Shards
	}
	return n
}

// gateway fleet shows the members, why a process waits, and that one is in no fleet; rebalance and drain move
// shards without an Identify.
func TestFleetSteers(t *testing.T) {
	t.Parallel()
	const shards = 8
	redis := redistest.Start(t)
	redis.Kill()
	srv := startSim(t, sim.Options{Shards: shards, IdentifyWindow: time.Millisecond, Rate: 100, ReplayLimit: 1 << 20})
	gateway := buildGateway(t)
	expect := func(p *program, code int, text string, args ...string) {
		t.Helper()
		if out, got := said(t, p, append([]string{"fleet"}, args...)...); got != code || !strings.Contains(out, text) {
			t.Errorf("fleet %v: exit code %d, want %d and %q:\n%s", args, got, code, text, out)
		}
	}
	member := func(name string) *program {
		return startGateway(t, setup{name: gateway}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "DISCORD_SHARD_IDS=auto", "FLEET_SETTLE=10m", "FLEET_MEMBER="+name)
	}
	p := member("p")
	waitFor(t, "a process that says why it waits", func() bool {
		out, code := said(t, p, "fleet")
		return code == 0 && strings.Contains(out, "p has not joined yet: ") && strings.Contains(out, "connection refused")
	})
	expect(p, 1, "waits to join its fleet: ", "drain")
	if out, code := said(t, p, "status"); code != 0 || !strings.Contains(out, "fleet: not joined yet: ") {
		t.Errorf("status of a process that waits: %d\n%s", code, out)
	}
	redis.Restart()
	waitFor(t, "one that has all", func() bool { return owns(t, p)["p"] == shards && srv.Connected() == shards })
	expect(p, 1, "there is no other member to take 8 shards", "drain") // it stays in force, until it is restarted
	p.terminate()
	p.exit(0)

	p = member("p")
	waitFor(t, "all at one again", func() bool { return owns(t, p)["p"] == shards && srv.Connected() == shards })
	q := member("q")
	waitFor(t, "two members", func() bool { return len(owns(t, q)) == 2 && len(owns(t, p)) == 2 })
	expect(p, 0, "MEMBER")
	expect(q, 0, "q has 0 shards, and its share is 4: it has nothing to give; p has 8: ask that one", "rebalance")
	if n := owns(t, q)["q"]; n != 0 {
		t.Errorf("%d shards have moved before they were to", n)
	}
	expect(p, 0, "p has 8 shards, and its share is 4: it gives the rest to others now", "rebalance")
	waitFor(t, "halves", func() bool { n := owns(t, p); return n["p"] == shards/2 && n["q"] == shards/2 })
	expect(p, 0, "p has no shards any more", "drain")
	waitFor(t, "the other to have all", func() bool { return owns(t, q)["q"] == shards && srv.Connected() == shards })
	expect(p, 0, "it drains")
	expect(p, 1, "this member drains", "rebalance")
	expect(q, 1, "there is no other member to take 8 shards", "drain")
	if n := srv.Ledger().Summary().Identifies; n != shards {
		t.Errorf("%d identifies for %d shards", n, shards)
	}
	p.terminate()
	p.exit(0)
	q.terminate()
	q.exit(0)

	alone := startGateway(t, setup{name: gateway}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
	waitFor(t, "a process that serves", func() bool { _, code := said(t, alone, "status"); return code == 0 })
	expect(alone, 1, "the process is in no fleet")
	expect(alone, 1, "the process is in no fleet", "drain")
	alone.terminate()
	alone.exit(0)
}
