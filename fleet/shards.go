// This file is what a member does with each shard: the table says whose it is, and this makes it so.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/resume"
	"sluice/sinks"
)

// localState is what this process does with a shard. It is changed by localShard.to alone.
type localState uint8

const (
	absent   localState = iota // nothing: the table has another owner, or nobody has looked yet
	starting                   // it is taken, claimed, loaded and added
	running                    // the engine runs it
	giving                     // it is drained, to be given to another
	given                      // it was given to another, who has not taken it yet
)

// localStates says what may follow what.
var localStates = [...][]localState{
	absent:   {starting},
	starting: {running, absent},
	running:  {giving, absent},
	giving:   {given, absent},
	given:    {absent},
}

// localShard is a shard that this process has to do with.
type localShard struct {
	state localState
	epoch int64 // of the ownership

	target string    // of giving: an incarnation
	since  time.Time // and when that began
	given  Owner     // its owner then
	until  time.Time // then it is taken back
}

func (l *localShard) to(s localState) {
	for _, next := range localStates[l.state] {
		if next == s {
			l.state = s
			return
		}
	}
	panic(fmt.Sprintf("fleet: from %d to %d", l.state, s)) // by this package
}

// result is what became of work beside the loop.
type result struct {
	begun []begun
	gave  *gave
}

// begun is what became of starting a shard.
type begun struct {
	ownedShard
	taken bool  // it was given to this member, and it has taken it
	above int64 // the sink knows this epoch: a higher one is needed
	err   error // it does not run
}

// gave is what became of a handover.
type gave struct {
	ownedShard
	to  Owner // nobody: it was not given
	err error
}

// restAfter is for how long a member gives nothing to balance the fleet after a handover has failed: its sink is
// slower than its events, and each attempt costs it what it has read.
const restAfter = time.Minute

// maxBegun is how many shards are started together.
const maxBegun = 256

// settle makes of the shards that are to be looked at what the table says.
func (i *incarnation) settle() {
	i.f.mu.Lock()
	dropped := i.f.dropped
	i.f.dropped = nil
	i.f.mu.Unlock()
	for _, d := range dropped {
		switch l := i.local[d.id]; {
		case l == nil || l.epoch != d.epoch:
		case l.state == starting: // it has been added, and is dropped already
			i.f.mu.Lock()
			i.f.dropped = append(i.f.dropped, d)
			i.f.mu.Unlock()
		case l.state == running:
			l.to(absent) // it may be that nobody else has it: then it is started again
			i.engine.Depose(d.id)
			if i.row(d.id).Owner == (Owner{i.name, d.epoch}) { // so the table is wrong
				i.table.Revision = 0
				i.later = append(i.later, d.id)
				delete(i.local, d.id)
			} else {
				i.fresh = append(i.fresh, d.id)
			}
		}
	}
	for id, l := range i.local {
		if l.state == given {
			i.fresh = append(i.fresh, id)
		}
	}
	var begin []Shard
	var again []Want // what the sink still has of them from before must not pass for theirs
	for _, id := range i.fresh {
		row := i.row(id)
		l := i.local[id]
		if l == nil {
			l = new(localShard)
		}
		switch l.state {
		case running, giving:
			if row.Owner != (Owner{i.name, l.epoch}) {
				i.engine.Depose(id) // a handover that drains it ends by that
				if l.state == running {
					l.to(absent)
				}
			} else if row.Giver != "" {
				i.takeAgain(row)
			}
		case given:
			i.taken(id, l, row)
			row = i.row(id)
		}
		if l.state == absent && row.Owner.Incarnation == i.name && (row.Giver == "" || i.state() == Up) {
			if ran := i.ran[id]; ran >= row.Owner.Epoch { // above: the table has forgotten
				again = append(again, Want{id, row.Owner, ran})
			} else {
				l.to(starting)
				l.epoch = row.Owner.Epoch
				begin = append(begin, row)
			}
		}
		if i.local[id] = l; l.state == absent {
			delete(i.local, id)
		}
	}
	i.fresh = i.fresh[:0]
	for len(begin) > 0 {
		n := min(len(begin), maxBegun)
		batch := begin[:n]
		begin = begin[n:]
		i.work(func() result { return result{begun: i.begin(batch)} })
	}
	if len(again) == 0 {
		return
	}
	i.acquire(i.ctx, again)
	for _, w := range again {
		if i.row(w.Shard).Owner == w.From {
			i.later = append(i.later, w.Shard) // it did not come about
		}
	}
	i.settle()
}

// row returns a shard of the table; of one that the fleet does not have, nobody's.
func (i *incarnation) row(id int) Shard {
	if id < len(i.table.Shards) {
		return i.table.Shards[id]
	}
	return Shard{ID: id}
}

// work does something beside the loop.
func (i *incarnation) work(f func() result) {
	i.working++
	go func() { i.results <- f() }()
}

