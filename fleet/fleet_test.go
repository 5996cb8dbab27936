// This file tests members at work, in fake time, with engines that only note what they are asked.

package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/memory"
	"sluice/resume"
	"sluice/sinks"
)

// engine notes the epochs under which its shards run.
type engine struct {
	mu      sync.Mutex
	runs    map[int]int64
	removed int // by Remove
	dropped int // by Depose

	stuck  bool // what it runs cannot be drained
	failed int  // Removes that failed for it
}

func (e *engine) Add(_ context.Context, shard int, from resume.Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, twice := e.runs[shard]; twice {
		return fmt.Errorf("shard %d runs", shard)
	}
	e.runs[shard] = from.Epoch
	return nil
}

func (e *engine) Remove(ctx context.Context, shard int) (resume.Session, error) {
	e.mu.Lock()
	stuck := e.stuck
	e.mu.Unlock()
	if stuck {
		<-ctx.Done()
		e.mu.Lock()
		e.failed++
		e.mu.Unlock()
		return resume.Session{}, ctx.Err()
	}
	time.Sleep(20 * time.Millisecond) // to drain it
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, runs := e.runs[shard]; !runs {
		return resume.Session{}, &sinks.NotLocalError{Shard: shard}
	}
	delete(e.runs, shard)
	e.removed++
	return resume.Session{}, nil
}

func (e *engine) Depose(shard int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, runs := e.runs[shard]; runs {
		delete(e.runs, shard)
		e.dropped++
	}
}

func (e *engine) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.runs)
}

// member is a process of the fleet under test.
type member struct {
	*fleet.Fleet
	engine *engine
	way    *way
	stop   context.CancelFunc
	ended  chan error
}

// way is the way of one member to the coordinator, which may be cut.
type way struct {
	fleet.Coordinator
	mu  sync.Mutex
	cut bool
}

var errCut = errors.New("the way is cut")

func (w *way) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *way) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return errCut
	}
	return nil
}

func (w *way) Beat(ctx context.Context, m fleet.Member, since int64) (fleet.View, error) {
	if err := w.err(); err != nil {
		return fleet.View{}, err
	}
	return w.Coordinator.Beat(ctx, m, since)
}

func (w *way) Look(ctx context.Context, since int64) (fleet.View, error) {
	if err := w.err(); err != nil {
		return fleet.View{}, err
	}
	return w.Coordinator.Look(ctx, since)
}

func (w *way) Depose(ctx context.Context, incarnation string, beat int64) error {
	if err := w.err(); err != nil {
		return err
	}
	return w.Coordinator.Depose(ctx, incarnation, beat)
}

func (w *way) Leave(ctx context.Context, incarnation string) error {
	if err := w.err(); err != nil {
		return err
	}
	return w.Coordinator.Leave(ctx, incarnation)
}

// party is a fleet.
type party struct {
	t       *testing.T
	c       *memory.Coordinator
	rules   fleet.Rules
	members []*member
}

const shards = 64

func (p *party) options(name string, c fleet.Coordinator) fleet.Options {
	return fleet.Options{
		Coordinator: c, Member: fleet.Member{Name: name}, Plan: fleet.Plan{Shards: shards, Intents: 1, Format: "redis"},
		Session: func(_ int, c resume.Checkpoint) resume.Session { return c.Session },
		Rules:   p.rules, Log: slog.New(slog.NewTextHandler(p.t.Output(), nil)).With("member", name),
	}
}

// add starts a member, whose way is as each of through makes it.
func (p *party) add(name string, through ...func(*way) fleet.Coordinator) *member {
	p.t.Helper()
	m := &member{engine: &engine{runs: make(map[int]int64)}, way: &way{Coordinator: p.c}, ended: make(chan error, 1)}
	c := fleet.Coordinator(m.way)
	for _, f := range through {
		c = f(m.way)
	}
	m.Fleet = fleet.New(p.options(name, c))
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	if _, err := m.Join(ctx); err != nil {
		p.t.Fatal(err)
	}
	go func() { m.ended <- m.Run(ctx, m.engine) }()
	p.members = append(p.members, m)
	return m
}

