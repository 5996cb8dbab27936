//go:build linux

// This file tests that a process hands over to the program that is on the disk.

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

// SIGUSR2 hands over to the next program without an Identify, an event lost or one repeated.
func TestUpgrade(t *testing.T) {
	good, gateway := buildGateway(t), buildGateway(t) // which is replaced
	const shards = 4
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Rate: 100, ReplayLimit: 1 << 20, Seed: 1})
	redis := redistest.Start(t)
	env := []string{"BROKER_TYPE=redis", "REDIS_URL=" + redis.Addr, "BROKER_ENCODING=json", "REDIS_STREAM=events", "REDIS_FIELDS=event,shard,session,seq"}
	p := startGateway(t, setup{name: gateway}, srv, env...)
	ask := func() (string, error) {
		cmd := exec.Command(good, "upgrade")
		cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards && srv.Connected() == shards })

	// A successor that would not start is none.
	if err := os.Remove(gateway); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(gateway, []byte("#!/bin/sh\necho 'error: shards.count: no' >&2\nexit 2\n"), 0o755)
	if out, err := ask(); err == nil || !strings.Contains(out, "goes on as it was") || !strings.Contains(out, "shards.count: no") {
		t.Errorf("a refused upgrade says %q, %v", out, err)
	}
	if log := p.stderr.String(); !strings.Contains(log, "this process goes on") || !strings.Contains(log, "shards.count: no") {
		t.Errorf("a refused upgrade is logged as %s", log)
	}
	if n := srv.Ledger().Summary().Resumes; n > 0 || srv.Connected() != shards {
		t.Errorf("%d resumes after an upgrade that was refused", n)
	}

	os.Remove(gateway) // it runs
	if err := os.Link(good, gateway); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		var others sync.WaitGroup
		if n == 2 { // two at once have one outcome, or one after the other
			others.Go(func() {
				if out, err := ask(); err != nil {
					t.Errorf("the other of two: %v, %s", err, out)
				}
			})
		}
		if out, err := ask(); err != nil || !strings.Contains(out, "hands over") || !strings.Contains(out, "runs the program") {
			t.Errorf("upgrade says %q, %v", out, err)
		}
		others.Wait()
		waitFor(t, "the shards", func() bool {
			return srv.Ledger().Summary().Resumed >= (n+1)*shards && srv.Connected() == shards
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

// A process that is asked again and again while it hands over, and before the next program
// has begun to listen, is not killed by that.
func TestUpgradeAskedOften(t *testing.T) {
	const shards = 2
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Seed: 1})
	redis := redistest.Start(t)
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards && srv.Connected() == shards })
	often := time.NewTicker(500 * time.Microsecond)
	defer often.Stop()
	deadline := time.After(patience)
	for srv.Ledger().Summary().Resumed < 3*shards {
		if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatalf("the process has ended: %v\n%s", err, p.stderr.String())
		}
		select {
		case <-often.C:
		case <-deadline:
			t.Fatalf("after %v: %v\n%s", patience, srv.Ledger().Summary(), p.stderr.String())
		}
	}
	p.terminate()
	p.exit(0)
	if s := srv.Ledger().Summary(); s.Identifies != shards {
		t.Errorf("%d identifies for %d shards", s.Identifies, shards)
	}
}

// A program that takes the settings and does not run ends the process; who has asked is told.
func TestUpgradeFails(t *testing.T) {
	good, gateway := buildGateway(t), buildGateway(t) // which is replaced
	srv := startSim(t, sim.Options{TLS: true})
	redis := redistest.Start(t)
	p := startGateway(t, setup{name: gateway}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
	waitFor(t, "the shard", func() bool { return srv.Connected() == 1 })
	os.Remove(gateway)
	os.WriteFile(gateway, []byte("#!/bin/sh\n[ \"$1\" = check ] || exit 9\n"), 0o755)
	cmd := exec.Command(good, "upgrade")
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "has ended") {
		t.Errorf("a failed upgrade says %q, %v", out, err)
	}
	p.exit(9)
}

// A signal that comes while a process hands over ends it: the next program does not begin.
func TestUpgradeStopped(t *testing.T) {
	srv := startSim(t, sim.Options{TLS: true, Rate: 500, Seed: 1})
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "SHUTDOWN_TIMEOUT=5m")
	// More than the pipe holds: the drain waits for the test to read.
	waitFor(t, "events", func() bool { return srv.Ledger().Summary().Events > 2_000 })
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the drain", func() bool { return strings.Contains(p.stderr.String(), "handed over") })
	p.terminate()
	p.read(func(int, line) bool {
		if strings.Count(p.stderr.String(), "msg=starting") > 1 {
			t.Fatal("the next program has begun")
		}
		return true
	})
	p.exit(0)
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
	p.read(func(int, line) bool { return true }) // or the drain would wait
	p.exit(0)
}

// A next program that could not start is found out before the drain: the process goes on.
func TestUpgradeThatWouldNotStart(t *testing.T) {
	const shards = 2
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Seed: 1})
	redis := redistest.Start(t)
	p := startGateway(t, setup{name: buildGateway(t)}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards && srv.Connected() == shards })
	redis.CLI("config", "set", "requirepass", "another") // for connections that are made from now on
	if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the refusal", func() bool { return strings.Contains(p.stderr.String(), "this process goes on") })
	if log := p.stderr.String(); !strings.Contains(log, "redis.urls") || srv.Connected() != shards {
		t.Errorf("%d of %d shards are connected; logged %s", srv.Connected(), shards, log)
	}
	p.terminate()
	p.exit(0)
}
