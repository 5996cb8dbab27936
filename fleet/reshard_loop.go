// This file is what the loop does about a Reshard: its steps at the coordinator, and this process's part.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/internal/failpoint"
	"sluice/sinks"
)

const (
	// maxFailures is how many attempts at the switch may be aborted.
	maxFailures = 6
	// pauseSwitch lies between the first two attempts, and twice that between the next: no events go out while one fails.
	pauseSwitch = 5 * time.Second
)

// held reports whether the shards stay as they are: they are at the switch, or the engine does not have the table's count.
func (i *incarnation) held() bool {
	if i.table.Now.IsZero() || i.table.Plan.Shards == 0 { // 0: the plan is forgotten
		return false
	}
	if i.table.Plan.Generation != i.f.count.Generation {
		return true
	}
	p := i.f.part
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == partSwitches || p.state == partCommits || p.state == partCommitted
}

// reshard looks at what the table says of a Reshard, and acts on it. An error is final.
func (i *incarnation) reshard(ctx context.Context) error {
	t := &i.table
	if t.Now.IsZero() || t.Plan.Shards == 0 {
		return nil
	}
	if p := i.f.part; p != nil {
		select {
		case <-p.ended:
			i.partEnds(ctx, p)
		default:
		}
	}
	if !i.cut.IsZero() {
		return nil // it is not known what is
	}
	if i.f.part == nil {
		if err := i.begins(ctx); err != nil {
			return err
		}
	}
	if p := i.f.part; p != nil {
		i.drive(ctx, p)
	}
	return nil
}

// begins begins this process's part of what is pending, or of what was committed without it.
func (i *incarnation) begins(ctx context.Context) error {
	t, f := &i.table, i.f
	e, can := f.engine.(Resharder)
	switch generation, shards := t.Reshard.Generation, t.Reshard.Shards; {
	case time.Now().Before(f.again):
	case t.Plan.Generation == f.count.Generation:
		if t.Reshard.Stage == ReshardNone || generation != t.Plan.Generation+1 {
			return nil
		}
		if can {
			f.start(e, generation, f.count.Shards, shards)
			return nil
		}
		i.step(ctx, "call off", func(ctx context.Context) error {
			return f.o.Coordinator.CallOff(ctx, t.Reshard.At(), i.says("it cannot be resharded"))
		})
	case t.Plan.Shards == f.count.Shards:
		f.count = t.Plan
	case !can:
		return fmt.Errorf("fleet: the bot has %d shards by now, and this process was started for %d", t.Plan.Shards, f.count.Shards)
	default: // what is run is nobody's any more
		i.dropAll()
		clear(i.local)
		f.start(e, t.Plan.Generation, f.count.Shards, t.Plan.Shards)
	}
	return nil
}

// partEnds looks at what has become of the engine's part.
func (i *incarnation) partEnds(ctx context.Context, p *part) {
	f := i.f
	f.mu.Lock()
	f.part = nil
	f.mu.Unlock()
	f.past = p.past
	if p.err == nil || p.forced {
		i.opened(p)
		return
	}
	f.again = time.Now().Add(f.o.Beat)
	committed := i.table.Plan.Generation >= p.generation
	if ctx.Err() != nil || errors.Is(p.err, errCalledOff) || errors.Is(p.err, sinks.ErrStopped) { // or this process ends
		return
	}
	f.o.Log.Warn("fleet: this member's shards are not resharded", "error", p.err)
	if a := i.table.Reshard.At(); !committed && a.Generation == p.generation {
		i.step(ctx, "call off", func(ctx context.Context) error {
			return f.o.Coordinator.CallOff(ctx, a, i.says(p.err.Error()))
		})
	}
}

// says is a reason of this member.
func (i *incarnation) says(why string) string {
	return fmt.Sprintf("member %s: %s", i.f.o.Member.Name, why)
}

