// This file follows the shard count that Discord recommends.

package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/engine"
)

const (
	// recommendedEvery is how often Discord is asked how many shards it recommends.
	recommendedEvery = time.Hour
	// reshardEvery is how long the bot stays with the shards that it was resharded to, or could not be.
	reshardEvery = 24 * time.Hour
)

// resharder is what is used of an engine.Engine.
type resharder interface {
	Status() engine.Status
	Reshard(ctx context.Context, o engine.ReshardOptions) error
}

// recommends reports whether a recommendation is so far above the count that it is followed: each step costs as many session
// starts as there will be shards.
func recommends(recommended, count int) bool { return count > 0 && recommended*10 >= count*11 }

// reshardByItself has the bot resharded when Discord recommends more shards, until ctx is done.
func reshardByItself(ctx context.Context, e resharder, recommended func(context.Context) (int, error), log *slog.Logger) {
	tick := time.NewTicker(recommendedEvery)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s := e.Status()
		if !last.IsZero() && time.Since(last) < reshardEvery || s.Ready < s.Running || s.Reshard.Stage != engine.ReshardNone {
			continue
		}
		n, err := recommended(ctx)
		if err != nil {
			log.Debug("Discord does not say how many shards it recommends", "error", err)
			continue
		}
		if !recommends(n, s.Shards) {
			continue
		}
		last = time.Now()
		log.Info("resharding by itself: Discord recommends more shards", "recommended", n, "shards", s.Shards)
		var budget *engine.BudgetError
		switch err := e.Reshard(ctx, engine.ReshardOptions{Shards: n}); {
		case errors.As(err, &budget):
			log.Warn("resharding by itself: not now", "error", err)
			if wait := time.Until(budget.Reset); wait > 0 && wait < reshardEvery {
				last = last.Add(wait - reshardEvery) // then
			}
		case err != nil && ctx.Err() == nil:
			log.Warn("resharding by itself: it has not come about", "error", err)
		}
	}
}
