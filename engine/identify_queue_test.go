// This file tests an engine whose turns to Identify are given by others.

package engine_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

// grants is an IdentifyQueue that gives the turns that the test gives.
type grants struct {
	mu      sync.Mutex
	waiting map[int]func()
	spent   []int
	left    int // calls of Leave
}

func (g *grants) Join(shard int, granted func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting[shard] = granted
}

func (g *grants) Leave(shard int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left++
	delete(g.waiting, shard)
}

func (g *grants) NotBefore(int) time.Time { return time.Time{} }

func (g *grants) Spend(shard int, _ time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent = append(g.spent, shard)
}

func (g *grants) Left() int { return 1000 }

// waits reports whether the shard waits for a turn.
func (g *grants) grant(shard int) bool {
	g.mu.Lock()
	granted := g.waiting[shard]
	g.mu.Unlock()
	if granted == nil {
		return false
	}
	granted()
	return true
}

// The turns to Identify may be others' to give.
func TestIdentifyQueueOfOthers(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		g := &grants{waiting: make(map[int]func())}
		w := newWorld(t, reader, sim.Options{Shards: 3, MaxConcurrency: 3}, engine.Options{Identify: g})
		time.Sleep(time.Hour)
		if n := w.dialed(); n > 0 {
			t.Errorf("%d connections without a turn", n)
		}
		w.remove(1)
		for _, tt := range []struct {
			shard int
			waits bool
		}{{2, true}, {1, false}, {0, true}} {
			if g.grant(tt.shard) != tt.waits {
				t.Errorf("shard %d waits: want %v", tt.shard, tt.waits)
			}
			time.Sleep(10 * time.Second)
		}
		w.ready(2)
		if !slices.Equal(g.spent, []int{2, 0}) {
			t.Errorf("identified: %v", g.spent)
		}
		w.end()
	})
}
