//go:build failpoints

// This file tests that a gateway with failpoints ends at each of them.

package crash

import (
	"syscall"
	"testing"

	"sluice/bench/reexec"
)

func TestPoints(t *testing.T) {
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			r := &run{dir: t.TempDir(), o: Options{Gateway: reexec.Link(t, "gateway"), Sink: "redis", Store: "file", Shards: 2, Rate: 250, Seed: 1, Spool: true}}
			if err := r.start(); err != nil {
				t.Fatal(err)
			}
			defer r.srv.Close()
			defer r.outlet.stop()
			if point == "spool" {
				back, err := r.outlet.away()
				if err != nil {
					t.Fatal(err)
				}
				defer back()
			}
			g, err := r.launch(point + ":1")
			if err != nil {
				t.Fatal(err)
			}
			if point == "drain" {
				if err := r.wait(t.Context(), g, "the shards", func() bool { return r.srv.Connected() == r.o.Shards }); err != nil {
					t.Fatal(err)
				}
				g.cmd.Process.Signal(syscall.SIGTERM)
			}
			if killed, err := g.finished(false); err != nil || !killed {
				t.Errorf("the gateway ended without being killed: %v", err)
			}
		})
	}
}
