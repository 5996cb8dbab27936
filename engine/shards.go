// This file is the set of shards, which come and go while an Engine runs.

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/resume"
	"sluice/sinks"
)

// shardSet is what exists while Run runs.
type shardSet struct {
	env       *environment
	publisher *publisher
	reader    reader

	current atomic.Pointer[currentShards] // replaced with mu held

	mu      sync.Mutex
	closed  bool           // Run ends
	leaving map[int]*shard // that are out, and that the reader may not have released, the last of each id

	// While there is a next generation, which replaces the one in force: see part.go.
	ended      []*shard // of it, of which there may still come something
	frozen     bool     // none is added or removed
	committing bool     // whether it is in force is being decided

	// Of Run, for what works beside the shards: it counts among the tasks, which Run waits for, and
	// ends when stopping is done. What it publishes is given up with publishing.
	tasks      *sync.WaitGroup
	stopping   context.Context
	publishing context.Context
}

// currentShards are the shards of one moment.
type currentShards struct {
	gen  *generation // of all
	all  []*shard    // by id
	to   *generation // that is to replace it; nil: there is none
	next []*shard    // of that
	past Counts      // of those that are gone
}

// find returns the shard with the id, or nil.
func (c *currentShards) find(id int) *shard {
	if i, found := search(c.all, id); found {
		return c.all[i]
	}
	return nil
}

// list returns the shards, in ascending order of their ids. Any goroutine may call it.
func (f *shardSet) list() []*shard {
	if f == nil {
		return nil
	}
	return f.current.Load().all
}

// find returns the shard with the id, or nil. Any goroutine may call it.
func (f *shardSet) find(id int) *shard {
	if f == nil {
		return nil
	}
	return f.current.Load().find(id)
}

// everyone returns the shards of both generations, if there are two. Any goroutine may call it.
func (f *shardSet) everyone() []*shard {
	if f == nil {
		return nil
	}
	now := f.current.Load()
	if now.next == nil {
		return now.all
	}
	return slices.Concat(now.all, now.next)
}

func search(all []*shard, id int) (int, bool) {
	return slices.BinarySearchFunc(all, id, func(s *shard, id int) int { return s.id - id })
}

// set replaces the shards, and shares out what they have together. The lock is held.
func (f *shardSet) set(all []*shard, past Counts) {
	next := currentShards{gen: f.env.first}
	if now := f.current.Load(); now != nil {
		next = *now
	}
	next.all, next.past = all, past
	f.replace(next)
}

// replace replaces the shards of both generations. The lock is held.
func (f *shardSet) replace(now currentShards) {
	n := len(now.all) + len(now.next)
	f.env.arriving.SetConnections(n)
	f.env.commandBytes.Store(commandShare(n))
	f.current.Store(&now)
}

// start adds the first shards.
func (f *shardSet) start(all []*shard) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reader.add(all...)
	f.set(all, Counts{})
}

// add adds a shard. It waits until one of that id that is out is released, or ended is closed.
func (f *shardSet) add(ctx context.Context, ended <-chan struct{}, id int, from resume.Session) error {
	for {
		f.mu.Lock()
		old := f.leaving[id]
		if old == nil {
			break
		}
		f.mu.Unlock()
		select {
		case <-old.released:
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return sinks.ErrStopped
		}
		f.mu.Lock()
		if f.leaving[id] == old {
			delete(f.leaving, id)
		}
		f.mu.Unlock()
	}
	defer f.mu.Unlock()
	now := f.current.Load()
	i, found := search(now.all, id)
	switch {
	case f.closed:
		return sinks.ErrStopped
	case f.frozen:
		return errSwitching
	case id >= now.gen.shards: // of the count before
		return &ShardIDError{ID: id, Shards: now.gen.shards}
	case found:
		return fmt.Errorf("shard %d has been added", id)
	}
	s := newShard(id, now.gen, f.env, from)
	f.reader.add(s) // before others see it
	f.set(slices.Insert(slices.Clone(now.all), i, s), now.past)
	s.log.Info("shard added", "session", from.ID != "")
	return nil
}

// depart has a shard drained that is to be removed.
func (f *shardSet) depart(s *shard) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen {
		return errSwitching
	}
	s.leaving.Store(true)
	if f.find(s.id) == s {
		f.part(s.id)
	}
	return nil
}

// take is remove with the lock. The connection of the shard is open still.
func (f *shardSet) take(s *shard) (removed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(s)
}

// remove takes a shard out, unless it is out. The lock is held.
func (f *shardSet) remove(s *shard) (removed bool) {
	now := f.current.Load()
	i, found := search(now.all, s.id)
	if !found || now.all[i] != s {
		return false
	}
	f.part(s.id)
	past := f.current.Load().past
	s.counters.addTo(&past)
	f.set(slices.Delete(slices.Clone(now.all), i, i+1), past)
	f.leaving[s.id] = s
	return true
}

