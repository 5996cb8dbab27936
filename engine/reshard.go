// This file plans and begins another shard count, and says what becomes of it.

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	// Part is for an Engine whose shards are a part of the bot's. nil: all of them run here.
	Part *Part
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
	Running  int   // of the new shards, in this process
	Ready    int   // of them
	Began    time.Time
	Overlap  overlap.Status
	Failures int    // switches that were taken back
	Failure  string // why the last one was, or, of one that has ended, why that was called off
}

// ErrCalledOff is the error of a Reshard that was called off.
var ErrCalledOff = errors.New("the resharding was called off")

// Errors of Reshard that change nothing.
var (
	errResharding  = errors.New("the bot is being resharded already: that has to end, or to be called off, first")
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
	if err := e.reshardable(f, shards, e.inFleet()); err != nil {
		return p, err
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
	if q, reports := f.env.turns.(IdentifyReporter); reports {
		s = q.Status()
	}
	p.Left, p.Reset, p.MaxConcurrency = f.env.turns.Left(), s.Reset, s.MaxConcurrency
	p.Connecting = time.Duration((shards-1)/max(s.MaxConcurrency, 1)) * identifyWindow
	if p.Left < shards {
		return p, &BudgetError{Needed: shards, Left: p.Left, Reset: p.Reset}
	}
	return p, nil
}

// inFleet reports whether the shards are a part of a bot's.
func (e *Engine) inFleet() bool { return e.opts.Identify != nil || e.opts.Confirm != nil }

// reshardable returns why the shards cannot be replaced by so many others, all of them or a part.
func (e *Engine) reshardable(f *shardSet, shards int, part bool) error {
	now := f.current.Load()
	_, replaces := e.opts.Checkpoints.(Replacer)
	switch {
	case shards < 1 || shards > resume.MaxShards:
		return fmt.Errorf("%d is no shard count: it is 1 to %d", shards, resume.MaxShards)
	case shards == now.gen.shards:
		return fmt.Errorf("the bot has %d shards already", shards)
	case e.reshard.Load() != nil:
		return errResharding
	case part:
		return nil
	case e.inFleet():
		return errInFleet
	case e.opts.Checkpoints != nil && !replaces:
		return errNoReplace
	case len(now.all) != now.gen.shards, now.gen == f.env.first && e.opts.IDs != nil:
		return errOtherShards // after a restart, too
	}
	return nil
}

// Reshard runs another number of shards in place of those that run. The new ones are started beside the old ones, and take
// over at one moment, when both have been seen to get the same events: each event goes out once, those of a guild in
// their order. Until then nothing of the new ones does, and CallOff, the end of ctx or of the process leave all as it was.
//
// It returns when the new shards are in force, or why they are not. Nothing is begun, but what
// PlanReshard says, unless the session starts that are left beside the reserve are enough for all of them; with a Part,
// those who have it look at them.
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
	f, err := e.wait(ctx)
	if err != nil {
		return err
	}
	if err := e.reshardable(f, o.Shards, o.Part != nil); err != nil {
		return err
	}
	now := f.current.Load()
	number := (now.gen.number + 1) % maxGenerations
	if p := o.Part; p != nil {
		if number = int32(p.Generation % maxGenerations); number == now.gen.number {
			return fmt.Errorf("the shards in force are of generation %d", p.Generation)
		}
	} else if _, err := e.PlanReshard(ctx, o.Shards); err != nil {
		return err
	}
	r := &resharding{e: e, f: f, o: o, gen: newGeneration(number, o.Shards)}
	if o.Part != nil {
		r.gen.classes = gcd(now.gen.shards, o.Shards)
	}
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
	s.Running, s.Ready = len(shards), countReady(shards)
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
