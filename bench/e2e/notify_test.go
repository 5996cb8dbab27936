//go:build linux

// This file tests what the service manager is notified of.

package e2e

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/bench/sim"
)

// systemd is notified when the shards are known, and when the process stops; over an upgrade
// it is ready once more, and does not stop.
func TestNotify(t *testing.T) {
	gateway := setup{name: buildGateway(t)}
	for name, address := range map[string]string{"path": filepath.Join(t.TempDir(), "notify"), "abstract": "@sluice/" + filepath.Base(t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			next := func() string {
				t.Helper()
				b := make([]byte, 100)
				socket.SetReadDeadline(time.Now().Add(2 * time.Minute))
				n, err := socket.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				return string(b[:n])
			}
			srv := startSim(t, sim.Options{Shards: 1, IdentifyWindow: time.Millisecond})
			p := startGateway(t, gateway, srv, "NOTIFY_SOCKET="+address, "DISCORD_EVENTS=RESUMED") // or the drain would wait for a reader
			if got := next(); got != "READY=1" {
				t.Errorf("%q at the start", got)
			}
			waitFor(t, "the shard", func() bool { return srv.Connected() == 1 })
			if err := p.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != "READY=1" {
				t.Errorf("%q after an upgrade", got)
			}
			p.terminate()
			if got := next(); got != "STOPPING=1" {
				t.Errorf("%q at the end", got)
			}
			p.exit(0)
		})
	}
}