// ended takes the result of work.
func (i *incarnation) ended(r result) {
	var raise []Want
	for _, b := range r.begun {
		l := i.local[b.id]
		if l == nil || l.epoch != b.epoch { // it is a shard of another count than that which is in force by now
			if b.err == nil {
				i.engine.Depose(b.id)
			}
			continue
		}
		if b.err == nil {
			if owner := (Owner{i.name, b.epoch}); i.row(b.id).Owner == owner { // and it is taken
				i.table.set(Shard{ID: b.id, Owner: owner}, time.Now())
			}
			i.fresh = append(i.fresh, b.id)
		} else {
			i.later = append(i.later, b.id)
		}
		switch {
		case b.err == nil:
			l.to(running)
			i.ran[b.id] = b.epoch
			if b.taken {
				i.f.chronicle.counts.Taken++
			}
		case b.above > 0:
			raise = append(raise, Want{b.id, Owner{i.name, b.epoch}, b.above})
			fallthrough
		default:
			l.to(absent)
		}
	}
	if len(raise) > 0 && i.ctx.Err() == nil {
		i.acquire(i.ctx, raise)
	}
	if g := r.gave; g != nil {
		l := i.local[g.id]
		if l == nil || l.epoch != g.epoch {
			return
		}
		i.fresh = append(i.fresh, g.id)
		if g.to == (Owner{}) {
			i.f.o.Log.Warn("fleet: a shard could not be given away", "shard", g.id, "error", g.err)
			i.rest = time.Now().Add(restAfter)
			i.engine.Depose(g.id)
			l.to(absent)
			return
		}
		l.to(given)
		l.given, l.until = g.to, time.Now().Add(i.f.o.Taken)
		if i.row(g.id).Owner == (Owner{i.name, g.epoch}) { // else the table is newer: it may have been taken
			i.table.set(Shard{ID: g.id, Owner: g.to, Giver: i.name}, time.Now())
		}
	}
}

// begin starts shards of this member: they are taken, if they were given, claimed at the sink, and
// then loaded. What a former owner has written is in what is loaded; after the claim it writes nothing.
func (i *incarnation) begin(rows []Shard) []begun {
	out := make([]begun, len(rows))
	epochs := make(map[int]int64, len(rows))
	var ids []int
	fail := func(n int, err error) { out[n].err = err; delete(epochs, rows[n].ID) }
	var taking sync.WaitGroup // together: each takes as long as all
	taken := make([]error, len(rows))
	for n, row := range rows {
		out[n].ownedShard = ownedShard{row.ID, row.Owner.Epoch}
		epochs[row.ID] = row.Owner.Epoch
		if row.Giver == "" {
			continue
		}
		taking.Go(func() {
			taken[n] = i.insist("take", func(ctx context.Context) error { return i.f.o.Coordinator.Take(ctx, row.ID, row.Owner) })
		})
	}
	taking.Wait()
	for n, err := range taken {
		if err != nil {
			fail(n, err)
		}
		out[n].taken = err == nil && rows[n].Giver != ""
	}
	positions, err := i.claim(epochs)
	if claimed := (*sinks.ClaimedError)(nil); errors.As(err, &claimed) {
		for n, row := range rows {
			if above, higher := claimed.Epochs[row.ID]; higher {
				out[n].above = above
				fail(n, err)
			}
		}
	} else if err != nil {
		for n := range rows {
			fail(n, err)
		}
		return out
	}
	for _, row := range rows {
		if _, on := epochs[row.ID]; on {
			ids = append(ids, row.ID)
		}
	}
	stored := make(map[int][]byte, len(ids))
	if err := i.insist("load", func(ctx context.Context) error {
		records, err := i.f.o.Coordinator.Load(ctx, ids)
		for _, r := range records {
			stored[r.Shard] = r.Data
		}
		return err
	}); err != nil {
		for n := range rows {
			fail(n, err)
		}
		return out
	}
	for n, row := range rows {
		if out[n].err != nil {
			continue
		}
		c, err := decode(row.ID, stored[row.ID])
		if err != nil {
			i.f.o.Log.Warn("fleet: a checkpoint cannot be read: the shard identifies", "shard", row.ID, "error", err)
		}
		from := i.f.o.Session(row.ID, after(c, positions[row.ID]))
		from.Epoch = row.Owner.Epoch
		out[n].err = i.engine.Add(i.ctx, row.ID, from)
	}
	return out
}

// claim claims shards at the sink.
func (i *incarnation) claim(epochs map[int]int64) (at map[int]sinks.Position, err error) {
	if i.f.o.Sink == nil || len(epochs) == 0 {
		return nil, nil
	}
	err = i.insist("claim", func(ctx context.Context) error {
		at, err = i.f.o.Sink.Claim(ctx, epochs)
		return err
	})
	return at, err
}

