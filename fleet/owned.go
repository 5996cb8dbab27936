// This file notes under which epochs a member runs its shards, for what publishes their events.

package fleet

import (
	"context"
	"sync"

	"sluice/resume"
)

// Owns reports whether this process runs the shard under the epoch, as far as it knows. What it still has of
// another ownership is not to be published where the broker cannot refuse it: see Hold.
func (f *Fleet) Owns(shard int, epoch int64) bool {
	f.runs.mu.RLock()
	defer f.runs.mu.RUnlock()
	has, ok := f.runs.epochs[shard]
	return ok && has == epoch
}

// runs are the epochs of the shards that the engine has.
type runs struct {
	mu     sync.RWMutex
	epochs map[int]int64
}

func (r *runs) set(shard int, epoch int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs[shard] = epoch
}

func (r *runs) remove(shard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.epochs, shard)
}

// see removes what is not the incarnation's by a view, which is of all shards or of those that have changed.
func (r *runs) see(incarnation string, shards []Shard, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	still := make(map[int]int64)
	for _, s := range shards {
		epoch, has := r.epochs[s.ID]
		switch {
		case has && s.Owner == (Owner{incarnation, epoch}):
			still[s.ID] = epoch
		case has:
			delete(r.epochs, s.ID)
		}
	}
	if all {
		r.epochs = still
	}
}

// noted is an Engine that notes what it runs. A shard that is dropped is noted when the engine knows: what is
// acknowledged then is in no checkpoint any more.
type noted struct {
	Engine
	runs *runs
}

func (n noted) Add(ctx context.Context, shard int, from resume.Session) error {
	n.runs.set(shard, from.Epoch)
	err := n.Engine.Add(ctx, shard, from)
	if err != nil {
		n.runs.remove(shard)
	}
	return err
}

func (n noted) Remove(ctx context.Context, shard int) (resume.Session, error) {
	s, err := n.Engine.Remove(ctx, shard)
	if err == nil {
		n.runs.remove(shard)
	}
	return s, err
}

func (n noted) Depose(shard int) {
	n.Engine.Depose(shard)
	n.runs.remove(shard)
}
