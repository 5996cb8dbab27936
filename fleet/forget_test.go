// This file tests members whose coordinator forgets steps, as a replica does that was promoted too early.

package fleet_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/resume"
)

// A handover whose end is forgotten, after its giver has seen it, ends again: the target runs the shard.
func TestTakeForgotten(t *testing.T) {
	run(t, func(p *party) {
		p.c.Remember(1000)
		a := p.add("a")
		time.Sleep(5 * time.Second)
		b := p.add("b")
		time.Sleep(20 * time.Second)
		p.check("two", a, b)
		given := func() bool {
			v, err := p.c.Look(context.Background(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(v.Shards, func(s fleet.Shard) bool { return s.Giver != "" })
		}
		for !given() {
			if p.c.Forget(1) == 0 {
				t.Fatal("no handover is remembered")
			}
		}
		time.Sleep(5 * time.Second)
		p.check("afterwards", a, b)
		if given() {
			t.Error("a shard runs, and is not taken")
		}
		if n := a.engine.dropped + b.engine.dropped; n > 0 {
			t.Errorf("%d shards were dropped", n)
		}
	})
}

// stale does not show how a shard has changed, unless it is asked for everything.
type stale struct {
	fleet.Coordinator
	shard int
}

func (s *stale) hide(v fleet.View, since int64) fleet.View {
	if since > 0 {
		v.Shards = slices.DeleteFunc(v.Shards, func(row fleet.Shard) bool { return row.ID == s.shard })
	}
	return v
}

func (s *stale) Look(ctx context.Context, since int64) (fleet.View, error) {
	v, err := s.Coordinator.Look(ctx, since)
	return s.hide(v, since), err
}

func (s *stale) Beat(ctx context.Context, m fleet.Member, since int64) (fleet.View, error) {
	v, err := s.Coordinator.Beat(ctx, m, since)
	return s.hide(v, since), err
}

// A member whose table says that a shard is its own, and whose broker or store says that it is not, looks at the whole table.
func TestDroppedUnseen(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		time.Sleep(5 * time.Second)
		b := p.add("b")
		time.Sleep(20 * time.Second)
		p.check("two", a, b)
		v, err := p.c.Look(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b.engine.mu.Lock()
		first := slices.IndexFunc(v.Shards, func(s fleet.Shard) bool { _, runs := b.engine.runs[s.ID]; return !runs })
		b.engine.mu.Unlock()
		row := v.Shards[first]
		other := slices.IndexFunc(v.Members, func(m fleet.Member) bool { return m.Incarnation != row.Owner.Incarnation })
		a.way.mu.Lock()
		a.way.Coordinator = &stale{p.c, row.ID}
		a.way.mu.Unlock()
		if _, err := p.c.Give(context.Background(), row.ID, row.Owner, v.Members[other].Incarnation); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		a.Dropped(row.ID, row.Owner.Epoch)
		time.Sleep(2 * time.Second)
		p.check("afterwards", a, b)
		if n := a.engine.dropped; n > 2 {
			t.Errorf("%d times dropped", n)
		}
	})
}

// hasty drops shards as soon as they are added, some times.
type hasty struct {
	*engine
	fleet *fleet.Fleet
	times int
}

func (h *hasty) Add(ctx context.Context, shard int, from resume.Session) error {
	if h.times--; h.times >= 0 {
		h.fleet.Dropped(shard, from.Epoch)
		time.Sleep(10 * time.Millisecond) // it is heard before Add returns
		return nil
	}
	return h.engine.Add(ctx, shard, from)
}

// A shard that is dropped while it is started runs in the end, if it is this member's still.
func TestDroppedWhileStarting(t *testing.T) {
	run(t, func(p *party) {
		f := fleet.New(p.options("a", p.c))
		h := &hasty{&engine{runs: make(map[int]int64)}, f, 5}
		ctx, stop := context.WithCancel(context.Background())
		if _, err := f.Join(ctx); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- f.Run(ctx, h) }()
		time.Sleep(10 * time.Second)
		if n := h.count(); n != shards || h.times >= 0 {
			t.Errorf("%d shards run; %d are left to be dropped", n, h.times)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
