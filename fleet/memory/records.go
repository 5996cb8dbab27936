// This file has the steps of checkpoints.

package memory

import (
	"context"
	"slices"

	"sluice/fleet"
)

// record is a checkpoint, and whose it is. One without Data stays, so that a late Save does not
// bring back what came before it.
type record struct {
	fleet.Record
	incarnation string
}

// Save implements fleet.Coordinator.
func (c *Coordinator) Save(ctx context.Context, incarnation string, records []fleet.Record) (refused []int, err error) {
	if err := c.write(ctx); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	for _, r := range records {
		if incarnation == "" || c.rows[r.Shard].Owner != (fleet.Owner{Incarnation: incarnation, Epoch: r.Epoch}) {
			refused = append(refused, r.Shard)
			continue
		}
		old := c.records[r.Shard]
		if old.incarnation == incarnation && old.Number > r.Number {
			continue // this one is late
		}
		r.Data = slices.Clone(r.Data)
		c.records[r.Shard] = record{r, incarnation}
	}
	return refused, nil
}

// Load implements fleet.Coordinator. Each shard has a record, which may be without Data.
func (c *Coordinator) Load(ctx context.Context, shards []int) ([]fleet.Record, error) {
	if err := c.read(ctx); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	var records []fleet.Record
	for _, shard := range shards {
		r := c.records[shard].Record
		r.Shard, r.Data = shard, slices.Clone(r.Data)
		records = append(records, r)
	}
	return records, nil
}
