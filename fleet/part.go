// This file is this process's part of a Reshard, between its engine and the loop.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"sluice/internal/failpoint"
	"sluice/resume"
	"sluice/sinks"
)

// Resharder is an Engine that can run another shard count in place of its own.
type Resharder interface {
	Engine
	// Reshard runs another shard count in place of the one that it runs, as part says. It returns when that is in force, or
	// why it is not; then the shards are as they were.
	Reshard(ctx context.Context, shards int, part Part) error
	// Begin starts a shard of the next count, and Abandon ends it, while Reshard is at work, with its session unless
	// Part.Commit was given that.
	Begin(ctx context.Context, shard int, epoch int64) error
	Abandon(shard int)
	// Ready returns how many shards that Begin has started are ready.
	Ready() int
}

// Part is what a fleet decides of a Resharder's Reshard.
type Part struct {
	Generation int // of the shard count that is to be, in the fleet
	// Switch is called when old and new shards agree, also when there are none. It returns nil when the switch is to
	// be made: the old shards stop, with their sessions kept. ErrAgain: they are to be compared again. Any
	// other error calls off. Its ctx is to be done as soon as they do not agree any more; then it is to be called again.
	Switch func(ctx context.Context) error
	// Commit is called when the old shards are drained and saved, with what resumes the new ones. It returns nil when
	// these are in force everywhere. After an error they are not, and never will be by this attempt: the old ones go on. It
	// returns when it is known which of both it is, however long that takes, or when ctx is done, with the engine.
	Commit func(ctx context.Context, next iter.Seq2[int, resume.Session]) error
	// Abort is called in place of Commit when Switch has returned nil, and the engine cannot switch: nobody need wait for it.
	Abort func(ctx context.Context, why error)
	// Open is called after that, when the engine runs the new ones, before anything of them goes out. It returns when that
	// may be, or ctx is done.
	Open func(ctx context.Context) error
}

// partState is what the engine does of a Reshard. It is changed by part.to alone.
type partState uint8

const (
	partCompares  partState = iota // old and new shards, or there are none yet
	partAsks                       // Switch waits
	partSwitches                   // Switch has returned nil; the old shards stop
	partCommits                    // Commit waits
	partCommitted                  // the new shards are in force here, and Open is to come
	partOpened                     // Open has returned
	partEnded                      // the engine has returned
)

// partStates says what may follow what.
var partStates = [...][]partState{
	partCompares:  {partAsks, partEnded},
	partAsks:      {partCompares, partSwitches, partEnded},
	partSwitches:  {partCompares, partCommits, partEnded},
	partCommits:   {partCompares, partCommitted, partEnded},
	partCommitted: {partOpened, partEnded},
	partOpened:    {partEnded},
}

// part is this process's part of a Reshard.
type part struct {
	f          *Fleet
	engine     Resharder
	generation int
	shards     int
	from       int // shards
	stop       context.CancelCauseFunc

	mu      sync.Mutex
	state   partState
	err     error         // of partEnded
	ended   chan struct{} // closed with it
	answer  chan error    // of Switch that waits, and of Commit
	attempt Attempt       // of partSwitches and partCommits
	whole   bool          // that attempt is the fleet's still
	next    []Record      // of partCommits: what is to be prepared
	past    int64         // the highest number of the attempts that the engine has gone back from, also of former parts
	abort   string        // why the attempt is to be aborted
	last    int64         // the highest epoch of all that were begun
	begun   begunClasses

	forced  bool // the new shards are in force
	settled bool // of the loop: it drives them

	starved time.Time // of the loop: since when shards wait for session starts, and none are left; zero: they do not
	warned  time.Time // of the loop: when that was logged last
}

// begunClasses are those by number. They have a lock of their own, which nobody keeps for long.
type begunClasses struct {
	mu  sync.Mutex
	all map[int]begunClass
}

func (b *begunClasses) get(c int) (begunClass, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	class, is := b.all[c]
	return class, is
}

func (b *begunClasses) set(c int, class begunClass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = make(map[int]begunClass)
	}
	b.all[c] = class
}

func (b *begunClasses) remove(c int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, c)
}

// list returns all of them.
func (b *begunClasses) list() map[int]begunClass {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.all)
}

// begunClass is a class whose new shards are begun.
type begunClass struct {
	epoch int64         // of the new ones
	old   map[int]int64 // the epochs of the old ones
}

func (p *part) to(s partState) {
	for _, next := range partStates[p.state] {
		if next == s {
			p.state = s
			return
		}
	}
	panic(fmt.Sprintf("fleet: from %d to %d of a reshard", p.state, s)) // by this package, or an engine that does not keep to Part
}

// start begins a part.
func (f *Fleet) start(e Resharder, generation, from, shards int) *part {
	ctx, stop := context.WithCancelCause(f.life)
	p := &part{f: f, engine: e, generation: generation, from: from, shards: shards, stop: stop, ended: make(chan struct{}), past: f.past}
	f.mu.Lock()
	f.part = p
	f.mu.Unlock()
	go func() {
		err := e.Reshard(ctx, shards, Part{Generation: generation, Switch: p.ask, Commit: p.commit, Abort: p.fails, Open: p.open})
		p.mu.Lock()
		p.err = err
		p.to(partEnded)
		p.mu.Unlock()
		close(p.ended)
		stop(nil)
		f.stir()
	}()
	return p
}

