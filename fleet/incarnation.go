// This file is the loop of one incarnation, which looks at the table and acts on it.

package fleet

import (
	"context"
	"errors"
	"slices"
	"time"
)

// callTimeout bounds a call of the coordinator, which is made again.
const callTimeout = 2 * time.Second

// incarnation is one membership of this process. Its fields belong to the goroutine of run; what
// works beside it (shards.go) has what it needs handed in, and hands results back in results.
type incarnation struct {
	f      *Fleet
	engine Engine
	name   string
	ctx    context.Context // of what works beside the loop

	beat     int64
	table    Table
	observer *Observer
	changed  time.Time // when the set of live members last changed
	live     []string  // that set
	buried   map[string]time.Time

	local   map[int]*localShard
	fresh   []int       // shards of the table that are to be looked at
	results chan result // of what works beside the loop
	working int         // how much does
}

func newIncarnation(f *Fleet, e Engine) *incarnation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &incarnation{
		f: f, engine: e, name: f.incarnation, observer: NewObserver(f.o.Death), buried: make(map[string]time.Time),
		local: make(map[int]*localShard), results: make(chan result),
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
	beat := true
	for {
		if err := i.look(ctx, beat); err != nil {
			return err
		}
		i.decide(ctx)
		i.settle()
		i.sayEmpty()
		select {
		case <-next.C:
			beat = true
		case <-i.f.wake:
			beat = false
		case r := <-i.results:
			i.working--
			i.ended(r)
			beat = false
		case <-ctx.Done():
			return nil
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
	sent := time.Now()
	if beat {
		i.beat++
		v, err = i.f.o.Coordinator.Beat(call, i.f.member(i.state(), i.beat), i.table.Revision)
	} else {
		v, err = i.f.o.Coordinator.Look(call, i.table.Revision)
	}
	if errors.Is(err, ErrDeposed) {
		return err
	}
	if err != nil {
		return nil
	}
	if beat {
		i.f.clock.confirmed(sent)
	}
	i.merge(v)
	return nil
}

// state is what this member says of itself.
func (i *incarnation) state() State {
	select {
	case <-i.f.draining:
		return Draining
	default:
		return Up
	}
}

// merge takes what has changed into the table.
func (i *incarnation) merge(v View) {
	now := time.Now()
	if v.Revision < i.table.Revision { // it has forgotten some of it: all may be different
		i.table.Shards = nil
		for id := range i.local {
			i.fresh = append(i.fresh, id)
		}
	}
	i.table.merge(v)
	for _, s := range v.Shards {
		i.fresh = append(i.fresh, s.ID)
	}
	var live []string
	for _, m := range v.Members {
		if m.State == Up {
			live = append(live, m.Incarnation)
		} else if m.State == Deposed && i.buried[m.Incarnation].IsZero() {
			i.buried[m.Incarnation] = now
		}
	}
	if !slices.Equal(live, i.live) {
		i.live, i.changed = live, now
	}
}

// decide deposes who is dead, acquires shards, and begins to give some away.
func (i *incarnation) decide(ctx context.Context) {
	now := time.Now()
	for _, m := range i.observer.Dead(i.table, i.name, now) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := i.f.o.Coordinator.Depose(call, m.Incarnation, m.Beat)
		cancel()
		if err == nil {
			i.f.o.Log.Warn("fleet: a member is dead", "member", m.Name, "incarnation", m.Incarnation, "without_a_beat", i.f.o.Death)
			i.look(ctx, false)
		}
	}
	d := Decide(i.name, i.table, i.f.o.Rules, now.Sub(i.changed), i.buried, now)
	i.acquire(ctx, d.Acquire)
	for _, h := range d.Give {
		i.give(h)
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
	for _, s := range rows {
		i.table.set(s)
		i.fresh = append(i.fresh, s.ID)
	}
}
