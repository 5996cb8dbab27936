// This file is a process that is a member of a fleet, in one incarnation after the other.

package fleet

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/resume"
	"sluice/sinks"
)

// Engine runs the shards of a member: an *engine.Engine.
type Engine interface {
	// Add starts a shard, under from.Epoch.
	Add(ctx context.Context, shard int, from resume.Session) error
	// Remove stops one, and returns when all of its events are acknowledged and its checkpoint is saved.
	Remove(ctx context.Context, shard int) (resume.Session, error)
	// Depose drops one at once.
	Depose(shard int)
}

// Options are the settings of a Fleet. Coordinator, Session and Log are required.
type Options struct {
	Coordinator Coordinator
	Member      Member // its Incarnation, Beat and State are the Fleet's
	Plan        Plan   // of this process; with no shard count it is what the fleet has, or else Recommended
	// Recommended returns the shard count that Discord recommends. It is asked if nobody else runs.
	Recommended func(ctx context.Context) (int, error)
	// Session returns what resumes a shard, of what is stored, which may be nothing.
	Session func(shard int, c resume.Checkpoint) resume.Session
	// Checkpoint returns what is stored of a shard, so that Session returns it again. nil: what there is.
	Checkpoint func(shard int, s resume.Session) resume.Checkpoint
	// Sink is claimed before a shard is started, as it does under a name of the process, which stays the
	// same when it joins again: no epoch of a shard is given twice. nil: it cannot refuse.
	Sink sinks.Claimer
	// Delivers reports whether the sink takes events now: no handover begins while it does not, since it could not be
	// drained. nil: it does.
	Delivers func() bool

	Beat  time.Duration // between two beats; 1 s by default
	Death time.Duration // without a beat, before others depose; 6 s by default
	Taken time.Duration // that a handover waits for its target; 3 s by default
	Drain time.Duration // that a shard may take to be drained for a handover; 10 s by default
	// Switch is how long the switch of a Reshard may take until it is aborted; 10 s by default.
	Switch time.Duration
	Rules  Rules
	Log    *slog.Logger
}

// Fleet is this process's part of a fleet. Join comes first, then Run, each once; the other methods
// are for any goroutine.
type Fleet struct {
	o    Options
	plan Plan            // after Join
	wake chan struct{}   // there is something in dropped, or the table has changed
	life context.Context // ends when Run returns
	end  context.CancelFunc

	draining chan struct{} // closed by Drain
	drain    sync.Once
	runs     runs

	snapshot  atomic.Pointer[Snapshot] // nil: the table was not read yet
	chronicle chronicle                // of the goroutine of Run
	balance   atomic.Bool              // Rebalance was called

	engine Engine    // of Run
	count  Plan      // that the engine runs: its Generation and Shards; of the goroutine of Run
	again  time.Time // no other part begins before; of the goroutine of Run
	past   int64     // part.past of the last one; of the goroutine of Run

	mu          sync.Mutex
	incarnation string // the current one
	dropped     []ownedShard
	pulse       Pulse
	time        time.Time // of the coordinator, as of read
	read        time.Time
	gone        gone
	warned      time.Time       // when it was last logged that a step fails
	drains      []chan struct{} // of those that wait in Drain; closed when there is nothing to wait for
	queue       *Queue          // the last of Queue; nil: none
	part        *part           // of a Reshard; nil: none. It is changed by the goroutine of Run alone
	asked       []question      // of Confirm
	asking      bool
}

// ownedShard is a shard under an ownership of this process.
type ownedShard struct {
	id    int
	epoch int64
}

// New returns a Fleet for the options.
func New(o Options) *Fleet {
	o.Beat = cmp.Or(o.Beat, time.Second)
	o.Death = cmp.Or(o.Death, 6*time.Second)
	o.Taken = cmp.Or(o.Taken, 3*time.Second)
	o.Drain = cmp.Or(o.Drain, 10*time.Second)
	o.Switch = cmp.Or(o.Switch, 10*time.Second)
	o.Member.Weight = max(1, o.Member.Weight)
	f := &Fleet{
		o:    o,
		wake: make(chan struct{}, 1), draining: make(chan struct{}),
		incarnation: rand.Text(),
	}
	f.pulse.Suspect = o.Death * 2 / 3
	f.runs.epochs = make(map[int]int64)
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

// Trusted reports whether the membership was confirmed a short time ago, by this process's own clock:
// nobody can have deposed it. Where the broker cannot refuse, nothing may be published without it.
func (f *Fleet) Trusted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pulse.Trusted(time.Now())
}

