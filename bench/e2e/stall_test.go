// This file tests the gateway while nobody reads its output.

package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
)

var stallBeats = flag.Int("stall", beatsOfStall, "for how many heartbeats of each shard nothing is read")

// stallHeartbeat is how long the answer to a heartbeat may take, on a machine that is busy.
const stallHeartbeat = 3 * time.Second

// waitBeats waits until every shard has sent some heartbeats more.
func waitBeats(t *testing.T, srv *sim.Server, shards int) {
	t.Helper()
	beats := func() map[int]int {
		n := make(map[int]int)
		for _, h := range srv.Ledger().Heartbeats() {
			n[h.Shard]++
		}
		return n
	}
	before := beats()
	waitFor(t, "heartbeats", func() bool {
		now := beats()
		for shard := range shards {
			if now[shard] < before[shard]+*stallBeats {
				return false
			}
		}
		return true
	})
}

// resident returns the memory of the program in KiB.
func (p *program) resident() (kib int) {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.t.Fatal(err)
	}
	return kib
}

// Nobody reads standard output for many heartbeats, while Discord sends as fast
// as it can: memory stays within the bound, every connection lives, and
// afterwards everything arrives.
func testStall(t *testing.T, g setup) {
	const shards, bound = floodShards, 4 << 20
	rec, err := sim.Record(floodEvents, "")
	if err != nil {
		t.Fatal(err)
	}
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond,
		Recording: rec, Rate: -1, Seed: 1, HeartbeatInterval: stallHeartbeat, HeartbeatGrace: 30 * time.Second, SendLimit: 1000})
	g.compression = "none"
	p := startGateway(t, g, srv, fmt.Sprintf("BROKER_BUFFER=%d", bound))
	const want = shards * (floodEvents + 1) // with READY
	received := p.read(func(n int, _ line) bool { return n < want/20 })
	waitBeats(t, srv, shards)
	if runtime.GOOS == "linux" {
		// The bound, a message for each shard, and what a small process takes, with what the
		// tests have imported.
		kib := p.resident()
		t.Logf("%d KiB", kib)
		if limit := memoryFactor * (bound + 44<<20) >> 10; kib > limit {
			t.Errorf("%d KiB, more than %d", kib, limit)
		}
	}
	received = append(received, p.read(func(n int, _ line) bool { return len(received)+n < want })...)
	if r := srv.Ledger().Check(received); r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	if s := srv.Ledger().Summary(); s.Connects != shards {
		t.Errorf("%v", s)
	}
	p.terminate()
	p.exit(0)
}
