// This file replaces the shards by those of another count, without a gap: see package overlap.

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"sluice/engine/overlap"
	"sluice/resume"
	"sluice/sinks"
)

// resharding is a Reshard at work.
type resharding struct {
	e    *Engine
	f    *shardSet
	o    ReshardOptions
	gen  *generation
	stop context.CancelCauseFunc

	mu     sync.Mutex
	status ReshardStatus
}

// enter notes the stage, unless ctx is done: a later CallOff is refused.
func (r *resharding) enter(ctx context.Context, s Stage) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.status.Stage = s
	return nil
}

const (
	// lookEvery is how often a Reshard looks at what it waits for.
	lookEvery = 50 * time.Millisecond
	// switchEvery is that while no events go out.
	switchEvery = time.Millisecond
	// anyway times the overlap, and the shards are switched though they have not shown the same.
	anyway = 10
	// tolerated is the part of the events that may differ then: one of so many.
	tolerated = 20
	// hangs is how long a connection may be dead and not found out: two intervals of Discord's heartbeats, and more.
	hangs = 90 * time.Second
	// retrySwitch lies between the first two attempts at the switch, of which there are so many, and twice that between
	// the next: no events go out while one fails.
	retrySwitch = 5 * time.Second
	switches    = 6
)

// run reshards.
func (r *resharding) run(ctx context.Context) error {
	filter, log := r.f.env.overlap, r.e.opts.Log
	for filter.Active() && !filter.End() { // of the last one
		if pauseFor(ctx, lookEvery) != nil {
			return context.Cause(ctx)
		}
	}
	log.Info("resharding: the new shards connect beside the others", "shards", r.status.From, "to", r.o.Shards)
	filter.Begin(overlap.Options{Next: r.gen.number, Patience: r.o.Patience})
	err := r.f.beginNext(r.gen)
	for err == nil {
		if err = r.compare(ctx); err != nil {
			break
		}
		if err = r.enter(ctx, ReshardSwitches); err != nil {
			break
		}
		var failed error
		if failed = r.replace(ctx); failed == nil {
			break
		}
		log.Warn("resharding: the switch was taken back; the old shards go on", "error", failed)
		r.mu.Lock()
		r.status.Failures++
		r.status.Failure = failed.Error()
		failures := r.status.Failures
		r.mu.Unlock()
		if err = r.enter(ctx, ReshardCompares); err != nil {
			break
		}
		if failures == switches {
			err = fmt.Errorf("%d switches have failed, the last one: %w", failures, failed)
		} else if pauseFor(ctx, retrySwitch<<(failures-1)) != nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		r.leave(err)
		return err
	}
	r.enter(context.Background(), ReshardEnds)
	s := filter.Status()
	r.mu.Lock()
	r.status.Overlap = s
	r.mu.Unlock()
	log.Info("resharding: the new shards are in force", "shards", r.o.Shards, "was", r.status.From,
		"after", time.Since(r.status.Began).Round(time.Second), "agreed", s.Agreed, "old_alone", s.Older, "new_alone", s.Next)
	for !filter.End() && pauseFor(r.f.stopping, lookEvery) == nil {
	}
	return nil
}

// leave ends what was called off.
func (r *resharding) leave(err error) {
	r.enter(context.Background(), ReshardLeaves)
	next := r.f.endNext()
	filter := r.f.env.overlap
	for _, s := range next {
		<-s.released
		select {
		case <-s.drained:
		case <-r.f.publishing.Done():
			return
		}
	}
	filter.Cancel()
	for !filter.End() && pauseFor(r.f.stopping, lookEvery) == nil {
	}
	if !errors.Is(err, sinks.ErrStopped) {
		r.e.opts.Log.Warn("resharding: called off; the shards stay as they were", "error", err)
	}
}

