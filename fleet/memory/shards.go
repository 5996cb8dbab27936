// This file has the steps of shards: who owns them.

package memory

import (
	"context"
	"slices"

	"sluice/fleet"
)

// row is a shard, and the revision of its last change.
type row struct {
	fleet.Shard
	revision int64
}

// set changes a row.
func (c *Coordinator) set(shard int, owner fleet.Owner, giver string) {
	c.revision++
	c.rows[shard] = row{fleet.Shard{ID: shard, Owner: owner, Giver: giver}, c.revision}
}

// next is the epoch of a shard's next owner. It follows the time, so that epochs which were
// forgotten are not given again.
func (c *Coordinator) next(shard int) int64 {
	return max(c.rows[shard].Owner.Epoch+1, c.clock().UnixMilli())
}

// Acquire implements fleet.Coordinator.
func (c *Coordinator) Acquire(ctx context.Context, incarnation string, want []fleet.Want) ([]fleet.Shard, error) {
	if err := c.write(ctx); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	m, known := c.members[incarnation]
	switch {
	case !known || m.State == fleet.Deposed:
		return nil, fleet.ErrDeposed
	case m.State == fleet.Draining:
		return nil, fleet.ErrChanged
	}
	var mine []fleet.Shard
	for _, w := range want {
		of := w.From.Incarnation
		if c.rows[w.Shard].Owner == w.From && (of == "" || of == incarnation || c.deposed(of)) {
			c.set(w.Shard, fleet.Owner{Incarnation: incarnation, Epoch: max(c.next(w.Shard), w.Above+1)}, "")
		}
		// It is the member's also if an earlier call had made it so, whose answer was lost.
		if r := c.rows[w.Shard]; r.Owner.Incarnation == incarnation {
			r.ID = w.Shard
			mine = append(mine, r.Shard)
		}
	}
	return mine, nil
}

// Give implements fleet.Coordinator.
func (c *Coordinator) Give(ctx context.Context, shard int, from fleet.Owner, to string) (fleet.Owner, error) {
	if err := c.write(ctx); err != nil {
		return fleet.Owner{}, err
	}
	defer c.mu.Unlock()
	r := c.rows[shard]
	if r.Giver != "" && r.Giver == from.Incarnation && r.Owner.Incarnation == to && r.Owner.Epoch > from.Epoch {
		return r.Owner, nil // done before
	}
	m, known := c.members[to]
	if from.Incarnation == "" || r.Owner != from || r.Giver != "" || !known || m.State != fleet.Up {
		return fleet.Owner{}, fleet.ErrChanged
	}
	c.set(shard, fleet.Owner{Incarnation: to, Epoch: c.next(shard)}, from.Incarnation)
	c.notify()
	return c.rows[shard].Owner, nil
}

// Take implements fleet.Coordinator.
func (c *Coordinator) Take(ctx context.Context, shard int, by fleet.Owner) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	r := c.rows[shard]
	if by.Incarnation == "" || r.Owner != by {
		return fleet.ErrChanged
	}
	if r.Giver != "" {
		c.set(shard, by, "")
		c.notify()
	}
	return nil
}

// TakeBack implements fleet.Coordinator.
func (c *Coordinator) TakeBack(ctx context.Context, shard int, given fleet.Owner, giver string) (fleet.Owner, error) {
	if err := c.write(ctx); err != nil {
		return fleet.Owner{}, err
	}
	defer c.mu.Unlock()
	r := c.rows[shard]
	switch {
	case c.deposed(giver):
		return fleet.Owner{}, fleet.ErrDeposed
	case giver != "" && r.Owner.Incarnation == giver && r.Giver == "" && r.Owner.Epoch > given.Epoch:
		return r.Owner, nil // done before
	case giver == "" || r.Owner != given || r.Giver != giver:
		return fleet.Owner{}, fleet.ErrChanged
	}
	c.set(shard, fleet.Owner{Incarnation: giver, Epoch: c.next(shard)}, "")
	c.notify()
	return c.rows[shard].Owner, nil
}

// Confirm implements fleet.Coordinator.
func (c *Coordinator) Confirm(ctx context.Context, incarnation string, epochs map[int]int64) (lost []int, err error) {
	if err := c.read(ctx); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	for shard, epoch := range epochs {
		if r := c.rows[shard]; r.Owner != (fleet.Owner{Incarnation: incarnation, Epoch: epoch}) || r.Giver != "" {
			lost = append(lost, shard)
		}
	}
	slices.Sort(lost)
	return lost, nil
}