// step makes one call. What fails is tried again with a later look.
func (i *incarnation) step(ctx context.Context, what string, call func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := call(ctx)
	if err != nil && !errors.Is(err, ErrChanged) {
		i.f.o.Log.Debug("fleet: a step of a reshard has failed", "step", what, "error", err)
	}
	return err == nil
}

// errCalledOff is why a part is stopped.
var errCalledOff = errors.New("fleet: the resharding was called off")

// drive acts on a part.
func (i *incarnation) drive(ctx context.Context, p *part) {
	t := &i.table
	r := &t.Reshard
	now := p.now()
	if now.state == partEnded {
		return // the next look
	}
	if t.Plan.Generation >= p.generation {
		i.committed(p, now.state)
		return
	}
	if r.Stage == ReshardNone || r.Generation != p.generation || r.Shards != p.shards {
		why := errCalledOff
		if r.Failure != "" {
			why = fmt.Errorf("%w: %s", errCalledOff, r.Failure)
		}
		p.goBack(why)
		p.stop(why)
		return
	}
	if now.attempt != r.At() {
		p.goBack(fmt.Errorf("%w: %s", errAborted, r.Failure))
		now = p.now()
	}
	if now.abort != "" {
		if now.attempt == r.At() && !i.abort(ctx, now.abort) {
			i.hasten()
			return
		}
		p.aborted()
		return
	}
	switch r.Stage {
	case ReshardPending:
		switch now.state {
		case partCompares, partAsks:
			i.beginClasses(p)
		default:
			if now.attempt == r.At() { // or the engine goes back
				i.abort(ctx, "a failover has forgotten the switch")
				return
			}
		}
		if !i.starves(ctx, p) {
			i.agree(ctx, p)
		}
	case ReshardSwitching:
		i.switches(ctx, p)
	}
}

// abort aborts the present attempt.
func (i *incarnation) abort(ctx context.Context, why string) bool {
	a, n := i.table.Reshard.At(), i.table.Reshard.Failures+1
	done := i.step(ctx, "abort", func(ctx context.Context) error {
		return i.f.o.Coordinator.Abort(ctx, a, i.says(why), maxFailures)
	})
	if done {
		i.f.o.Log.Warn("fleet: the switch to another shard count is taken back", "attempt", n, "error", why)
		i.f.stir()
	}
	return done
}

// beginClasses begins the new shards of the classes that are whole here, and ends those of others.
func (i *incarnation) beginClasses(p *part) {
	n := classes(p.from, p.shards)
	whole := make(map[int]map[int]int64)
	for id, l := range i.local {
		if row := i.row(id); l.state == running && row.Owner == (Owner{i.name, l.epoch}) && row.Giver == "" {
			if whole[id%n] == nil {
				whole[id%n] = make(map[int]int64, p.from/n)
			}
			whole[id%n][id] = l.epoch
		}
	}
	changed := false
	for c, b := range p.begun.list() {
		if old := whole[c]; len(old) != p.from/n || !sameEpochs(old, b.old) {
			i.abandon(p, c, n, p.shards)
			p.begun.remove(c)
			changed = true
		}
	}
	for c, old := range whole {
		if _, begun := p.begun.get(c); begun || len(old) != p.from/n {
			continue
		}
		epoch := max(i.f.Time().UnixMilli(), p.last+1)
		for _, e := range old {
			epoch = max(epoch, e+1)
		}
		p.last = max(p.last, epoch)
		p.begun.set(c, begunClass{epoch, old}) // before it is confirmed
		changed = true
		for shard := c; shard < p.shards; shard += n {
			ctx, cancel := context.WithTimeout(i.ctx, i.f.o.Beat/10) // the beats do not wait for it
			err := p.engine.Begin(ctx, shard, epoch)
			cancel()
			if err != nil {
				i.f.o.Log.Debug("fleet: a new shard cannot be begun yet", "shard", shard, "error", err)
				i.abandon(p, c, n, shard)
				p.begun.remove(c)
				i.hasten()
				p.compareAgain()
				return
			}
		}
	}
	if changed {
		p.compareAgain()
	}
}

