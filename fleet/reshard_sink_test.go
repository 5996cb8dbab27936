// This file tests what a reshard does to what is published, and to what is asked before a connection is made.

package fleet_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
	"sluice/sinks"
)

// claims is a sink that all members share.
type claims struct {
	mu     sync.Mutex
	epochs map[int]int64
	fails  int // so many calls
}

func (c *claims) Claim(_ context.Context, epochs map[int]int64) (map[int]sinks.Position, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fails > 0 && len(epochs) > 0 {
		c.fails--
		return nil, errors.New("no such luck")
	}
	higher := make(map[int]int64)
	for shard, epoch := range epochs {
		if c.epochs[shard] > epoch {
			higher[shard] = c.epochs[shard]
		} else {
			c.epochs[shard] = epoch
		}
	}
	if len(higher) > 0 {
		return nil, &sinks.ClaimedError{Epochs: higher}
	}
	return nil, nil
}

// New shards are claimed before anything of them goes out, however often that fails, and what the sink knows under a higher
// epoch is begun again under one that is higher still.
func TestReshardClaims(t *testing.T) {
	sink := &claims{epochs: make(map[int]int64)}
	resharding(t, 16, 0, func(t *team) {
		t.sink = sink
		for _, name := range []string{"a", "b", "c"} {
			t.add(name)
		}
		time.Sleep(20 * time.Second)
		t.check(16)
		high := time.Now().Add(time.Hour).UnixMilli()
		sink.epochs[20] = high
		opened := 0
		for _, n := range t.nodes {
			n.engine.opened = func(next map[int]int64) {
				sink.mu.Lock()
				defer sink.mu.Unlock()
				for shard, epoch := range next {
					if opened++; sink.epochs[shard] != epoch && shard != 20 {
						t.Errorf("%s opens shard %d under epoch %d, and %d is claimed", n.name, shard, epoch, sink.epochs[shard])
					}
					if !n.Owns(shard, epoch) {
						t.Errorf("%s opens shard %d under epoch %d, which it says is not its own", n.name, shard, epoch)
					}
				}
			}
		}
		old := maps.Clone(t.nodes[0].engine.runs)
		t.begin(t.nodes[0], 32)
		t.until("the switch", func() bool {
			for shard, epoch := range old {
				if v := t.view(); v.Plan.Shards == 16 && v.Reshard.Stage == fleet.ReshardPending && !t.nodes[0].Owns(shard, epoch) {
					t.Fatalf("shard %d is not owned any more before the switch", shard)
				}
			}
			return t.view().Reshard.Stage == fleet.ReshardSwitching
		})
		sink.mu.Lock()
		sink.fails = 7
		sink.mu.Unlock()
		t.committed(32)
		if opened != 32 || sink.fails != 0 {
			t.Errorf("%d shards were opened, and %d failures are left", opened, sink.fails)
		}
		for _, s := range t.view().Shards {
			if sink.epochs[s.ID] != s.Owner.Epoch || s.ID == 20 && s.Owner.Epoch <= high {
				t.Errorf("shard %d is claimed under epoch %d: %+v", s.ID, sink.epochs[s.ID], s)
			}
		}
		for shard, epoch := range old {
			if t.nodes[0].Owns(shard, epoch) {
				t.Errorf("shard %d is owned under its former epoch", shard)
			}
		}
	})
}

// confirms asks a node.
func confirms(n *node, shard int, epoch int64) bool {
	answer := make(chan bool, 1)
	n.Confirm(shard, epoch, func(owned bool) { answer <- owned })
	return <-answer
}

// A new shard may connect while the old ones of its class are owned as they were when it was begun, and when it is in force.
func TestReshardConfirms(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		b := t.nodes[1]
		t.begin(t.nodes[0], 24)
		t.until("new shards", func() bool { return b.engine.Ready() > 0 })
		b.engine.mu.Lock()
		next, old := maps.Clone(b.engine.next), maps.Clone(b.engine.runs)
		b.engine.mu.Unlock()
		for shard, epoch := range next {
			if !confirms(b, shard, epoch) || confirms(b, shard, epoch+1) || confirms(t.nodes[0], shard, epoch) {
				t.Errorf("new shard %d under epoch %d is not owned, or is under another, or by another", shard, epoch)
			}
		}
		for shard, epoch := range old {
			if !confirms(b, shard, epoch) {
				t.Errorf("shard %d is not owned", shard)
			}
		}
		late := false // it does not see the commit
		b.set(func(m string) fleettest.Fault {
			late = late || m == "Commit"
			return fleettest.Fault{Lose: late && (m == "Look" || m == "Beat")}
		})
		t.until("the commit", func() bool { return t.view().Plan.Shards == 24 })
		for shard, epoch := range next {
			if !confirms(b, shard, epoch) {
				t.Errorf("new shard %d is not owned when it is in force", shard)
			}
		}
		for shard, epoch := range old {
			if confirms(b, shard, epoch) {
				t.Errorf("old shard %d is owned", shard)
			}
		}
		b.set(nil)
		t.committed(24)
	})
}

// Of a member that is deposed, a new shard must not connect.
func TestReshardConfirmsDeposed(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		b := t.nodes[1]
		for _, n := range t.nodes {
			n.engine.fails = func() error { return errors.New("not yet") }
		}
		t.begin(t.nodes[0], 32)
		t.until("new shards", func() bool { return b.engine.Ready() > 0 })
		b.engine.mu.Lock()
		next := maps.Clone(b.engine.next)
		b.engine.mu.Unlock()
		b.set(lost)
		time.Sleep(8 * time.Second)
		b.set(nil)
		for shard, epoch := range next {
			if confirms(b, shard, epoch) {
				t.Errorf("new shard %d may connect", shard)
			}
			break
		}
		synctest.Wait()
	})
}
