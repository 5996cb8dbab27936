// This file has the last snapshots of shards that are removed persisted, of many together: each Save may
// be a round trip, and a connection waits for it.

package engine

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"sluice/resume"
)

// lasts are the shards whose last snapshots are to be saved.
type lasts struct {
	mu   sync.Mutex
	next *lastSave // that shards may still join; nil: the next one begins it
}

// lastSave is a Save of the last snapshots of shards.
type lastSave struct {
	shards  []*shard
	ctx     context.Context
	cancel  context.CancelFunc
	callers int // whose contexts are not done; ctx ends with the last of them

	done    chan struct{}
	removed []*shard
	err     error
}

// last saves the last snapshot of a shard, and takes the shard out: no Save that has begun, and none
// that follows, has another one of it. A shard that is out already is not saved: it is another's. Those that come
// while a Save is in flight are saved together by the next, until the contexts of all are done.
func (v *saver) last(ctx context.Context, s *shard) (removed bool, err error) {
	g, first := v.join(s)
	defer context.AfterFunc(ctx, func() { v.leave(g) })()
	<-g.done
	return first && slices.Contains(g.removed, s), g.err
}

// join has the shard saved by the next Save. first: nobody else has asked that for it.
func (v *saver) join(s *shard) (g *lastSave, first bool) {
	l := &v.leaving
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = &lastSave{done: make(chan struct{})}
		l.next.ctx, l.next.cancel = context.WithCancel(context.Background())
		go v.saveLast(l.next)
	}
	g = l.next
	if first = !slices.Contains(g.shards, s); first {
		g.shards = append(g.shards, s)
	}
	g.callers++
	return g, first
}

// leave notes that one of those that wait for g has no time left.
func (v *saver) leave(g *lastSave) {
	v.leaving.mu.Lock()
	defer v.leaving.mu.Unlock()
	if g.callers--; g.callers == 0 {
		v.begin(g)
		g.cancel()
	}
}

// begin ends the time in which shards may join g, and returns them. The lock is held.
func (v *saver) begin(g *lastSave) []*shard {
	if v.leaving.next == g {
		v.leaving.next = nil
	}
	return g.shards
}

func (v *saver) saveLast(g *lastSave) {
	defer g.cancel()
	joined := func() []*shard {
		v.leaving.mu.Lock()
		defer v.leaving.mu.Unlock()
		return v.begin(g)
	}
	g.err = v.save(g.ctx, func(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error {
		v.given = slices.DeleteFunc(joined(), func(s *shard) bool { return v.shards.find(s.id) != s })
		if len(v.given) == 0 {
			return nil
		}
		err := v.to.Save(ctx, snapshots, starts)
		var refused *resume.RefusedError
		errors.As(err, &refused)
		for _, s := range v.given {
			if refused == nil || !slices.Contains(refused.Shards, s.id) { // else it is dropped
				if v.shards.take(s) {
					g.removed = append(g.removed, s)
				}
			}
		}
		return err
	}, func(yield func(int, resume.Session) bool) {
		for _, s := range v.given {
			if !s.deposed.Load() && !yield(s.id, s.snapshot()) {
				return
			}
		}
	})
	joined() // if it has not come so far
	close(g.done)
}
