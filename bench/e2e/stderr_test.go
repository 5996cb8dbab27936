//go:build linux

// This file tests that standard error may be read by nobody.

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/bench/sim"
)

// With a full pipe as standard error the events go on, and SIGTERM ends the program.
func TestStuckStderr(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "stderr")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(fifo, syscall.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for n, fill := 0, make([]byte, 4096); ; n++ {
		if _, err = syscall.Write(fd, fill); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
	wrapper := filepath.Join(dir, "gateway")
	if err := os.WriteFile(wrapper, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\" 2>>'%s'\n", buildGateway(t), fifo), 0o755); err != nil {
		t.Fatal(err)
	}
	const shards = 4
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, Rate: 200, Seed: 1})
	p := startGateway(t, setup{name: wrapper}, srv, "LOG_LEVEL=debug")
	go fmt.Fprint(p.stdin, strings.Repeat("no command\n", 50_000)) // each is logged, or counted
	p.read(func(n int, _ line) bool { return n < 1000 })
	waitFor(t, "the shards", func() bool { return srv.Connected() == shards })
	p.terminate()
	p.read(func(int, line) bool { return true })
	p.exit(0)
	keepsSessions(t, srv)
}
