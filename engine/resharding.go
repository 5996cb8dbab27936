// This file replaces the shards by those of another count, without a gap: see package overlap.

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
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

// pauseFor waits for d, or until ctx is done.
func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
