// This file is a generation of shards: those of one shard count. While a bot is resharded there are two.

package engine

import (
	"context"
	"sync/atomic"

	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// generation is what the shards of one count have together.
type generation struct {
	number   int32 // counts the shard counts that the bot has had
	shards   int
	classes  int                        // of its shards and those of the one before, with a Part; 0: without
	replaced atomic.Bool                // its shards stop, for those of the next one
	over     chan struct{}              // closed when another one is in force
	settled  chan struct{}              // closed when it is over, and its commands are sent
	left     atomic.Int64               // of these, and one until all are counted
	presence *[]byte                    // environment.followed when they were made
	failed   atomic.Pointer[FatalError] // what Discord has said to one that is not in force, if that was final
}

const (
	// turnStride lies between the shards of two generations in an IdentifyQueue: those of the older one come
	// first.
	turnStride = resume.MaxShards
	// maxGenerations is how many numbers there are, which begin anew.
	maxGenerations = 1 << 10
)

func newGeneration(number int32, shards int) *generation {
	g := &generation{number: number, shards: shards, over: make(chan struct{}), settled: make(chan struct{})}
	g.left.Store(1)
	return g
}

// settle notes that a command is sent.
func (g *generation) settle() {
	if g.left.Add(-1) == 0 {
		close(g.settled)
	}
}

// Generation are the shards of one count, as whoever reads commands for them has to know them.
type Generation struct {
	Shards  int           // the count
	IDs     []int         // of those that this engine runs, in ascending order
	Over    chan struct{} // closed when Reshard has put another one in force
	Settled chan struct{} // closed after that, when every command is sent that was given to these shards, or the engine has ended
}

// Generation returns the one in force. It waits until Run has its shards, or ctx is done.
func (e *Engine) Generation(ctx context.Context) (g Generation, err error) {
	f, err := e.wait(ctx)
	if err != nil {
		return g, err
	}
	now := f.current.Load()
	g = Generation{Shards: now.gen.shards, Over: now.gen.over, Settled: make(chan struct{})}
	for _, s := range now.all {
		g.IDs = append(g.IDs, s.id)
	}
	go func() {
		defer close(g.Settled)
		select {
		case <-now.gen.settled:
		case <-e.ended:
		}
	}()
	return g, nil
}

// turn returns the shard as the IdentifyQueue knows it.
func (s *shard) turn() int { return int(s.gen.number)*turnStride + s.id }

// fail notes that Discord has refused a shard for good.
func (g *generation) fail(err *FatalError) { g.failed.CompareAndSwap(nil, err) }

// beginNext has another generation beside that in force, whose shards it starts, unless Begin does.
func (f *shardSet) beginNext(gen *generation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return sinks.ErrStopped
	}
	now := *f.current.Load()
	gen.presence = f.env.followed.Load()
	now.to = gen
	if gen.classes > 0 {
		f.replace(now)
		return nil
	}
	for id := range gen.shards {
		s := newShard(id, gen, f.env, resume.Session{})
		if gen.presence != nil {
			s.presence = *gen.presence
		}
		now.next = append(now.next, s)
	}
	f.reader.add(now.next...) // before others see them
	f.replace(now)
	return nil
}

// leaveNext gives the next generation up, and returns its shards, which stop.
func (f *shardSet) leaveNext() []*shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endNext(func(*shard) bool { return true })
	now := *f.current.Load()
	now.to = nil
	f.replace(now)
	ended := f.ended
	f.ended = nil
	return ended
}

// stopReplaced stops shards in force, with their sessions kept.
func (f *shardSet) stopReplaced(old []*shard) {
	f.current.Load().gen.replaced.Store(true)
	for _, s := range old {
		s.leaving.Store(true)
		s.wake(wakeStop)
	}
}

// goOn starts shards again that stopReplaced has stopped, and which are released: each has the session that its
// predecessor had, with what waits for the sink's acknowledgement, and the commands.
func (f *shardSet) goOn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thaw()
	now := *f.current.Load()
	now.gen.replaced.Store(false)
	if f.closed {
		return // their sessions are stored
	}
	old := now.all
	now.all = nil
	for _, o := range old {
		s := newShard(o.id, now.gen, f.env, resume.Session{Epoch: o.epoch})
		s.begun = o.begun
		s.session = o.session
		s.current.Store(o.session)
		s.unpersisted, s.unreported = o.unpersisted, o.unreported
		s.gaps.Store(o.gaps.Load())
		s.presence, s.sessionAt, s.startedAt, s.fruitless = o.presence, o.sessionAt, o.startedAt, o.fruitless
		s.commands.putBack(pointers(o.moved))
		o.counters.addTo(&now.past)
		now.all = append(now.all, s)
	}
	f.reader.add(now.all...)    // before others see them
	for _, s := range now.all { // which others may wake now
		if ses := s.current.Load(); ses != nil {
			ses.shard.Store(s)
		}
		if gaps := s.gaps.Load(); gaps != nil {
			for _, g := range *gaps {
				g.end.shard.Store(s)
			}
		}
	}
	f.replace(now)
}

// showPresence has shards send the presence that others have sent since these were made.
func (f *shardSet) showPresence(now currentShards) {
	p := f.env.followed.Load()
	if p == now.gen.presence || *p == nil {
		return
	}
	packet, err := presenceCommand(*p)
	if err != nil {
		return // follow keeps none such
	}
	for _, s := range now.all {
		if s.commands.add(wire.Command{Op: wire.OpPresenceUpdate}, packet, fate{}) == nil { // or its queue is full
			s.wake(wakeCommands)
		}
	}
}

// enforce makes the next generation that in force. Commands that wait for the old one's shards go to those that
// serve their guilds now.
func (f *shardSet) enforce() {
	f.mu.Lock()
	now := *f.current.Load()
	old, was := now.all, now.gen
	now.all, now.next = now.next, nil
	now.gen, now.to = now.to, nil
	f.frozen, f.committing = false, false
	for _, o := range old {
		o.counters.addTo(&now.past)
	}
	moved := make(map[*shard][]*waitingCommand)
	var lost []*waitingCommand
	for _, o := range old {
		for _, w := range pointers(o.moved) {
			s := now.find(w.shard(o.id, now.gen.shards))
			if s == nil { // another process has it
				lost = append(lost, w)
				continue
			}
			for i := range w.sent {
				o.gen.left.Add(1)
				w.sent[i] = w.sent[i].then(o.gen.settle)
			}
			moved[s] = append(moved[s], w)
		}
	}
	for s, commands := range moved {
		s.commands.putBack(commands)
		s.wake(wakeCommands)
	}
	f.showPresence(now)
	f.env.inForce.Store(now.gen)
	f.replace(now) // from here on the others come behind these
	f.mu.Unlock()
	for _, w := range lost {
		w.drop()
	}
	close(was.over)
	was.settle()
}

func pointers(all []waitingCommand) (out []*waitingCommand) {
	for i := range all {
		out = append(out, &all[i])
	}
	return out
}
