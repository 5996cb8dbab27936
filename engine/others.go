// This file gives turns to identify to the shards of other processes.

package engine

import (
	"context"
	"errors"
	"time"
)

// otherQueue is the identify queue as the shards of other processes have it.
type otherQueue struct {
	*identifyQueue
	travel time.Duration
}

// QueueForOthers returns this Engine's identify queue for shards of other processes that identify as the same bot: they
// wait in the same order, and draw on the same budget. They may have the ids of this Engine's own. The Identify of a turn is
// sent within travel of Spend. It waits until Run has its shards, or ctx is done; Options.Identify and Permit must be nil.
func (e *Engine) QueueForOthers(ctx context.Context, travel time.Duration) (IdentifyQueue, error) {
	if e.opts.Identify != nil || e.opts.Permit != nil {
		return nil, errors.New("engine: the turns to identify are not this engine's")
	}
	f, err := e.wait(ctx)
	if err != nil {
		return nil, err
	}
	return otherQueue{f.env.identify, travel}, nil
}

func (q otherQueue) Join(shard int, granted func()) { q.join(place{shard, true}, granted) }

func (q otherQueue) Leave(shard int) { q.leave(place{shard, true}) }

func (q otherQueue) NotBefore(shard int) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bucket(shard).next
}

func (q otherQueue) Spend(shard int, now time.Time) bool {
	return q.spend(place{shard, true}, now, q.travel)
}
