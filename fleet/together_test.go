// This file tests what shards that move together wait for.

package fleet_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"sluice/fleet"
)

// distant is a coordinator of which each Take takes a second.
type distant struct {
	fleet.Coordinator
	mu         sync.Mutex
	takes, max int
}

func (d *distant) note(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takes += n
	d.max = max(d.max, d.takes)
}

func (d *distant) Take(ctx context.Context, shard int, by fleet.Owner) error {
	d.note(1)
	defer d.note(-1)
	time.Sleep(time.Second)
	return d.Coordinator.Take(ctx, shard, by)
}

// Shards that are given together are taken together: none waits for the others, and none is taken back meanwhile.
func TestTakesTogether(t *testing.T) {
	run(t, func(p *party) {
		far := new(distant)
		a := p.add("a")
		time.Sleep(10 * time.Second)
		b := p.add("b", func(w *way) fleet.Coordinator { far.Coordinator = w; return far })
		time.Sleep(30 * time.Second)
		has, removed := a.engine.count(), a.engine.removed
		a.Drain(context.Background())
		time.Sleep(5 * time.Second)
		p.check("drained", b)
		if n := a.engine.removed - removed; n != has {
			t.Errorf("%d handovers of %d shards: some were taken back", n, has)
		}
		if far.max < 4 {
			t.Errorf("%d Takes at a time", far.max)
		}
	})
}