// drop takes a shard out and drops it, unless it is out. Any goroutine may call it.
func (f *shardSet) drop(s *shard, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.find(s.id) != s {
		if !f.committing {
			f.endNext(func(o *shard) bool { return o == s })
		}
		return
	}
	f.publisher.depose(s)
	f.remove(s)
	f.env.overlap.Forget(s.gen.number, s.id)
	s.log.Warn("shard deposed; its events that are not published are dropped", "reason", why)
	s.wake(wakeStop)
}

// close stops the shards. None is added any more.
func (f *shardSet) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for _, s := range f.everyone() {
		s.wake(wakeStop)
	}
}

// Add starts a shard that this Engine does not run, from what resumes it: a Session without an ID if
// nothing does. Its id is below the shard count. from.Epoch is that of the ownership under which the
// shard is run from now on, whoever began the session: all of its events and snapshots have it. 0: in
// no fleet. Add waits until Run has its shards, and until
// a shard of that id that was removed or deposed has let go of its connection, or ctx is done.
func (e *Engine) Add(ctx context.Context, shard int, from resume.Session) error {
	f, err := e.wait(ctx)
	if err != nil {
		return err
	}
	if count := f.current.Load().gen.shards; shard < 0 || shard >= count {
		return &ShardIDError{ID: shard, Shards: count}
	}
	return f.add(ctx, e.ended, shard, from)
}

// Remove stops a shard, so that it may go on elsewhere: nothing more is read for it, and Remove waits until the
// sink has acknowledged all of its events and Options.Checkpoints has persisted what resumes the shard then, which
// it returns. Until then the connection stays open, with its heartbeats; it is closed last, which keeps the
// session, and Discord sends what was not read to whoever resumes it. A connection whose session has not begun
// ends at once. A shard whose last snapshot is not persisted is removed with an error. Commands for it are refused
// from the beginning. Those that wait are not sent: their Command.Dropped is called, in their order, before Remove
// returns.
//
// If ctx is done before the sink has acknowledged everything, the shard stays as it is, Draining: connected, if
// Discord does not end that, and not read. It never goes on: Remove may be called again, or Depose.
// A shard that this Engine does not run is a *sinks.NotLocalError. At the switch of a Reshard none is removed, nor added.
func (e *Engine) Remove(ctx context.Context, shard int) (resume.Session, error) {
	f, err := e.wait(ctx)
	if err != nil {
		return resume.Session{}, err
	}
	s := f.find(shard)
	if s == nil {
		return resume.Session{}, &sinks.NotLocalError{Shard: shard}
	}
	if err := f.depart(s); err != nil {
		return resume.Session{}, fmt.Errorf("shard %d: %w", shard, err)
	}
	s.wake(wakeDrain)
	select {
	case <-s.drained:
	case <-ctx.Done():
		return resume.Session{}, fmt.Errorf("shard %d is not drained: %w", shard, context.Cause(ctx))
	case <-e.ended:
		return resume.Session{}, sinks.ErrStopped
	}
	removed := false
	if f.env.saver != nil {
		if removed, err = f.env.saver.last(ctx, s); errors.Is(err, sinks.ErrStopped) {
			return resume.Session{}, err // the last snapshots of all shards are those of Run
		}
	}
	if !removed && !f.take(s) { // it was deposed, or another Remove was first
		return resume.Session{}, &sinks.NotLocalError{Shard: shard}
	}
	final := s.snapshot()
	s.wake(wakeStop)
	<-s.released // within farewellTimeout: whoever resumes the session finds no connection of it
	if err != nil {
		return final, fmt.Errorf("shard %d: its last snapshot is not persisted: %w", shard, err)
	}
	s.log.Info("shard removed", "seq", final.Seq)
	return final, nil
}

// Depose drops a shard at once, whose session is another's by now: its connection ends without a
// close frame, what the sink has not been given of its events never is, and no snapshot of it is taken
// any more. It does not wait: the batch that the sink is being given, and the Save that has begun, go
// on, and what the sink has been given it may still write. Before Run has its shards, and for a shard
// that this Engine does not run, it does nothing.
func (e *Engine) Depose(shard int) {
	f := e.running.Load()
	if s := f.find(shard); s != nil {
		f.drop(s, "asked for")
	}
}

// wait returns the shards when Run has them.
func (e *Engine) wait(ctx context.Context) (*shardSet, error) {
	select {
	case <-e.started:
	case <-e.ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-e.ended:
		return nil, sinks.ErrStopped
	default:
		return e.running.Load(), nil
	}
}