// abandon ends the new shards of a class that are below an id.
func (i *incarnation) abandon(p *part, c, n, below int) {
	for shard := c; shard < below; shard += n {
		p.engine.Abandon(shard)
	}
}

func sameEpochs(a, b map[int]int64) bool {
	for shard, e := range a {
		if b[shard] != e {
			return false
		}
	}
	return len(a) == len(b)
}

// mine returns the shards of this member by the table, and whether all of them run, and their new ones are begun.
func (i *incarnation) mine(p *part) (epochs map[int]int64, all bool) {
	n := classes(p.from, p.shards)
	epochs, all = make(map[int]int64), true
	for id := range i.table.Shards {
		row := &i.table.Shards[id]
		if row.Owner.Incarnation != i.name {
			continue
		}
		epochs[id] = row.Owner.Epoch
		if l := i.local[id]; l == nil || l.state != running || l.epoch != row.Owner.Epoch || row.Giver != "" {
			all = false
		} else if class, _ := p.begun.get(id % n); class.old[id] != l.epoch {
			all = false
		}
	}
	return epochs, all && len(epochs) == len(i.local)
}

// voice returns what this member has said, if it has said anything.
func (i *incarnation) voice() (v Voice, said bool) {
	for _, v := range i.table.Reshard.Voices {
		if v.Incarnation == i.name {
			return v, true
		}
	}
	return v, false
}

// agree says that this member agrees, or does not, and has the switch begin when all have.
func (i *incarnation) agree(ctx context.Context, p *part) {
	t := &i.table
	r := &t.Reshard
	voice, said := i.voice()
	epochs, all := i.mine(p)
	state := p.now().state
	pause := time.Duration(0)
	if r.Failures > 0 {
		pause = pauseSwitch << (r.Failures - 1)
	}
	agrees := all && len(epochs) > 0 && state == partAsks && i.state() == Up && t.Revision > 0 && !i.f.Time().Before(r.Since.Add(pause))
	ready := p.engine.Ready()
	switch {
	case agrees && voice.Revision != t.Revision:
		if !i.step(ctx, "agree", func(ctx context.Context) error {
			return i.f.o.Coordinator.Agree(ctx, i.name, r.At(), t.Revision, ready, epochs)
		}) {
			return
		}
		i.said(Voice{Incarnation: i.name, Revision: t.Revision, Ready: ready})
	case !agrees && (!said || voice.Revision != 0 || voice.Ready != ready && t.Now.Sub(i.reported) >= i.f.o.Beat):
		i.reported = t.Now
		i.report(ctx, ready)
		return
	}
	n := 0
	for _, v := range r.Voices {
		if v.Revision == t.Revision {
			n += t.owned[v.Incarnation]
		}
	}
	// Another may have agreed since the last look, and this be the last: then it is at once.
	if n == len(t.Shards) || agrees && voice.Revision != t.Revision {
		if i.step(ctx, "switch", func(ctx context.Context) error { return i.f.o.Coordinator.Switch(ctx, r.At()) }) {
			i.f.stir()
		}
	}
}

// report says how many new shards are ready.
func (i *incarnation) report(ctx context.Context, ready int) {
	a := i.table.Reshard.At()
	i.step(ctx, "report", func(ctx context.Context) error { return i.f.o.Coordinator.Report(ctx, i.name, a, ready) })
}

// said notes what this member has said, before the next look.
func (i *incarnation) said(v Voice) {
	r := &i.table.Reshard
	voices := []Voice{v}
	for _, other := range r.Voices {
		if other.Incarnation != v.Incarnation {
			voices = append(voices, other)
		}
	}
	r.Voices = voices
}

