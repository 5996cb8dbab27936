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

// ReshardOptions say how Engine.Reshard goes.
type ReshardOptions struct {
	Shards int // the count that is to be
	// Overlap is how long both generations must have shown the same. Default 2 s.
	Overlap time.Duration
	// Patience is how long one of them waits for the other to show an event. Default 5 s.
	Patience time.Duration
	// SwitchTimeout bounds how long no events go out: from the end of the old connections until the store has the new
	// sessions. What lasts longer is called off. Default 10 s.
	SwitchTimeout time.Duration
}

// Replacer is Checkpoints that can be replaced as a whole.
type Replacer interface {
	// Replace persists snapshots in place of all that are persisted, with their shard count, in one step: whatever
	// happens, either all is persisted or nothing is changed. After an error it may be either; the next Save, or Replace,
	// sees to it that what it has is what is persisted.
	Replace(ctx context.Context, shards int, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error
}

// Stage is how far a Reshard has come.
type Stage string

const (
	ReshardNone     Stage = ""           // none is at work
	ReshardConnects Stage = "connecting" // the new shards identify, in their turns
	ReshardCompares Stage = "comparing"  // both generations are to show the same
	ReshardSwitches Stage = "switching"  // it cannot be called off any more, but may fail
	ReshardEnds     Stage = "ending"     // the new generation is in force
	ReshardLeaves   Stage = "leaving"    // it is called off; the new shards are closed
)

// ReshardStatus is what becomes of a Reshard, or has become of the last one. The zero value: there was none.
type ReshardStatus struct {
	Stage    Stage // ReshardNone: it has ended
	From, To int   // shard counts
	Ready    int   // of the new shards
	Began    time.Time
	Overlap  overlap.Status
	Failures int    // switches that were taken back
	Failure  string // why the last one was, or, of one that has ended, why that was called off
}

// ErrCalledOff is the error of a Reshard that was called off.
var ErrCalledOff = errors.New("the resharding was called off")

// Errors of Reshard that change nothing.
var (
	errResharding  = errors.New("the bot is being resharded already")
	errOtherShards = errors.New("not all shards of the bot run in this process")
	errInFleet     = errors.New("the shards are a fleet's")
	errNoReplace   = errors.New("the store of sessions cannot be replaced as a whole")
)

// BudgetError says that there are not enough session starts left for a Reshard, the reserve kept.
type BudgetError struct {
	Needed, Left int
	Reset        time.Time
}

func (e *BudgetError) Error() string {
	text := fmt.Sprintf("%d session starts are needed, and %d are left beside the reserve", e.Needed, max(e.Left, 0))
	if !e.Reset.IsZero() {
		text += ", until " + e.Reset.UTC().Format("2006-01-02 15:04 UTC")
	}
	return text
}

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

// ReshardPlan is what Reshard would do.
type ReshardPlan struct {
	From, To       int       // shard counts
	Left           int       // session starts, beside the reserve; To are needed
	Reset          time.Time // of them; zero: it is not known
	Recommended    int       // shards, by Discord; 0: nobody asks it
	MaxConcurrency int
	Connecting     time.Duration // about how long it takes until all are connected
	Persisted      bool          // a restart goes on with the new count
}

// PlanReshard returns what Reshard would do, and an error if it would begin nothing. Without an error that is *BudgetError
// or nil the plan is of no use.
func (e *Engine) PlanReshard(ctx context.Context, shards int) (p ReshardPlan, err error) {
	f, err := e.wait(ctx)
	if err != nil {
		return p, err
	}
	now := f.current.Load()
	if _, replaces := e.opts.Checkpoints.(Replacer); e.opts.Checkpoints != nil && !replaces {
		return p, errNoReplace
	}
	switch {
	case shards < 1 || shards > resume.MaxShards:
		return p, fmt.Errorf("%d is no shard count: it is 1 to %d", shards, resume.MaxShards)
	case e.opts.Identify != nil || e.opts.Confirm != nil:
		return p, errInFleet
	case shards == now.gen.shards:
		return p, fmt.Errorf("the bot has %d shards already", shards)
	case len(now.all) != now.gen.shards, now.gen == f.env.first && e.opts.IDs != nil:
		return p, errOtherShards // after a restart, too
	case e.reshard.Load() != nil:
		return p, errResharding
	}
	p = ReshardPlan{From: now.gen.shards, To: shards, Persisted: e.opts.Checkpoints != nil}
	if e.opts.API != nil { // others draw on the budget, too
		info, err := e.opts.API.GatewayBot(ctx)
		if err != nil {
			return p, fmt.Errorf("asking Discord how many session starts are left: %w", err)
		}
		f.env.limit(info.Limit)
		p.Recommended = info.Shards
	}
	s := f.env.identify.status()
	p.Left, p.Reset, p.MaxConcurrency = f.env.turns.Left(), s.Reset, s.MaxConcurrency
	p.Connecting = time.Duration((shards-1)/max(s.MaxConcurrency, 1)) * identifyWindow
	if p.Left < shards {
		return p, &BudgetError{Needed: shards, Left: p.Left, Reset: p.Reset}
	}
	return p, nil
}

// Reshard runs another number of shards in place of those that run. The new ones are started beside the old ones, and take
// over at one moment, when both have been seen to get the same events: each event goes out once, those of a guild in
// their order. Until then nothing of the new ones does, and CallOff, the end of ctx or of the process leave all as it was.
//
// It returns when the new shards are in force, or why they are not. Nothing is begun, but what
// PlanReshard says, unless the session starts that are left beside the reserve are enough for all of them.
func (e *Engine) Reshard(ctx context.Context, o ReshardOptions) error {
	if o.Overlap <= 0 {
		o.Overlap = 2 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	if o.SwitchTimeout <= 0 {
		o.SwitchTimeout = 10 * time.Second
	}
	if _, err := e.PlanReshard(ctx, o.Shards); err != nil {
		return err
	}
	f := e.running.Load()
	now := f.current.Load()
	r := &resharding{e: e, f: f, o: o, gen: newGeneration((now.gen.number+1)%maxGenerations, o.Shards)}
	r.status = ReshardStatus{Stage: ReshardConnects, From: now.gen.shards, To: o.Shards, Began: time.Now()}
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	defer context.AfterFunc(f.stopping, func() { r.stop(sinks.ErrStopped) })()
	if !e.reshard.CompareAndSwap(nil, r) {
		return errResharding
	}
	done := make(chan error, 1)
	work := func() {
		err := r.run(ctx)
		last := e.Resharding()
		if last.Stage, last.Failure = ReshardNone, ""; err != nil {
			last.Failure = err.Error()
		}
		e.resharded.Store(&last)
		e.reshard.Store(nil)
		done <- err
	}
	if !f.task(work) {
		e.reshard.Store(nil)
		return sinks.ErrStopped
	}
	return <-done
}

// CallOff ends a Reshard that has not come to the switch. It returns an error if there is none.
func (e *Engine) CallOff() error {
	r := e.reshard.Load()
	if r == nil {
		return errors.New("the bot is not being resharded")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Stage != ReshardConnects && r.status.Stage != ReshardCompares {
		return fmt.Errorf("the resharding is %s: it cannot be called off any more", r.status.Stage)
	}
	r.stop(ErrCalledOff)
	return nil
}

// Resharding returns what becomes of a Reshard.
func (e *Engine) Resharding() ReshardStatus {
	r := e.reshard.Load()
	if r == nil {
		if last := e.resharded.Load(); last != nil {
			return *last
		}
		return ReshardStatus{}
	}
	r.mu.Lock()
	s := r.status
	r.mu.Unlock()
	if s.Stage != ReshardEnds {
		s.Overlap = r.f.env.overlap.Status()
	}
	now := r.f.current.Load()
	shards := now.next
	if now.gen == r.gen {
		shards = now.all
	}
	s.Ready = countReady(shards)
	return s
}

// task runs f on a goroutine that Run waits for. It returns false if Run ends.
func (f *shardSet) task(work func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.tasks.Go(work)
	return true
}

func countReady(shards []*shard) (n int) {
	for _, s := range shards {
		if s.state() == Ready {
			n++
		}
	}
	return n
}

// enter notes the stage, unless ctx is done: CallOff is told no if it comes later.
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
	// retrySwitch lies between two attempts at the switch.
	retrySwitch = 5 * time.Second
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
		r.mu.Unlock()
		if err = r.enter(ctx, ReshardCompares); err == nil {
			if pauseFor(ctx, retrySwitch) != nil {
				err = context.Cause(ctx)
			}
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
			// An old shard may hang: its events come again once it is resumed.
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