// compare returns when both generations are ready, and have shown the same for a while.
func (r *resharding) compare(ctx context.Context) error {
	filter := r.f.env.overlap
	var ready time.Time       // zero: they are not
	var before overlap.Status // then
	var alone int64           // events that the new shards alone have shown
	var missed time.Time      // and when the last of them was noticed
	for {
		if err := r.gen.failed.Load(); err != nil {
			return err
		}
		now := r.f.current.Load()
		if countReady(now.next) < len(now.next) || countReady(now.all) < len(now.all) {
			ready = time.Time{}
			filter.Restart()
		} else if ready.IsZero() {
			ready, before = time.Now(), filter.Status()
			r.enter(ctx, ReshardCompares)
		}
		s := filter.Status()
		if s.Next != alone {
			alone, missed = s.Next, time.Now()
		}
		if !ready.IsZero() && !r.e.Full() {
			since := time.Since(ready)
			// An old shard may hang: Discord sends its events once it is resumed.
			hung := !missed.IsZero() && time.Since(missed) < hangs
			if filter.Agreed(r.o.Overlap) && !hung {
				return nil
			}
			if since > r.o.Patience+anyway*r.o.Overlap {
				figures := []any{"agreed", s.Agreed, "old_alone", s.Older, "new_alone", s.Next}
				older, next := s.Older-before.Older, s.Next-before.Next
				// Payloads that differ come in pairs.
				if (older+next)*tolerated <= s.Agreed-before.Agreed && (next <= older || !hung) {
					r.e.opts.Log.Warn("resharding: the old and the new shards do not show quite the same; they are switched all the same", figures...)
					return nil
				}
				r.e.opts.Log.Warn("resharding: the old or the new shards are behind by more than can be compared; waiting", figures...)
				before, ready = s, time.Now()
			}
		}
		if pauseFor(ctx, lookEvery) != nil {
			return context.Cause(ctx)
		}
	}
}

// replace is the switch. If it fails the old shards go on.
func (r *resharding) replace(ctx context.Context) (err error) {
	filter := r.f.env.overlap
	// Not when ctx is done: what is begun is ended.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.o.SwitchTimeout, fmt.Errorf("it has not come about within %v", r.o.SwitchTimeout))
	defer cancel()
	defer context.AfterFunc(r.f.stopping, cancel)()
	began := time.Now()
	next := r.f.current.Load().next
	sessions := make([]*session, len(next))
	for i, s := range next {
		if sessions[i] = s.current.Load(); sessions[i] == nil {
			return fmt.Errorf("new shard %d has no session any more", s.id)
		}
	}
	if v := r.f.env.saver; v != nil { // or the old shards would stop in vain
		if err := v.save(ctx, v.to.Save, v.snapshots); err != nil {
			return fmt.Errorf("the old sessions are not persisted: %w", err)
		}
	}
	filter.Stop()
	old := r.f.stopReplaced()
	defer func() {
		if err == nil {
			return
		}
		for _, s := range old {
			<-s.released // the reader never keeps one for long
		}
		filter.Resume()
		r.f.goOn()
	}()
	for _, done := range []func(*shard) chan struct{}{
		func(s *shard) chan struct{} { return s.released }, func(s *shard) chan struct{} { return s.drained },
	} {
		for _, s := range old {
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
	if filter.Overflowed() {
		return errors.New("the new shards have got more than there is memory for meanwhile")
	}
	same := func() error {
		if err := r.gen.failed.Load(); err != nil {
			return err
		}
		for i, s := range next {
			if s.current.Load() != sessions[i] {
				return fmt.Errorf("new shard %d has lost its session", s.id)
			}
		}
		return nil
	}
	if err := same(); err != nil {
		return err
	}
	if v := r.f.env.saver; v == nil {
		r.f.enforce()
	} else if err := v.replace(ctx, r.o.Shards, next, same, r.f.enforce); err != nil {
		return err
	}
	if err := filter.Open(r.f.publishing); err != nil {
		r.e.opts.Log.Error("resharding: what the new shards have got is not published", "error", err) // the engine has failed, or ends
	}
	r.e.opts.Log.Info("resharding: switched", "pause", time.Since(began).Round(time.Millisecond))
	return nil
}

// replace persists what would resume shards in place of all that is persisted, and makes them those that snapshots are
// taken of by swap, before another Save. After an error everything is as it was.
func (v *saver) replace(ctx context.Context, count int, next []*shard, same func() error, swap func()) error {
	before := v.shards.current.Load().gen.shards
	all := func(shards []*shard) iter.Seq2[int, resume.Session] {
		return func(yield func(int, resume.Session) bool) {
			for _, s := range shards {
				if !yield(s.id, s.snapshot()) {
					return
				}
			}
		}
	}
	to := v.to.(Replacer) // see PlanReshard
	return v.save(ctx, func(ctx context.Context, _ iter.Seq2[int, resume.Session], starts resume.Starts) error {
		err := to.Replace(ctx, count, all(next), starts)
		if err == nil {
			err = same()
		}
		if err != nil {
			// It may be there all the same.
			return errors.Join(err, to.Replace(context.WithoutCancel(ctx), before, all(v.shards.list()), starts))
		}
		swap()
		return nil
	}, v.snapshots)
}

// pauseFor waits for d, or until ctx is done.
func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