// owners returns how many members run each shard, and fails if it is not one each.
func (p *party) check(when string, among ...*member) {
	p.t.Helper()
	time.Sleep(time.Nanosecond)
	synctest.Wait()
	v, err := p.c.Look(context.Background(), 0)
	if err != nil {
		p.t.Fatal(err)
	}
	by := make([]int, shards)
	rows := make(map[int]fleet.Shard)
	for _, s := range v.Shards {
		rows[s.ID] = s
	}
	for _, m := range among {
		m.engine.mu.Lock()
		for s, epoch := range m.engine.runs {
			by[s]++
			if rows[s].Owner.Epoch != epoch {
				p.t.Errorf("%s: shard %d runs under epoch %d, and the table has %+v", when, s, epoch, rows[s])
			}
		}
		m.engine.mu.Unlock()
	}
	for s, n := range by {
		if n != 1 {
			p.t.Errorf("%s: %d members run shard %d: %+v", when, n, s, rows[s])
		}
	}
}

func (p *party) counts(among ...*member) (n []int) {
	for _, m := range among {
		n = append(n, m.engine.count())
	}
	slices.Sort(n)
	return n
}

func (p *party) stop() {
	for _, m := range p.members {
		m.stop()
		m.way.set(false)
	}
	synctest.Wait()
	for _, m := range p.members {
		if err := <-m.ended; err != nil {
			p.t.Error(err)
		}
	}
}

func run(t *testing.T, f func(p *party)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // epochs follow the time
		p := &party{t: t, c: memory.New(nil)}
		f(p)
		p.stop()
	})
}

// One process runs everything, a second one takes half, a third one a third.
func TestGrows(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		time.Sleep(5 * time.Second)
		p.check("alone", a)
		b := p.add("b")
		time.Sleep(20 * time.Second)
		p.check("two", a, b)
		if got := p.counts(a, b); !slices.Equal(got, []int{32, 32}) {
			t.Errorf("two have %v", got)
		}
		c := p.add("c")
		time.Sleep(20 * time.Second)
		p.check("three", a, b, c)
		if got := p.counts(a, b, c); got[0] < 21 || got[2] > 22 {
			t.Errorf("three have %v", got)
		}
		if n := a.engine.dropped + b.engine.dropped + c.engine.dropped; n > 0 {
			t.Errorf("%d shards were dropped, and none was to", n)
		}
	})
}

// The shards of a member that dies are run again 7 s later.
func TestTakesOver(t *testing.T) {
	run(t, func(p *party) {
		a, b, c := p.add("a"), p.add("b"), p.add("c")
		time.Sleep(20 * time.Second)
		p.check("three", a, b, c)
		b.way.set(true) // and nobody hears of it again
		b.stop()
		time.Sleep(7500 * time.Millisecond)
		p.check("taken over", a, c)
		if got := p.counts(a, c); !slices.Equal(got, []int{32, 32}) {
			t.Errorf("two have %v", got)
		}
	})
}

// A member that was cut off is deposed. It drops its shards when it is back, and joins again.
func TestDeposed(t *testing.T) {
	run(t, func(p *party) {
		a, b := p.add("a"), p.add("b")
		time.Sleep(19500 * time.Millisecond)
		b.way.set(true)
		time.Sleep(3400 * time.Millisecond)
		if !b.Trusted() {
			t.Error("3.5 s after the last beat it is suspect")
		}
		time.Sleep(time.Second)
		if b.Trusted() {
			t.Error("4.5 s after the last beat it is not suspect")
		}
		time.Sleep(4 * time.Second)
		p.check("without b", a)
		if b.engine.count() != 32 {
			t.Errorf("it has dropped shards, and nobody has told it to: %d left", b.engine.count())
		}
		b.way.set(false)
		time.Sleep(1100 * time.Millisecond)
		p.check("b is back", a, b)
		if b.engine.dropped != 32 {
			t.Errorf("%d shards were dropped, want 32", b.engine.dropped)
		}
		time.Sleep(20 * time.Second)
		p.check("balanced again", a, b)
		if got := p.counts(a, b); !slices.Equal(got, []int{32, 32}) {
			t.Errorf("they have %v", got)
		}
	})
}