// switches does what there is to do at the switch.
func (i *incarnation) switches(ctx context.Context, p *part) {
	t := &i.table
	a := t.Reshard.At()
	if i.switching != a {
		i.switching, i.switchedAt = a, t.Now
	}
	deposed := make(map[string]string)
	for _, m := range t.Members {
		if m.State == Deposed {
			deposed[m.Incarnation] = m.Name
		}
	}
	for n := range t.Shards {
		if name, is := deposed[t.Shards[n].Owner.Incarnation]; is {
			i.abort(ctx, fmt.Sprintf("member %s is dead", name))
			return
		}
	}
	now := p.now()
	if now.state == partCommits && i.commits(ctx, p, now) { // first: all may have prepared before they were cut off
		return
	}
	if t.Now.Sub(i.switchedAt) >= i.f.o.Switch {
		i.abort(ctx, fmt.Sprintf("it has not come about within %v", i.f.o.Switch))
		return
	}
	epochs, all := i.mine(p)
	if len(epochs) == 0 { // Switch waits until it is committed
		if _, said := i.voice(); !said { // it has joined since
			i.report(ctx, 0)
		}
		return
	}
	if (now.state == partCompares || now.state == partAsks) && (!all || !p.begin(a)) {
		i.abort(ctx, "its old and new shards do not agree any more")
	}
}

// commits prepares and commits. It returns false if the attempt may have to be aborted for the time that it takes.
func (i *incarnation) commits(ctx context.Context, p *part, now partNow) bool {
	if now.next != nil {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := i.f.o.Coordinator.Prepare(call, i.name, now.attempt, now.next, true)
		cancel()
		if errors.Is(err, ErrChanged) {
			i.abort(ctx, "the table has changed meanwhile")
			return true
		}
		if err != nil {
			i.f.o.Log.Debug("fleet: a step of a reshard has failed", "step", "prepare", "error", err)
			i.hasten()
			return false
		}
		failpoint.Hit("reshard.prepared")
		p.prepared()
	}
	failpoint.Hit("reshard.commit")
	done := i.step(ctx, "commit", func(ctx context.Context) error { return i.f.o.Coordinator.Commit(ctx, now.attempt) })
	if done {
		failpoint.Hit("reshard.committed")
		i.f.stir()
	}
	return done
}

// hasten has the loop look again before the next beat.
func (i *incarnation) hasten() { time.AfterFunc(i.f.o.Beat/10, i.f.stir) }

// committed has this process run what was committed.
func (i *incarnation) committed(p *part, state partState) {
	switch state {
	case partCompares, partAsks: // without it: what is run is nobody's any more, and sessions that are committed go on
		i.dropAll()
		clear(i.local)
		for c := range p.begun.list() {
			i.abandon(p, c, classes(p.from, p.shards), p.shards)
			p.begun.remove(c)
		}
		p.follow()
	case partCommits:
		i.inForce(p)
		p.force()
	case partOpened:
		i.opened(p)
	}
}

// opened has the loop drive the new shards.
func (i *incarnation) opened(p *part) {
	if p.settled {
		return
	}
	p.settled = true
	for c := range p.begun.list() { // this incarnation is another, if it has not what was begun
		for shard := c; shard < p.shards; shard += classes(p.from, p.shards) {
			if i.local[shard] == nil {
				i.engine.Depose(shard)
			}
		}
	}
	i.f.count = Plan{Generation: p.generation, Shards: p.shards}
	for id := range i.table.Shards {
		i.fresh = append(i.fresh, id)
	}
	i.f.o.Log.Info("fleet: this member runs the new shard count", "shards", p.shards, "was", p.from, "generation", p.generation)
}

// inForce notes the new shards as those that run here. What others have taken over by now is ended when the engine is
// through.
func (i *incarnation) inForce(p *part) {
	for id := range i.local {
		i.f.runs.remove(id)
	}
	clear(i.local)
	n := classes(p.from, p.shards)
	for c, b := range p.begun.list() {
		for shard := c; shard < p.shards; shard += n {
			i.local[shard] = &localShard{state: running, epoch: b.epoch}
			i.ran[shard] = b.epoch
			if i.row(shard).Owner == (Owner{i.name, b.epoch}) {
				i.f.runs.set(shard, b.epoch)
			}
		}
	}
}