// ask is Part.Switch.
func (p *part) ask(ctx context.Context) error {
	p.mu.Lock()
	p.to(partAsks)
	answer := make(chan error, 1)
	p.answer = answer
	p.mu.Unlock()
	p.f.stir()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case err := <-answer:
		return err
	default:
		p.to(partCompares)
		p.answer = nil
		return context.Cause(ctx)
	}
}

// fails is Part.Abort.
func (p *part) fails(_ context.Context, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abort, p.past = why.Error(), max(p.past, p.attempt.Number)
	p.to(partCompares)
	p.f.stir()
}

// partNow is how a part stands.
type partNow struct {
	state   partState
	attempt Attempt
	abort   string
	next    []Record
}

// now returns how it stands. It may change by the engine at once: to partAsks and back, from partSwitches to partCommits or
// partCompares, and to partEnded.
func (p *part) now() partNow {
	p.mu.Lock()
	defer p.mu.Unlock()
	return partNow{p.state, p.attempt, p.abort, p.next}
}

// goBack ends the attempt.
func (p *part) goBack(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole, p.next, p.past = false, nil, max(p.past, p.attempt.Number)
	if p.state == partCommits {
		p.to(partCompares)
		p.reply(why)
	}
}

// aborted notes that the attempt is.
func (p *part) aborted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abort = ""
}

// compareAgain has the engine compare what it has now.
func (p *part) compareAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == partAsks {
		p.to(partCompares)
		p.reply(ErrAgain)
	}
}

// begin has the engine switch, if it has asked for that. It returns false, too, if the coordinator has forgotten that an
// attempt was aborted: what was prepared for it is old.
func (p *part) begin(a Attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != partAsks || a.Number <= p.past {
		return false
	}
	p.switches(a)
	return true
}

// follow has it switch to what was committed without it.
func (p *part) follow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == partAsks {
		p.switches(Attempt{})
	}
}

// switches answers Switch. mu is held.
func (p *part) switches(a Attempt) {
	p.attempt, p.whole = a, true
	p.to(partSwitches)
	p.reply(nil)
}

// prepared notes that the next shards are.
func (p *part) prepared() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = nil
}

// force has the engine run the new shards.
func (p *part) force() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == partCommits {
		p.forced = true
		p.to(partCommitted)
		p.reply(nil)
	}
}

// reply answers Switch, or Commit. mu is held.
func (p *part) reply(err error) {
	if p.answer != nil {
		p.answer <- err
		p.answer = nil
	}
}

// commit is Part.Commit: the loop prepares and commits, and knows the outcome.
func (p *part) commit(ctx context.Context, next iter.Seq2[int, resume.Session]) error {
	p.mu.Lock()
	p.to(partCommits)
	if !p.whole {
		p.to(partCompares)
		p.mu.Unlock()
		return errAborted
	}
	p.next = make([]Record, 0, p.shards)
	for shard, s := range next {
		class, _ := p.begun.get(shard % classes(p.from, p.shards))
		c := resume.Checkpoint{Session: s, At: time.Now()}
		if p.f.o.Checkpoint != nil {
			c = p.f.o.Checkpoint(shard, s)
		}
		r := Record{Shard: shard, Epoch: class.epoch}
		if !c.Empty() {
			r.Data = appendCheckpoint(nil, c)
		}
		p.next = append(p.next, r)
	}
	answer := make(chan error, 1)
	p.answer = answer
	p.mu.Unlock()
	p.f.stir()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	case <-p.f.life.Done(): // this process ends
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case err := <-answer:
		return err
	default:
		p.answer = nil
		p.to(partCompares)
		return fmt.Errorf("fleet: it is not known what has become of the switch: %w", context.Canceled)
	}
}

// errAborted is what Commit returns when an attempt was aborted by another member.
var errAborted = errors.New("fleet: the switch was aborted")

// open is Part.Open. What others have taken over meanwhile is theirs; what the sink has under a higher epoch is begun again
// under one that is higher still.
func (p *part) open(ctx context.Context) error {
	failpoint.Hit("reshard.open")
	defer func() {
		failpoint.Hit("reshard.opened")
		p.mu.Lock()
		p.to(partOpened)
		p.mu.Unlock()
		p.f.stir()
	}()
	if p.f.o.Sink == nil {
		return nil
	}
	epochs := make(map[int]int64)
	for c, b := range p.begun.list() {
		for shard := c; shard < p.shards; shard += classes(p.from, p.shards) {
			if p.f.Owns(shard, b.epoch) {
				epochs[shard] = b.epoch
			}
		}
	}
	for began, wait := time.Now(), p.f.o.Beat/10; len(epochs) > 0; wait = min(2*wait, p.f.o.Beat) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := p.f.o.Sink.Claim(call, maps.Clone(epochs))
		cancel()
		var claimed *sinks.ClaimedError
		switch {
		case err == nil || errors.Is(err, sinks.ErrStopped):
			return err
		case errors.As(err, &claimed):
			for shard := range claimed.Epochs {
				if epoch, has := epochs[shard]; has {
					delete(epochs, shard)
					p.f.Dropped(shard, epoch)
				}
			}
		}
		if time.Since(began) > quietFor {
			p.f.warn("claim", err)
		}
		if sleep(ctx, wait) != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// epochsOf returns the old shards that a new one depends on, if it is one under this epoch.
func (p *part) epochsOf(shard int, epoch int64) (old map[int]int64, is bool) {
	b, is := p.begun.get(shard % classes(p.from, p.shards))
	if !is || b.epoch != epoch {
		return nil, false
	}
	return b.old, true
}
