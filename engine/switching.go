// This file is the switch of a Reshard: the old shards stop, and the new ones are in force.

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sluice/resume"
	"time"
)

// replace is the switch. If it fails the old shards go on.
func (r *resharding) replace(ctx context.Context) (err error) {
	filter := r.f.env.overlap
	// Not when ctx is done: what is begun is ended.
	whole, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(r.f.stopping, end)()
	ctx, cancel := context.WithTimeoutCause(whole, r.o.SwitchTimeout, fmt.Errorf("it has not come about within %v", r.o.SwitchTimeout))
	defer cancel()
	began := time.Now()
	shards, err := r.f.freeze()
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		switch {
		case err == nil:
		case stopped:
			for _, s := range shards.all {
				<-s.released // the reader never keeps one for long
			}
			filter.Resume()
			r.f.goOn()
		default:
			r.f.mu.Lock()
			r.f.thaw()
			r.f.mu.Unlock()
		}
		for _, s := range shards.all {
			if stopped && s.deposed.Load() {
				for _, w := range pointers(s.moved) {
					w.drop()
				}
			}
		}
	}()
	sessions, err := sessionsOf(shards.next)
	if err != nil {
		return err
	}
	if v := r.f.env.saver; v != nil { // or the old shards would stop in vain
		if err := v.save(ctx, v.to.Save, v.snapshots); err != nil {
			return fmt.Errorf("the old sessions are not persisted: %w", err)
		}
	}
	filter.Stop()
	stopped = true
	r.f.stopReplaced(shards.all)
	for _, done := range []func(*shard) chan struct{}{
		func(s *shard) chan struct{} { return s.released }, func(s *shard) chan struct{} { return s.drained },
	} {
		for _, s := range shards.all {
			select {
			case <-done(s):
			case <-ctx.Done():
				return fmt.Errorf("old shard %d is not drained: %w", s.id, context.Cause(ctx))
			}
		}
	}
	for !filter.Met() && time.Since(began) < r.o.Patience {
		if pauseFor(ctx, switchEvery) != nil {
			return fmt.Errorf("the new shards are behind the old ones: %w", context.Cause(ctx))
		}
	}
	if r.o.Part != nil && r.strays() {
		return errors.New("the old shards have not shown what the new ones have")
	}
	if filter.Seal(); filter.Overflowed() {
		return errors.New("the new shards have got more than there is memory for meanwhile")
	}
	same := func() error {
		if err := r.gen.failed.Load(); err != nil {
			return err
		}
		for i, s := range shards.next {
			if s.current.Load() != sessions[i] {
				return fmt.Errorf("new shard %d has lost its session", s.id)
			}
		}
		return nil
	}
	if err := same(); err != nil {
		return err
	}
	v := r.f.env.saver
	switch {
	case r.o.Part != nil:
		if err := r.commit(ctx, whole, shards, same); err != nil {
			return err
		}
		if !r.open(whole, sessions) {
			return nil // the engine ends
		}
	case v == nil:
		r.f.enforce()
	default:
		if err := v.replace(ctx, r.o.Shards, shards.next, same, r.f.enforce); err != nil {
			return err
		}
	}
	if err := filter.Open(r.f.publishing); err != nil {
		r.e.opts.Log.Error("resharding: what the new shards have got is not published", "error", err) // the engine has failed, or ends
	}
	r.e.opts.Log.Info("resharding: switched", "pause", time.Since(began).Round(time.Millisecond))
	return nil
}

// sessionsOf returns the sessions of shards, which must have some.
func sessionsOf(shards []*shard) ([]*session, error) {
	sessions := make([]*session, len(shards))
	for i, s := range shards {
		if sessions[i] = s.current.Load(); sessions[i] == nil {
			return nil, fmt.Errorf("new shard %d has no session any more", s.id)
		}
	}
	return sessions, nil
}

// commit has the old sessions persisted, and then others decide whether the new shards are in force, as long as that takes.
func (r *resharding) commit(ctx, whole context.Context, shards currentShards, same func() error) error {
	decide := func() error {
		if err := same(); err != nil {
			return err
		}
		if err := r.f.commits(shards); err != nil {
			return err
		}
		r.decided = true
		err := r.o.Part.Commit(whole, snapshotsOf(shards.next))
		if err == nil {
			r.f.enforce()
		}
		return err
	}
	v := r.f.env.saver
	if v == nil {
		return decide()
	}
	if err := v.save(ctx, v.to.Save, v.snapshots); err != nil {
		return fmt.Errorf("the last snapshots of the old shards are not persisted: %w", err)
	}
	return v.save(whole, func(context.Context, iter.Seq2[int, resume.Session], resume.Starts) error { return decide() }, v.snapshots)
}

// open waits until what the new shards have got may go out. It returns false if the engine ends before that.
func (r *resharding) open(ctx context.Context, sessions []*session) bool {
	if err := r.o.Part.Open(ctx); err != nil {
		r.e.opts.Log.Warn("resharding: nothing of the new shards has been published; who runs them next publishes it", "error", err)
		return false
	}
	for _, s := range r.f.list() {
		if s.state() == Stopped { // the answer of Confirm has come while that of Commit was awaited
			r.f.drop(s, "its ownership is not confirmed")
		}
	}
	// No event of a session goes out before it is persisted, also if it has begun since Commit.
	v := r.f.env.saver
	committed := make(map[*session]bool, len(sessions))
	for _, ses := range sessions {
		committed[ses] = true
	}
	for v != nil && slices.ContainsFunc(r.f.list(), func(s *shard) bool { return !committed[s.current.Load()] }) {
		if v.save(ctx, v.to.Save, v.snapshots) == nil {
			return true
		}
		if pauseFor(ctx, lookEvery) != nil {
			return false
		}
	}
	return true
}

// snapshotsOf yields what would resume shards now.
func snapshotsOf(shards []*shard) iter.Seq2[int, resume.Session] {
	return func(yield func(int, resume.Session) bool) {
		for _, s := range shards {
			if !yield(s.id, s.snapshot()) {
				return
			}
		}
	}
}

// replace persists what would resume shards in place of all that is persisted, and makes them those that snapshots are
// taken of by swap, before another Save. After an error everything is as it was.
func (v *saver) replace(ctx context.Context, count int, next []*shard, same func() error, swap func()) error {
	before := v.shards.current.Load().gen.shards
	to := v.to.(Replacer) // see PlanReshard
	return v.save(ctx, func(ctx context.Context, _ iter.Seq2[int, resume.Session], starts resume.Starts) error {
		err := to.Replace(ctx, count, snapshotsOf(next), starts)
		if err == nil {
			err = same()
		}
		if err != nil {
			// It may be there all the same.
			return errors.Join(err, to.Replace(context.WithoutCancel(ctx), before, snapshotsOf(v.shards.list()), starts))
		}
		swap()
		return nil
	}, v.snapshots)
}
