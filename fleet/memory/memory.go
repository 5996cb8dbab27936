// This file has the coordinator, and the steps of members.

// Package memory is a fleet.Coordinator in memory, for tests. It is what fleet.Coordinator's
// comments say, as code to be read: one method is one step, under one mutex. It has no goroutine, and
// runs inside testing/synctest.
package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/fleet"
)

// Coordinator is one that all members of a fleet share.
type Coordinator struct {
	clock func() time.Time

	mu sync.Mutex
	state
	keep     int     // how many states past has at most
	past     []state // before each of the last steps that may write, oldest first
	watchers map[chan struct{}]bool
}

var _ fleet.Coordinator = (*Coordinator)(nil)

// state is all that is known, and can be forgotten.
type state struct {
	plan     fleet.Plan
	members  map[string]fleet.Member // by incarnation; what is deposed stays for ever
	revision int64
	rows     map[int]row
	records  map[int]record
	turns    turns
	reshard  reshard
}

// New returns an empty one, whose time is the clock's; nil: time.Now.
func New(clock func() time.Time) *Coordinator {
	if clock == nil {
		clock = time.Now
	}
	return &Coordinator{
		clock: clock,
		state: state{
			members: make(map[string]fleet.Member),
			rows:    make(map[int]row),
			records: make(map[int]record),
			turns:   turns{asked: make(map[string]ask)},
		},
		watchers: make(map[chan struct{}]bool),
	}
}

// read begins a step that changes nothing. The caller unlocks mu, if there is no error.
func (c *Coordinator) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	return nil
}

// write begins a step that may change something.
func (c *Coordinator) write(ctx context.Context) error {
	if err := c.read(ctx); err != nil {
		return err
	}
	c.remember()
	return nil
}

// Look implements fleet.Coordinator.
func (c *Coordinator) Look(ctx context.Context, since int64) (fleet.View, error) {
	if err := c.read(ctx); err != nil {
		return fleet.View{}, err
	}
	defer c.mu.Unlock()
	return c.view(since), nil
}

// view is the table as it has changed since a revision. One above the table's is of a table that
// was forgotten: then it is all of it.
func (c *Coordinator) view(since int64) fleet.View {
	if since > c.revision {
		since = 0
	}
	v := fleet.View{Revision: c.revision, Now: c.clock(), Plan: c.plan, Reshard: c.viewed()}
	owners := make(map[string]bool)
	for _, r := range c.rows {
		owners[r.Owner.Incarnation] = true
		if r.revision > since {
			v.Shards = append(v.Shards, r.Shard)
		}
	}
	for _, m := range c.members {
		if m.State != fleet.Deposed || owners[m.Incarnation] {
			v.Members = append(v.Members, m)
		}
	}
	slices.SortFunc(v.Shards, func(a, b fleet.Shard) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(v.Members, func(a, b fleet.Member) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return v
}

// Join implements fleet.Coordinator.
func (c *Coordinator) Join(ctx context.Context, m fleet.Member, p fleet.Plan) (fleet.Plan, error) {
	if err := c.write(ctx); err != nil {
		return fleet.Plan{}, err
	}
	defer c.mu.Unlock()
	if c.deposed(m.Incarnation) {
		return fleet.Plan{}, fleet.ErrDeposed
	}
	if other := c.living(); other != nil && c.plan.Shards != 0 { // 0: the plan has been forgotten
		if err := fleet.Misfit(p, c.plan, other.Name); err != nil {
			return fleet.Plan{}, err
		}
	} else {
		p.Generation = c.plan.Generation
		if p.Shards != c.plan.Shards {
			p.Generation++
		}
		c.plan = p
		if c.reshard.Stage != fleet.ReshardNone {
			c.none("no member was left")
		}
	}
	m.State = fleet.Up
	c.members[m.Incarnation] = m
	return c.plan, nil
}

// living returns a member that is not deposed, or nil.
func (c *Coordinator) living() *fleet.Member {
	for _, incarnation := range slices.Sorted(maps.Keys(c.members)) {
		if m := c.members[incarnation]; m.State != fleet.Deposed {
			return &m
		}
	}
	return nil
}

func (c *Coordinator) deposed(incarnation string) bool {
	m, known := c.members[incarnation]
	return known && m.State == fleet.Deposed
}

// Beat implements fleet.Coordinator.
func (c *Coordinator) Beat(ctx context.Context, m fleet.Member, since int64) (fleet.View, error) {
	if err := c.write(ctx); err != nil {
		return fleet.View{}, err
	}
	defer c.mu.Unlock()
	if c.deposed(m.Incarnation) {
		return fleet.View{}, fleet.ErrDeposed
	}
	c.members[m.Incarnation] = m
	return c.view(since), nil
}

// Depose implements fleet.Coordinator.
func (c *Coordinator) Depose(ctx context.Context, incarnation string, beat int64) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	m := c.members[incarnation] // of one that is not known, the beat is 0
	switch {
	case c.deposed(incarnation):
		return nil
	case m.Beat != beat:
		return fleet.ErrChanged
	}
	m.Incarnation, m.State = incarnation, fleet.Deposed
	c.members[incarnation] = m
	c.notify()
	return nil
}

// Leave implements fleet.Coordinator.
func (c *Coordinator) Leave(ctx context.Context, incarnation string) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	for _, r := range c.rows {
		if r.Owner.Incarnation == incarnation && incarnation != "" {
			c.set(r.ID, fleet.Owner{Epoch: r.Owner.Epoch}, "")
		}
	}
	if !c.deposed(incarnation) {
		delete(c.members, incarnation)
	}
	c.notify()
	return nil
}

// Watch implements fleet.Coordinator.
func (c *Coordinator) Watch(ctx context.Context, changed func()) {
	notice := make(chan struct{}, 1)
	c.mu.Lock()
	c.watchers[notice] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.watchers, notice)
		c.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-notice:
			changed()
		}
	}
}

// notify tells those who watch. A notice that was not taken yet stands for this one.
func (c *Coordinator) notify() {
	for notice := range c.watchers {
		select {
		case notice <- struct{}{}:
		default:
		}
	}
}

// Close implements fleet.Coordinator. Others go on to use it.
func (c *Coordinator) Close() error { return nil }