// Time returns the coordinator's time, or one that is earlier by as much as its answers take; the zero Time before the
// first of them.
func (f *Fleet) Time() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read.IsZero() {
		return time.Time{}
	}
	return f.time.Add(time.Since(f.read))
}

// Join enters the fleet and returns its plan. Settings that differ from those of the others are a
// *MisfitError, but not before others that have died are found out.
func (f *Fleet) Join(ctx context.Context) (Plan, error) {
	p, err := f.join(ctx)
	if errors.Is(err, ErrDeposed) { // an earlier call had entered it, whose answer was lost
		f.mu.Lock()
		f.incarnation = rand.Text()
		f.mu.Unlock()
		p, err = f.join(ctx)
	}
	var misfit *MisfitError
	if errors.As(err, &misfit) {
		f.o.Log.Warn("fleet: another member has other settings; it is found out whether it lives", "error", misfit, "for", f.o.Death)
		if err := f.bury(ctx); err != nil {
			return Plan{}, err
		}
		p, err = f.join(ctx)
	}
	if err != nil {
		return Plan{}, err
	}
	f.plan = p
	f.o.Log.Info("fleet: joined", "member", f.o.Member.Name, "incarnation", f.incarnation, "generation", p.Generation, "shards", p.Shards)
	return p, nil
}

// join is Join once.
func (f *Fleet) join(ctx context.Context) (Plan, error) {
	plan := f.o.Plan
	v, err := f.o.Coordinator.Look(ctx, 0)
	if err != nil {
		return Plan{}, fmt.Errorf("fleet: join: %w", err)
	}
	lives := false
	for _, m := range v.Members {
		lives = lives || m.State != Deposed
	}
	holds := v.Plan.Holds(plan.Shards)
	if holds {
		plan.Resharded, plan.Instead = true, v.Plan.Instead
	} else if v.Plan.Resharded && plan.Shards != v.Plan.Shards && !lives {
		f.o.Log.Warn("fleet: the bot was resharded before; the settings have changed since, and count", "shards", plan.Shards, "resharded_to", v.Plan.Shards, "instead_of", v.Plan.Instead)
	}
	if holds || lives && plan.Shards == 0 {
		plan.Shards = v.Plan.Shards
	}
	if plan.Shards == 0 {
		if plan.Shards, err = f.o.Recommended(ctx); err != nil {
			return Plan{}, err
		}
	}
	p, err := f.o.Coordinator.Join(ctx, f.member(Up, 0), plan)
	if err != nil && !errors.As(err, new(*MisfitError)) {
		err = fmt.Errorf("fleet: join: %w", err)
	}
	return p, err
}

// bury watches for the time of death and deposes those that do not live, before this process is a member.
func (f *Fleet) bury(ctx context.Context) error {
	seen := make(map[string]int64)
	v, err := f.o.Coordinator.Look(ctx, 0)
	if err != nil {
		return fmt.Errorf("fleet: join: %w", err)
	}
	for _, m := range v.Members {
		seen[m.Incarnation] = m.Beat
	}
	if err := sleep(ctx, f.o.Death); err != nil {
		return err
	}
	for incarnation, beat := range seen {
		if err := f.o.Coordinator.Depose(ctx, incarnation, beat); err != nil && !errors.Is(err, ErrChanged) {
			return fmt.Errorf("fleet: join: %w", err)
		}
	}
	return nil
}

// member returns this process's record.
func (f *Fleet) member(s State, beat int64) Member {
	m := f.o.Member
	m.Incarnation, m.State, m.Beat = f.current(), s, beat
	return m
}

// current returns the current incarnation.
func (f *Fleet) current() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.incarnation
}

