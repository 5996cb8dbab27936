// This file is the loop of one incarnation, which looks at the table and acts on it.

package fleet

import (
	"context"
	"errors"
	"time"
)

// callTimeout bounds a call of the coordinator, which is made again.
const callTimeout = 2 * time.Second

// wholeEvery is after how many beats the whole table is read: a failover may have forgotten rows, and counted
// on from there.
const wholeEvery = 60

// incarnation is one membership of this process. Its fields belong to the goroutine of run; what
// works beside it (shards.go) has what it needs handed in, and hands results back in results.
type incarnation struct {
	f      *Fleet
	engine Engine
	name   string
	ctx    context.Context // of what works beside the loop

	beat     int64
	table    Table
	observer Observer
	logged   time.Time // when it was last logged that the coordinator does not answer
	cut      time.Time // since when it does not; zero: it does
	cutBy    error     // why

	deposed   map[string]bool // whom this incarnation has deposed, until a view shows it
	published time.Time       // when the last Snapshot was made
	had       int             // shards when the last beat was confirmed

	local map[int]*localShard
	ran   map[int]int64 // the epoch under which this process has run each shard last
	fresh []int         // shards of the table that are to be looked at
	later []int         // with the next beat
	hurry time.Time     // Rules.Settle is not waited for while this is when the set of members has changed last
	rest  time.Time     // until then nothing is given to balance the fleet

	switching  Attempt   // that was seen to switch
	switchedAt time.Time // since then
	reported   time.Time // when Report was called last

	results chan result // of what works beside the loop
	working int         // how much does
}

func newIncarnation(f *Fleet, e Engine) *incarnation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &incarnation{
		f: f, engine: e, name: f.incarnation, observer: Observer{Death: f.o.Death},
		local: make(map[int]*localShard), ran: make(map[int]int64), results: make(chan result),
		deposed: make(map[string]bool),
	}
}

// run works until ctx is done, with nil, or the incarnation is deposed.
func (i *incarnation) run(ctx context.Context) error {
	work, stop := context.WithCancel(ctx)
	i.ctx = work
	defer func() {
		stop()
		for ; i.working > 0; i.working-- {
			i.ended(<-i.results)
		}
	}()
	next := time.NewTicker(i.f.o.Beat)
	defer next.Stop()
	death := time.NewTimer(i.f.o.Death)
	defer death.Stop()
	beat := true
	for {
		if err := i.look(ctx, beat); err != nil {
			return err
		}
		if err := i.reshard(ctx); err != nil {
			return err
		}
		i.watch(ctx)
		if !i.held() {
			i.decide(ctx)
			i.settle()
		}
		i.sayEmpty()
		i.publish(beat)
		if at := i.observer.Next(); !at.IsZero() { // and not up to a beat later
			death.Reset(max(time.Until(at), i.f.o.Beat/10))
		}
		select {
		case <-next.C:
			beat = true
		case <-death.C:
			beat = false
		case <-i.f.wake:
			beat = false
		case r := <-i.results:
			i.working--
			i.ended(r)
			beat = false
		case <-ctx.Done():
			return nil
		}
		i.collect()
	}
}

// collect takes what else has ended: one look is enough for all of it.
func (i *incarnation) collect() {
	for {
		select {
		case r := <-i.results:
			i.working--
			i.ended(r)
		default:
			return
		}
	}
}