// after returns a checkpoint in view of where the sink stands. A session that began after the
// checkpoint's, if that has one, has ended for us: it was never saved, or that is forgotten, and there is no
// going back to an older one.
func after(c resume.Checkpoint, p sinks.Position) resume.Checkpoint {
	switch {
	case p.Session == "":
	case p.Session == c.ID && p.Ended: // its gap is published
		c.Session = resume.Session{Began: p.Began}
	case p.Session != c.ID && p.Began > c.Began:
		gaps := resume.Session{Gaps: c.Gaps, Began: p.Began}
		if !p.Ended && c.Gaps[0].Session != p.Session && c.Gaps[1].Session != p.Session {
			gaps.AddGap(sinks.Gap{Session: p.Session, Seq: p.Seq, At: time.Now().UnixMilli(), Reason: "the session was not saved by its former owner"})
		}
		c.Session = gaps
	}
	return c
}

// give begins to hand a shard over.
func (i *incarnation) give(h Handover) {
	l := i.local[h.Shard]
	if l == nil || l.state != running {
		return
	}
	l.to(giving)
	l.target, l.since = h.To, time.Now()
	s := ownedShard{h.Shard, l.epoch}
	i.work(func() result {
		g := &gave{ownedShard: s}
		ctx, cancel := context.WithTimeout(i.ctx, i.f.o.Drain)
		_, g.err = i.engine.Remove(ctx, s.id)
		cancel()
		if g.err == nil {
			g.err = i.insist("give", func(ctx context.Context) (err error) {
				g.to, err = i.f.o.Coordinator.Give(ctx, s.id, Owner{i.name, s.epoch}, h.To)
				return err
			})
		}
		return result{gave: g}
	})
}

// taken looks at a shard that was given away.
func (i *incarnation) taken(id int, l *localShard, row Shard) {
	if row.Owner != l.given || row.Giver == "" {
		if row.Owner.Incarnation != i.name {
			i.f.chronicle.counts.Given++
		}
		l.to(absent)
		return
	}
	if time.Now().Before(l.until) {
		return
	}
	ctx, cancel := context.WithTimeout(i.ctx, callTimeout)
	defer cancel()
	owner, err := i.f.o.Coordinator.TakeBack(ctx, id, l.given, i.name)
	switch {
	case err == nil:
		i.f.o.Log.Warn("fleet: a shard is taken back: the member that it was given to has not taken it", "shard", id, "after", i.f.o.Taken)
		i.table.set(Shard{ID: id, Owner: owner}, time.Now())
		l.to(absent)
	case errors.Is(err, ErrChanged):
		l.to(absent)
	default:
		l.until = time.Now().Add(i.f.o.Beat)
	}
}

// takeAgain takes a shard that runs here, and was taken: the coordinator has forgotten that.
func (i *incarnation) takeAgain(row Shard) {
	ctx, cancel := context.WithTimeout(i.ctx, callTimeout)
	defer cancel()
	switch err := i.f.o.Coordinator.Take(ctx, row.ID, row.Owner); {
	case err == nil:
		i.table.set(Shard{ID: row.ID, Owner: row.Owner}, time.Now())
	case !errors.Is(err, ErrChanged):
		i.later = append(i.later, row.ID)
	}
}

// insist makes a call until it succeeds, or fails with an error that trying again does not mend, or
// the incarnation ends.
func (i *incarnation) insist(step string, call func(ctx context.Context) error) error {
	began := time.Now()
	for wait := i.f.o.Beat / 10; ; wait = min(2*wait, i.f.o.Beat) {
		ctx, cancel := context.WithTimeout(i.ctx, callTimeout)
		err := call(ctx)
		cancel()
		if err == nil || errors.Is(err, ErrChanged) || errors.Is(err, ErrDeposed) || errors.As(err, new(*sinks.ClaimedError)) || errors.Is(err, sinks.ErrStopped) {
			return err
		}
		if sleep(i.ctx, wait) != nil {
			return err
		}
		if time.Since(began) > quietFor {
			i.f.warn(step, err)
		}
	}
}

// quietFor is how long a step fails before that is logged: most outages are shorter, and the beats log those of the
// coordinator.
const quietFor = 5 * time.Second

// warn logs, once a minute, that shards wait for a step that fails.
func (f *Fleet) warn(step string, err error) {
	f.mu.Lock()
	now := time.Now()
	quiet := now.Sub(f.warned) < time.Minute
	if !quiet {
		f.warned = now
	}
	f.mu.Unlock()
	if !quiet {
		f.o.Log.Warn("fleet: shards do not start or move, since a step fails; trying again", "step", step, "error", err)
	}
}

// owned returns how many shards this process runs, or is about to.
func (i *incarnation) owned() int { return len(i.local) }

// dropAll drops every shard.
func (i *incarnation) dropAll() {
	for id := range i.local {
		i.engine.Depose(id)
	}
}

// sayEmpty tells Drain when there is nothing to wait for: no shard is here, or nobody is there.
func (i *incarnation) sayEmpty() {
	if i.state() != Draining {
		return
	}
	for _, m := range i.table.Members {
		if m.State == Up && m.Incarnation != i.name && len(i.local) > 0 {
			return
		}
	}
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	for _, done := range i.f.drains {
		close(done)
	}
	i.f.drains = nil
}