// A member that drains hands everything over.
func TestDrains(t *testing.T) {
	run(t, func(p *party) {
		a, b, c := p.add("a"), p.add("b"), p.add("c")
		time.Sleep(20 * time.Second)
		began := time.Now()
		b.Drain(context.Background())
		p.check("drained", a, c)
		if n := b.engine.count(); n > 0 || b.engine.removed != 21 && b.engine.removed != 22 || b.engine.dropped > 0 {
			t.Errorf("%d left, %d removed, %d dropped", n, b.engine.removed, b.engine.dropped)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
		a.Drain(context.Background())
		c.Drain(context.Background()) // there is nobody
		p.check("the last", c)
	})
}

// One with other settings does not join, while somebody lives who has those of the fleet.
func TestMisfits(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		o := p.options("x", p.c)
		o.Plan.Intents = 3
		x := fleet.New(o)
		var misfit *fleet.MisfitError
		if _, err := x.Join(context.Background()); !errors.As(err, &misfit) || misfit.Setting != "intents" || misfit.Member != "a" {
			t.Errorf("joined: %v", err)
		}
		time.Sleep(time.Millisecond) // between two beats
		a.way.set(true)
		a.stop()
		if _, err := x.Join(context.Background()); err != nil {
			t.Errorf("after the death of the other: %v", err)
		}
	})
}

// With Rules.Return a member's shards wait for the next process of its name, and then for nobody.
func TestReturns(t *testing.T) {
	run(t, func(p *party) {
		p.rules.Return = 10 * time.Second
		a, b := p.add("a"), p.add("b")
		time.Sleep(20 * time.Second)
		b.stop()
		if err := <-b.ended; err != nil {
			t.Error(err)
		}
		had := b.engine.runs
		time.Sleep(5 * time.Second)
		if n := a.engine.count(); n != 32 {
			t.Errorf("the other has %d shards while they wait", n)
		}
		p.members = []*member{a}
		back := p.add("b")
		time.Sleep(2 * time.Second)
		p.check("back", a, back)
		for s := range had {
			if back.engine.runs[s] == 0 {
				t.Errorf("shard %d did not wait", s)
			}
		}
		back.stop()
		<-back.ended
		p.members = []*member{a}
		time.Sleep(12 * time.Second)
		p.check("gone for good", a)
	})
}

// A member that cannot drain its shards does not try so all the time.
func TestRests(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		a.engine.stuck = true
		time.Sleep(10 * time.Second)
		b := p.add("b")
		time.Sleep(80 * time.Second) // settled, the first attempts, and a rest
		p.check("stuck", a, b)
		a.engine.mu.Lock()
		failed := a.engine.failed
		a.engine.stuck = false
		a.engine.mu.Unlock()
		if failed == 0 || failed > 16 {
			t.Errorf("%d handovers have failed in a minute, want those that were begun together", failed)
		}
		time.Sleep(80 * time.Second)
		p.check("free", a, b)
		if got := p.counts(a, b); !slices.Equal(got, []int{32, 32}) {
			t.Errorf("they have %v", got)
		}
	})
}

// A shard that is dropped, and is still this member's, is started again under a higher epoch: what the sink has
// of it from before is not taken for what comes then.
func TestStartsAgain(t *testing.T) {
	run(t, func(p *party) {
		a := p.add("a")
		time.Sleep(10 * time.Second)
		a.engine.mu.Lock()
		before := a.engine.runs[7]
		delete(a.engine.runs, 7)
		a.engine.mu.Unlock()
		a.Dropped(7, before)
		time.Sleep(3 * time.Second)
		p.check("again", a)
		if after := a.engine.runs[7]; after <= before {
			t.Errorf("it runs under epoch %d, and ran under %d before", after, before)
		}
	})
}

// deaf is a sink whose claims fail.
type deaf struct{}

func (deaf) Claim(context.Context, map[int]int64) (map[int]sinks.Position, error) {
	return nil, errors.New("NOPERM no such right")
}

// A step that fails again and again is logged, and not each time.
func TestWarns(t *testing.T) {
	run(t, func(p *party) {
		var log bytes.Buffer
		o := p.options("a", p.c)
		o.Sink, o.Log = deaf{}, slog.New(slog.NewTextHandler(&log, nil))
		f := fleet.New(o)
		ctx, stop := context.WithCancel(context.Background())
		if _, err := f.Join(ctx); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx, &engine{runs: make(map[int]int64)}) }()
		time.Sleep(50 * time.Second)
		stop()
		<-ended
		if n := strings.Count(log.String(), "step=claim error=\"NOPERM no such right\""); n != 1 {
			t.Errorf("%d lines of the claim in 50 s, want 1:\n%s", n, log.String())
		}
	})
}