// look reads what has changed of the table, and beats if it is time to. Only ErrDeposed is returned:
// without the coordinator a member goes on with what it has.
func (i *incarnation) look(ctx context.Context, beat bool) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var v View
	var err error
	since, sent := i.table.Revision, time.Now()
	if beat && i.beat%wholeEvery == 0 {
		since = 0
	}
	if beat {
		i.fresh, i.later = append(i.fresh, i.later...), i.later[:0]
		i.beat++
		v, err = i.f.o.Coordinator.Beat(call, i.f.member(i.state(), i.beat), since)
	} else {
		v, err = i.f.o.Coordinator.Look(call, since)
	}
	if err == nil && v.Revision < since { // it has forgotten something, and may have forgotten anything
		since = 0
		v, err = i.f.o.Coordinator.Look(call, since)
	}
	now := time.Now()
	switch {
	case errors.Is(err, ErrDeposed):
		return err
	case err != nil:
		i.unreached(ctx, now, err)
		return nil
	case !i.cut.IsZero():
		if !i.logged.IsZero() {
			i.f.o.Log.Info("fleet: the coordinator answers again", "after", now.Sub(i.cut).Round(time.Millisecond))
		}
		i.cut, i.cutBy, i.logged = time.Time{}, nil, time.Time{}
		i.switching = Attempt{} // nobody could switch meanwhile
	}
	i.f.runs.see(i.name, v.Shards, since == 0) // before it is trusted again
	i.f.mu.Lock()
	i.f.time, i.f.read = v.Now, now
	i.f.gone.update(v.Members, now)
	i.f.mu.Unlock()
	if beat {
		i.had = i.owned()
		i.f.mu.Lock()
		still := i.f.pulse.Confirm(sent, now, v.Now)
		i.f.mu.Unlock()
		if still > 0 {
			i.f.o.Log.Warn("fleet: this machine was suspended, as its clock says", "for", still.Round(time.Millisecond))
		}
	}
	i.bury(v)
	i.table.Update(v, since, now)
	for _, s := range v.Shards {
		i.fresh = append(i.fresh, s.ID)
	}
	if since == 0 {
		for id := range i.local {
			i.fresh = append(i.fresh, id)
		}
	}
	return nil
}

// unreached logs that the coordinator does not answer, once it matters and then each minute.
func (i *incarnation) unreached(ctx context.Context, now time.Time, err error) {
	if i.cut.IsZero() {
		i.cut = now
	}
	i.cutBy = err
	if ctx.Err() != nil || now.Sub(i.cut) < i.f.o.Beat || now.Sub(i.logged) < time.Minute {
		return
	}
	i.logged = now
	i.f.o.Log.Warn("fleet: the coordinator does not answer: shards that are connected go on, none connects again or moves", "error", err, "since", i.cut.Format(time.RFC3339))
}

// state is what this member says of itself.
func (i *incarnation) state() State {
	if i.f.Draining() {
		return Draining
	}
	return Up
}

// watch deposes who is dead.
func (i *incarnation) watch(ctx context.Context) {
	t := &i.table
	if !i.cut.IsZero() || t.Now.IsZero() {
		return
	}
	for _, d := range i.observer.Observe(i.name, t.Members, t.Shards, t.Coordinator, t.Now) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := i.f.o.Coordinator.Depose(call, d.Incarnation, d.Beat)
		cancel()
		if err == nil {
			i.deposed[d.Incarnation] = true
			i.f.o.Log.Warn("fleet: a member is dead", "member", t.name(d.Incarnation), "incarnation", d.Incarnation, "without_a_beat_for", i.f.o.Death)
			i.f.stir()
		}
	}
	t.Silent = i.observer.Silent(t.Now)
}

// decide acquires shards, and begins to give some away.
func (i *incarnation) decide(ctx context.Context) {
	t := &i.table
	if !i.cut.IsZero() || t.Now.IsZero() {
		return
	}
	t.Begun = t.Begun[:0]
	for id, l := range i.local {
		if l.state == giving {
			t.Begun = append(t.Begun, Handover{id, l.target})
		}
	}
	rules := i.f.o.Rules
	if i.f.balance.CompareAndSwap(true, false) {
		i.hurry, t.Balancing, i.rest = t.Changed, true, time.Time{}
	}
	if i.hurry.Equal(t.Changed) {
		rules.Settle = 1
	}
	d := Decide(i.name, *t, rules)
	t.Balancing = d.Balancing
	i.acquire(ctx, d.Acquire)
	rests := i.state() == Up && time.Now().Before(i.rest)
	if !rests && (i.f.o.Delivers == nil || i.f.o.Delivers()) {
		for _, h := range d.Give {
			i.give(h)
		}
	}
}

// acquire acquires shards, and looks at them.
func (i *incarnation) acquire(ctx context.Context, want []Want) {
	if len(want) == 0 || i.state() != Up {
		return
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := i.f.o.Coordinator.Acquire(call, i.name, want)
	if err != nil {
		i.f.o.Log.Debug("fleet: shards are not acquired", "error", err)
		return
	}
	from := make(map[int]string, len(want))
	for _, w := range want {
		from[w.Shard] = w.From.Incarnation
	}
	for _, s := range rows { // nobody else changes them, but by deposing this incarnation
		i.table.set(s, time.Now())
		i.fresh = append(i.fresh, s.ID)
		if of := from[s.ID]; of != "" && of != i.name {
			i.f.chronicle.counts.Takeovers++
		}
	}
}
