// This file replaces the shards by those of another count, without a gap: see package overlap.

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/engine/overlap"
	"sluice/sinks"
)

// resharding is a Reshard at work.
type resharding struct {
	e    *Engine
	f    *shardSet
	o    ReshardOptions
	gen  *generation
	stop context.CancelCauseFunc

	alone   int64     // events that the new shards alone have shown
	missed  time.Time // when the last of them was noticed; zero: there was none
	agreed  agreement // of the last comparison
	decided bool      // Part.Commit was called in this attempt

	mu     sync.Mutex
	status ReshardStatus
}

// agreement is what was compared when both generations agreed.
type agreement struct {
	of      currentShards
	shown   overlap.Status
	strayed time.Time // since when the new shards alone have shown more than the old ones alone; zero: they have not
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
	filter.Begin(overlap.Options{Next: r.gen.number, Classes: r.gen.classes, Patience: r.o.Patience})
	err := r.f.beginNext(r.gen)
	for err == nil {
		r.decided = false
		if err = r.agree(ctx); err != nil {
			break
		}
		if err = r.enter(ctx, ReshardSwitches); err != nil {
			r.abort(err)
			break
		}
		var failed error
		if failed = r.replace(ctx); failed == nil {
			break
		}
		r.abort(failed)
		log.Warn("resharding: the switch was taken back; the old shards go on", "error", failed)
		r.mu.Lock()
		r.status.Failures++
		r.status.Failure = failed.Error()
		failures := r.status.Failures
		r.mu.Unlock()
		if err = r.enter(ctx, ReshardCompares); err != nil {
			break
		}
		switch { // with a Part, others say how often, and when
		case r.o.Part != nil:
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
		case failures == switches:
			err = fmt.Errorf("%d switches have failed, the last one: %w", failures, failed)
		case pauseFor(ctx, retrySwitch<<(failures-1)) != nil:
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
	next := r.f.leaveNext()
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

// agree returns when both generations agree and, with a Part, all are to be switched.
func (r *resharding) agree(ctx context.Context) error {
	for {
		if err := r.compare(ctx); err != nil {
			return err
		}
		r.agreed = agreement{of: *r.f.current.Load(), shown: r.f.env.overlap.Status()}
		if r.o.Part == nil {
			return nil
		}
		if err := r.ask(ctx); !errors.Is(err, ErrAgain) {
			return err
		}
		if pauseFor(ctx, lookEvery) != nil {
			return context.Cause(ctx)
		}
	}
}

// ask asks whether all are to be switched. It returns ErrAgain if the generations do not agree any more.
func (r *resharding) ask(ctx context.Context) error {
	asking, again := context.WithCancelCause(ctx)
	defer again(nil)
	answer := make(chan error, 1)
	go func() { answer <- r.o.Part.Switch(asking) }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.gen.failed.Load(); err != nil {
				again(err)
			} else if !r.holds() {
				again(ErrAgain)
			}
		case err := <-answer:
			if err != nil && asking.Err() != nil {
				return context.Cause(asking)
			}
			return err
		}
	}
}

// abort tells the others that the shards here cannot be switched, if they wait for that.
func (r *resharding) abort(why error) {
	if p := r.o.Part; p != nil && p.Abort != nil && !r.decided {
		p.Abort(r.f.stopping, why)
	}
}

// ready reports whether all shards are there, of both generations, and ready.
func (r *resharding) ready() bool {
	r.f.mu.Lock()
	whole := r.f.whole()
	r.f.mu.Unlock()
	now := r.f.current.Load()
	return whole && countReady(now.next) == len(now.next) && countReady(now.all) == len(now.all)
}

// holds reports whether what was agreed still is so.
func (r *resharding) holds() bool {
	now, a := r.f.current.Load(), &r.agreed
	if !r.ready() || r.e.Full() || !slices.Equal(now.all, a.of.all) || !slices.Equal(now.next, a.of.next) {
		return false
	}
	switch {
	case !r.strays():
		a.strayed = time.Time{}
	case a.strayed.IsZero():
		a.strayed = time.Now()
	default: // payloads that differ come in pairs, but not at once
		return time.Since(a.strayed) < r.o.Patience/4
	}
	return true
}

// strays reports whether the new shards have shown more that the old ones have not than the other way round: an old shard may hang.
func (r *resharding) strays() bool {
	s, then := r.look(), r.agreed.shown
	return s.Next-then.Next > s.Older-then.Older
}

// look returns what the overlap has come to.
func (r *resharding) look() overlap.Status {
	s := r.f.env.overlap.Status()
	if s.Next != r.alone {
		r.alone, r.missed = s.Next, time.Now()
	}
	return s
}

// compare returns when both generations are ready, and have shown the same for a while.
func (r *resharding) compare(ctx context.Context) error {
	filter := r.f.env.overlap
	var ready time.Time       // zero: they are not
	var before overlap.Status // then
	for {
		if err := r.gen.failed.Load(); err != nil {
			return err
		}
		if !r.ready() {
			ready = time.Time{}
			filter.Restart()
		} else if ready.IsZero() {
			ready, before = time.Now(), filter.Status()
			r.enter(ctx, ReshardCompares)
			if now := r.f.current.Load(); len(now.all)+len(now.next) == 0 {
				return nil // others run all of them
			}
		}
		s := r.look()
		if !ready.IsZero() && !r.e.Full() {
			since := time.Since(ready)
			// An old shard may hang: Discord sends its events once it is resumed.
			hung := !r.missed.IsZero() && time.Since(r.missed) < hangs
			if filter.Agreed(r.o.Overlap) && !hung {
				return nil
			}
			if since > r.o.Patience+anyway*r.o.Overlap {
				agreed, older, next := s.Agreed-before.Agreed, s.Older-before.Older, s.Next-before.Next
				figures := []any{"agreed", agreed, "old_alone", older, "new_alone", next, "for", since.Round(time.Second)}
				// Payloads that differ come in pairs.
				switch {
				case (older+next)*tolerated > agreed:
					r.e.opts.Log.Warn("resharding: the old and the new shards differ in more than is tolerated, one event of 20; waiting", figures...)
				case next > older && hung:
					r.e.opts.Log.Warn("resharding: the new shards alone have shown events, as if an old one hung; waiting", figures...)
				default:
					r.e.opts.Log.Warn(r.o.anyway(), figures...)
					return nil
				}
				before, ready = s, time.Now()
			}
		}
		if pauseFor(ctx, lookEvery) != nil {
			return context.Cause(ctx)
		}
	}
}

// anyway says what becomes of generations that do not show quite the same.
func (o *ReshardOptions) anyway() string {
	if o.Part != nil {
		return "resharding: the old and the new shards here do not show quite the same; this member agrees to the switch all the same"
	}
	return "resharding: the old and the new shards do not show quite the same; they are switched all the same"
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
