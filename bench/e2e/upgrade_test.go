//go:build linux

// This file tests that a process hands over to the program that is on the disk.

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

func TestUpgrade(t *testing.T) {
	gateway := filepath.Join(t.TempDir(), "gateway") // a file of its own, which is replaced
	copyProgram := func(from string) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err == nil {
			os.Remove(gateway) // it runs
			err = os.WriteFile(gateway, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	good := buildGateway(t)
	copyProgram(good)
	const shards = 4
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Rate: 100, ReplayLimit: 1 << 20, Seed: 1})
	redis := redistest.Start(t)
	env := []string{"BROKER_TYPE=redis", "REDIS_URL=" + redis.Addr, "BROKER_ENCODING=json", "REDIS_STREAM=events", "REDIS_FIELDS=event,shard,session,seq"}
	p := startGateway(t, setup{name: gateway}, srv, env...)
	ask := func() string {
		t.Helper()
		cmd := exec.Command(good, "upgrade")
		cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards && srv.Connected() == shards })

	// A successor that would not start is none.
	if err := os.Remove(gateway); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(gateway, []byte("#!/bin/sh\necho 'error: shards.count: no' >&2\nexit 2\n"), 0o755)
	ask()
	waitFor(t, "the refusal", func() bool {
		return strings.Contains(p.stderr.String(), "this process goes on") && strings.Contains(p.stderr.String(), "shards.count: no")
	})
	if n := srv.Ledger().Summary().Resumes; n > 0 || srv.Connected() != shards {
		t.Errorf("%d resumes after an upgrade that was refused", n)
	}

	copyProgram(good)
	for n := range 3 {
		if out := ask(); !strings.Contains(out, "hands over") {
			t.Errorf("upgrade says %q", out)
		}
		waitFor(t, "the shards", func() bool {
			return srv.Ledger().Summary().Resumed == (n+1)*shards && srv.Connected() == shards
		})
	}
	if s := srv.Ledger().Summary(); s.Identifies != shards {
		t.Errorf("%d identifies for %d shards", s.Identifies, shards)
	}
	srv.Silence()
	p.terminate()
	p.exit(0) // it is still the same process
	cmd := exec.Command(good, "upgrade")
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no process uses the directory") {
		t.Errorf("without a process: %v, %s", err, out)
	}
}

// What a process does not leave to the next one cannot be handed over.
func TestUpgradeFromMemory(t *testing.T) {
	srv := startSim(t, sim.Options{TLS: true})
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "SHARD_STORE_TYPE=memory")
	waitFor(t, "the shard", func() bool { return srv.Connected() == 1 })
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the refusal", func() bool { return strings.Contains(p.stderr.String(), "shard_store.type is memory") })
	p.terminate()
	p.exit(0)
}