// Run takes part in the fleet until ctx is done: it runs the engine's shards as the table says. An
// incarnation that is deposed drops its shards, and another joins. When ctx is done, the shards that
// are left are free for others, or, with Rules.Return, for the next process of this name at first: the engine must
// have stopped by then. An error is final.
func (f *Fleet) Run(ctx context.Context, e Engine) error {
	defer f.end()
	f.engine, f.count = e, f.plan
	defer f.endPart()
	e = noted{e, &f.runs}
	go f.o.Coordinator.Watch(ctx, f.stir)
	if f.o.Sink != nil {
		go f.o.Sink.Claim(ctx, nil) // so that it has connected before the first shard waits for it
	}
	for {
		i := newIncarnation(f, e)
		err := i.run(ctx)
		if !errors.Is(err, ErrDeposed) {
			f.endPart()
			f.leave(ctx, i)
			return err
		}
		f.o.Log.Warn("fleet: deposed by the others; every shard is dropped, and this process joins again", "incarnation", i.name, "shards", i.owned())
		i.dropAll()
		f.chronicle.died(Death{Member: f.member(Deposed, i.beat), At: time.Now(), Shards: i.had})
		f.mu.Lock()
		f.incarnation, f.pulse = rand.Text(), Pulse{Suspect: f.pulse.Suspect}
		f.mu.Unlock()
		for {
			if _, err = f.Join(ctx); err == nil || ctx.Err() != nil || errors.As(err, new(*MisfitError)) {
				break
			}
			f.o.Log.Warn("fleet: cannot join again yet", "error", err)
			sleep(ctx, f.o.Beat)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// endPart ends this process's part of a Reshard, since it ends: the engine has stopped.
func (f *Fleet) endPart() {
	if f.part != nil {
		f.end()
		<-f.part.ended
	}
}

// Incarnation returns the current incarnation of this process, or the one that joins next.
func (f *Fleet) Incarnation() string { return f.current() }

// leave ends the membership of an incarnation whose shards are stopped, and saved. With Rules.Return it leaves what it
// has to the next process of its name, unless it was told to give it to others.
func (f *Fleet) leave(ctx context.Context, i *incarnation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.o.Death/2)
	defer cancel()
	var err error
	if f.o.Rules.Return > 0 && i.state() == Up {
		err = f.o.Coordinator.Depose(ctx, i.name, i.beat)
		if errors.Is(err, ErrChanged) { // the last beat was not sent any more
			err = f.o.Coordinator.Depose(ctx, i.name, i.beat-1)
		}
	} else {
		err = f.o.Coordinator.Leave(ctx, i.name)
	}
	if err != nil {
		f.o.Log.Warn("fleet: this member could not leave; the others find out that it is gone", "error", err, "after", f.o.Death)
	}
}

// Leave ends the membership of a process that has joined, and does not Run.
func (f *Fleet) Leave(ctx context.Context) error {
	if err := f.o.Coordinator.Leave(ctx, f.current()); err != nil {
		return fmt.Errorf("fleet: leave: %w", err)
	}
	return nil
}

// BeginDrain has this member give all shards to other members, and take none from then on. It does not wait.
func (f *Fleet) BeginDrain() {
	f.drain.Do(func() { close(f.draining) })
	f.stir()
}

// Drain is BeginDrain, and returns when no shard is left here, when there is nobody to take them, or when ctx is done.
func (f *Fleet) Drain(ctx context.Context) {
	f.drain.Do(func() { close(f.draining) })
	done := make(chan struct{})
	f.mu.Lock()
	f.drains = append(f.drains, done)
	f.mu.Unlock()
	f.stir()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Draining reports whether BeginDrain or Drain was called.
func (f *Fleet) Draining() bool {
	select {
	case <-f.draining:
		return true
	default:
		return false
	}
}

// Rebalance has this member give what it has above its share now, and down to it: Rules.Settle is not waited for, and
// Rules.Slack not left, this once.
func (f *Fleet) Rebalance() {
	f.balance.Store(true)
	f.stir()
}

// Dropped says that a shard was found to be another's, by the engine or the sink. It does not wait.
func (f *Fleet) Dropped(shard int, epoch int64) {
	f.mu.Lock()
	f.dropped = append(f.dropped, ownedShard{shard, epoch})
	f.mu.Unlock()
	f.stir()
}

// stir has the loop look at once.
func (f *Fleet) stir() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// sleep waits, or returns why ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
