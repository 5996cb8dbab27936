// This file is another shard count in a fleet.

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/engine"
	"sluice/fleet"
)

// planReshard returns what another shard count takes, a line each, and, with begin, begins with it.
func (m *membership) planReshard(ctx context.Context, e *engine.Engine, shards int, begin bool) (plan []string, err error) {
	p, err := m.fleet.PlanReshard(ctx, shards)
	if err != nil {
		return nil, err
	}
	if _, known, _ := m.queue.Budget(); !known {
		return nil, errors.New("how many session starts are left is not known yet")
	}
	all, err := e.PlanReshard(ctx, shards)
	if err != nil {
		return nil, err
	}
	plan = planLines(all)
	if p.Moves > 0 {
		plan = append(plan, fmt.Sprintf("%s to other members before: until the switch each of the %d classes of shards is at one; for a multiple of %d shards nothing moves", moves(p.Moves), p.Classes, p.From))
	}
	plan = append(plan, fmt.Sprintf("one member runs up to %d of the new shards, until they are balanced after the switch", p.Largest))
	if !begin {
		return plan, nil
	}
	if err := m.reshard(ctx, shards); err != nil {
		return nil, err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for { // what comes next asks how it goes
		if s := m.fleet.Resharding(); s.Stage != fleet.ReshardNone && s.To == shards {
			return plan, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return plan, ctx.Err()
		}
	}
}

func moves(n int) string {
	if n == 1 {
		return "1 shard moves"
	}
	return fmt.Sprintf("%d shards move", n)
}

// reshard begins with another shard count.
func (m *membership) reshard(ctx context.Context, shards int) error {
	err := m.fleet.Reshard(ctx, shards)
	if starts := (*fleet.StartsError)(nil); errors.As(err, &starts) && !starts.Reset.IsZero() { // or they are not known
		return &engine.BudgetError{Needed: starts.Needed, Left: starts.Left, Reset: starts.Reset}
	}
	return err
}

// itself is what reshardByItself asks of a fleet. The member that runs shard 0 alone does, so that one asks at a time.
type itself struct {
	m *membership
	e *engine.Engine
}

func (i itself) Status() engine.Status {
	s := i.e.Status()
	if i.m.fleet.Resharding().Stage != fleet.ReshardNone && s.Reshard.Stage == engine.ReshardNone {
		s.Reshard.Stage = engine.ReshardConnects
	}
	return s
}

// Reshard begins with the shard count, or the next one that leaves no member without shards.
func (i itself) Reshard(ctx context.Context, o engine.ReshardOptions) error {
	shards := i.m.fleet.CountFor(o.Shards)
	if shards != o.Shards {
		i.m.log.Info("resharding by itself: the next count that has a part for each member is taken", "recommended", o.Shards, "shards", shards)
	}
	return i.m.reshard(ctx, shards)
}

// recommended returns how many shards Discord recommends, or 0 where another member asks.
func (i itself) recommended(ctx context.Context) (int, error) {
	if _, ids, err := i.e.Shards(ctx); err != nil || !slices.Contains(ids, 0) {
		return 0, err
	}
	return i.m.recommended(ctx)
}
