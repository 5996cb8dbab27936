// This file tests an engine whose turns to Identify are given by others.

package engine_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/wire"
)

// grants is an IdentifyQueue that gives the turns that the test gives.
type grants struct {
	mu      sync.Mutex
	waiting map[int]func()
	spent   []int
	refuse  bool
	before  map[int]time.Time // NotBefore
	left    int               // calls of Leave
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

func (g *grants) NotBefore(shard int) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.before[shard]
}

func (g *grants) Spend(shard int, _ time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.refuse {
		g.spent = append(g.spent, shard)
	}
	return !g.refuse
}

func (g *grants) Left() int { return 1000 }

// grant gives the shard its turn, if it waits for one.
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

// A turn may be lost before the Identify is sent, which then is not: the shard joins again. When it may be
// sent is asked for again when that time has come. Each Identify is counted whoever gave its turn.
func TestTurnLost(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		g, c := &grants{waiting: make(map[int]func()), before: make(map[int]time.Time)}, new(checkpoints)
		w := newWorld(t, reader, sim.Options{}, engine.Options{Identify: g, Checkpoints: c})
		w.wait("the shard", func() bool { return g.waits(0) })
		g.refuse = true
		for i := range 3 {
			left := g.count()
			g.grant(0)
			w.wait("the next turn", func() bool { return g.waits(0) && g.count() > left })
			if n := w.srv.Ledger().Summary(); n.Identifies > 0 || n.Connects != i+1 {
				t.Errorf("%v", n)
			}
		}
		if n := ended(w.engine.Status(), "identify turn lost", 0); n != 3 {
			t.Errorf("%d connections counted", n)
		}
		for _, c := range w.srv.Ledger().Closes() {
			if !c.FromClient || c.Code != wire.CloseKeepSession {
				t.Errorf("closed with %v, by the client %v", c.Code, c.FromClient)
			}
		}
		g.mu.Lock()
		g.refuse = false
		g.before[0] = time.Now().Add(30 * time.Second)
		g.mu.Unlock()
		g.grant(0)
		time.Sleep(10 * time.Second)
		g.mu.Lock()
		g.before[0] = g.before[0].Add(10 * time.Second) // another has identified in the bucket
		g.mu.Unlock()
		time.Sleep(25 * time.Second)
		if n := w.srv.Ledger().Summary(); n.Identifies > 0 || w.shard(0).State != engine.IdentifyWait {
			t.Errorf("%v; %v", n, w.shard(0).State)
		}
		w.ready(1)
		w.end()
		if c.count.Count != 1 {
			t.Errorf("%d Identifies counted", c.count.Count)
		}
	})
}

// reported are grants that can be looked into.
type reported struct{ grants }

func (*reported) Status() engine.IdentifyStatus {
	return engine.IdentifyStatus{MaxConcurrency: 16, Waiting: 7, Known: true, Total: 1000, Left: 12}
}

// The figures of a queue that can be looked into are the status'.
func TestIdentifyReporter(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		g := &reported{grants{waiting: make(map[int]func())}}
		w := newWorld(t, reader, sim.Options{}, engine.Options{Identify: g})
		w.wait("the shard", func() bool { return g.waits(0) })
		w.wait("the status", func() bool { return w.engine.Status().Identify == g.Status() })
		w.end()
	})
}

// waits reports whether a shard waits for a turn.
func (g *grants) waits(shard int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting[shard] != nil
}

// count returns how often Leave was called.
func (g *grants) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}
