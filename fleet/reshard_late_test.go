// This file tests what comes late while the shard count is changed: shards that are dropped at a step which is at work, and
// members that see a step after others.

package fleet_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
)

// drop has a node find one of its shards to be another's, which it is not.
func drop(n *node) {
	n.engine.mu.Lock()
	shard := slices.Min(slices.Collect(maps.Keys(n.engine.runs)))
	epoch := n.engine.runs[shard]
	n.engine.mu.Unlock()
	n.Dropped(shard, epoch)
}

// agreed reports whether a node has agreed to the present attempt.
func (t *team) agreed(n *node) bool {
	return slices.ContainsFunc(t.view().Reshard.Voices, func(v fleet.Voice) bool {
		return v.Incarnation == n.Incarnation() && v.Revision > 0
	})
}

// At the switch the shards stay as they are, those too that are to be begun again: it would end the attempt.
func TestReshardHeld(t *testing.T) {
	for _, name := range []string{"it stops its shards", "it waits for the commit"} {
		t.Run(name, func(t *testing.T) {
			resharding(t, 16, 2, func(t *team) {
				n := t.nodes[0]
				if name == "it stops its shards" {
					n = t.nodes[1]
				}
				t.nodes[1].engine.stalls = 5 * time.Second
				t.begin(t.nodes[0], 32)
				t.until("the switch", func() bool { return t.view().Reshard.Stage == fleet.ReshardSwitching })
				time.Sleep(time.Second)
				revision := t.view().Revision
				drop(n)
				for range 20 {
					time.Sleep(100 * time.Millisecond)
					if r := t.view().Revision; r != revision {
						t.Fatalf("the table is at revision %d, and was at %d", r, revision)
					}
				}
				t.committed(32)
				if f := t.view().Reshard.Failures; f > 0 {
					t.Errorf("%d attempts have failed", f)
				}
			})
		})
	}
}

// A shard that is acquired again between two looks at what is pending has the new ones of its class begun again.
func TestReshardReturns(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 32)
		t.until("new shards", func() bool { return b.engine.Ready() > 0 })
		begun := b.engine.begun
		b.set(func(m string) fleettest.Fault { return fleettest.Fault{Lose: m == "Beat" || m == "Look"} })
		drop(b)
		time.Sleep(2500 * time.Millisecond)
		b.set(nil)
		t.committed(32)
		if n := b.engine.begun; n != begun+2 {
			t.Errorf("%d new shards were begun, and %d before, want 2 more", n, begun)
		}
		if f := t.view().Reshard.Failures; f > 0 {
			t.Errorf("%d attempts have failed", f)
		}
	})
}

// Who sees a commit that was made without it before it sees that it is deposed drops what it runs, and follows.
func TestReshardCommittedWithout(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 32)
		t.until("an agreement", func() bool { return t.agreed(b) })
		b.set(lost)
		t.until("the commit", func() bool { return t.view().Plan.Shards == 32 })
		b.set(func(m string) fleettest.Fault { return fleettest.Fault{Lose: m == "Beat"} })
		b.Rebalance() // so it looks
		time.Sleep(500 * time.Millisecond)
		b.engine.mu.Lock()
		n := len(b.engine.runs)
		b.engine.mu.Unlock()
		if n > 0 {
			t.Errorf("it runs %d shards of the former count", n)
		}
		b.set(nil)
		t.committed(32)
	})
}

// Who cannot run one of its shards does not agree, though the others have their new ones.
func TestReshardAgreesWhole(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 32)
		t.until("an agreement", func() bool { return t.agreed(b) })
		b.set(func(m string) fleettest.Fault { return fleettest.Fault{Lose: m == "Acquire"} })
		drop(b)
		time.Sleep(20 * time.Second)
		if r := t.view().Reshard; r.Stage != fleet.ReshardPending || r.Failures > 0 || t.agreed(b) {
			t.Errorf("it has agreed: %+v", r)
		}
		b.set(nil)
		t.committed(32)
	})
}

// Who has agreed, and finds itself at the switch without one of its shards, ends the attempt at once: nobody stops for it.
func TestReshardSwitchesWhole(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 32)
		t.until("an agreement", func() bool { return t.agreed(b) })
		b.set(func(m string) fleettest.Fault { return fleettest.Fault{Lose: m == "Acquire" || m == "Report"} })
		drop(b)
		t.until("a failure", func() bool { return t.view().Reshard.Failures == 1 })
		if f := t.view().Reshard.Failure; !strings.HasSuffix(f, "its old and new shards do not agree any more") {
			t.Errorf("the failure: %s", f)
		}
		if n := b.engine.switches; n > 0 {
			t.Errorf("it has stopped its shards %d times", n)
		}
		b.set(nil)
		t.committed(32)
	})
}

// When a failover forgets a commit while the new shards are claimed, an engine that runs them is given no old ones;
// and when no sink refuses these, their epochs are above those of the new ones.
func TestReshardForgetsCommit(t *testing.T) {
	for _, claimed := range []bool{true, false} {
		t.Run(fmt.Sprint("claimed ", claimed), func(t *testing.T) {
			resharding(t, 16, 0, func(t *team) {
				sink := &claims{epochs: make(map[int]int64)}
				if claimed {
					t.sink = sink
				}
				t.add("a")
				t.add("b")
				time.Sleep(20 * time.Second)
				t.check(16)
				t.c.Remember(1000)
				t.begin(t.nodes[0], 8)
				t.until("the switch", func() bool { return t.view().Reshard.Stage == fleet.ReshardSwitching })
				sink.mu.Lock()
				sink.fails = 12
				sink.mu.Unlock()
				t.until("the commit", func() bool { return t.view().Plan.Shards == 8 })
				time.Sleep(200 * time.Millisecond) // both know
				for t.view().Plan.Shards == 8 {
					t.c.Forget(1)
				}
				t.committed(8)
			})
		})
	}
}
