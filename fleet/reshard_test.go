// This file tests members that change the shard count together, in fake time, with engines that only note what they
// are asked.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
	"sluice/fleet/memory"
	"sluice/resume"
	"sluice/sinks"
)

// ledger notes the ownerships under which shards were run, by all engines of a fleet.
type ledger struct {
	t    *testing.T
	mu   sync.Mutex
	used map[[2]int64]string // shard and epoch
}

func (l *ledger) use(shard int, epoch int64, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if who, twice := l.used[[2]int64{int64(shard), epoch}]; twice {
		l.t.Errorf("shard %d is run by %s under epoch %d, and was by %s", shard, by, epoch, who)
	}
	l.used[[2]int64{int64(shard), epoch}] = by
}

// resharder is an engine that can be resharded. A new shard is ready after a second.
type resharder struct {
	name   string
	ledger *ledger
	fails  func() error // of a switch; nil: none does

	mu       sync.Mutex
	shards   int
	runs     map[int]int64 // of the count in force
	next     map[int]int64
	ready    map[int]time.Time // when each of next is
	from     map[int]bool      // the classes that are whole, by what was added
	at       int               // the count that is to be; 0: none
	stopped  bool              // from Switch's nil on
	set      int               // rises with each change of runs or next
	begun    int               // calls of Begin
	switches int
	lingers  time.Duration // after Open
	opened   func(next map[int]int64)
	loaded   map[int]string // the session that each shard was added with
}

func newResharder(name string, l *ledger, shards int) *resharder {
	return &resharder{name: name, ledger: l, shards: shards, runs: make(map[int]int64), loaded: make(map[int]string)}
}

var errBusy = errors.New("the engine is at the switch")

func (e *resharder) Add(_ context.Context, shard int, from resume.Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, twice := e.runs[shard]; twice || shard >= e.shards {
		e.ledger.t.Errorf("%s: shard %d of %d is added, which runs: %v", e.name, shard, e.shards, twice)
		return fmt.Errorf("shard %d runs", shard)
	}
	if e.stopped {
		return errBusy
	}
	e.ledger.use(shard, from.Epoch, e.name)
	e.runs[shard], e.loaded[shard] = from.Epoch, from.ID
	e.set++
	return nil
}

func (e *resharder) Remove(_ context.Context, shard int) (resume.Session, error) {
	time.Sleep(20 * time.Millisecond) // to drain it
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return resume.Session{}, errBusy
	}
	if _, runs := e.runs[shard]; !runs {
		return resume.Session{}, &sinks.NotLocalError{Shard: shard}
	}
	e.end(shard)
	return resume.Session{}, nil
}

// end ends a shard in force, and the new ones of its class.
func (e *resharder) end(shard int) {
	delete(e.runs, shard)
	e.set++
	if e.at == 0 {
		return
	}
	n := gcd(e.shards, e.at)
	for id := range e.next {
		if id%n == shard%n {
			delete(e.next, id)
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (e *resharder) Depose(shard int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, runs := e.runs[shard]; runs {
		e.end(shard)
	}
}

func (e *resharder) Begin(_ context.Context, shard int, epoch int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == 0 || e.stopped {
		return errBusy
	}
	if _, twice := e.next[shard]; twice || shard >= e.at {
		e.ledger.t.Errorf("%s: new shard %d of %d is begun, which runs: %v", e.name, shard, e.at, twice)
	}
	n := gcd(e.shards, e.at)
	for old := shard % n; old < e.shards; old += n {
		if has, runs := e.runs[old]; !runs || has >= epoch {
			e.ledger.t.Errorf("%s: new shard %d is begun under epoch %d, and %d runs: %v, under %d", e.name, shard, epoch, old, runs, has)
		}
	}
	e.next[shard], e.ready[shard] = epoch, time.Now().Add(time.Second)
	e.set++
	e.begun++
	return nil
}

func (e *resharder) Abandon(shard int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.next, shard)
	e.set++
}

func (e *resharder) Ready() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.next {
		if !time.Now().Before(e.ready[id]) {
			n++
		}
	}
	return n
}

// agree waits until all new shards are ready, and returns the set then.
func (e *resharder) agree(ctx context.Context) (int, error) {
	for {
		n := e.Ready()
		e.mu.Lock()
		set, ready := e.set, n == len(e.next)
		e.mu.Unlock()
		if ready {
			return set, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (e *resharder) Reshard(ctx context.Context, shards int, part fleet.Part) (err error) {
	e.mu.Lock()
	e.at, e.next, e.ready = shards, make(map[int]int64), make(map[int]time.Time)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.at, e.next, e.stopped = 0, nil, false
	}()
	for {
		set, err := e.agree(ctx)
		if err != nil {
			return err
		}
		if err = e.ask(ctx, set, part); errors.Is(err, fleet.ErrAgain) {
			time.Sleep(10 * time.Millisecond)
			continue
		} else if err != nil {
			return err
		}
		if err := e.change(ctx, set, shards, part); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e.mu.Lock()
		e.stopped = false
		e.mu.Unlock()
	}
}

// ask calls Switch, whose ctx is done when something changes.
func (e *resharder) ask(ctx context.Context, set int, part fleet.Part) error {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for within.Err() == nil {
			e.mu.Lock()
			same := e.set == set
			e.mu.Unlock()
			if !same {
				cancel(fleet.ErrAgain)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if err := part.Switch(within); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	return nil
}

// change is the switch.
func (e *resharder) change(ctx context.Context, set, shards int, part fleet.Part) error {
	time.Sleep(30 * time.Millisecond) // to drain the old ones
	e.mu.Lock()
	e.switches++
	same, fails := e.set == set, e.fails
	next := maps.Clone(e.next)
	e.mu.Unlock()
	why := error(nil)
	if fails != nil {
		why = fails()
	}
	if !same {
		why = errors.New("something has changed")
	}
	if why != nil {
		part.Abort(ctx, why)
		return why
	}
	var sessions iter.Seq2[int, resume.Session] = func(yield func(int, resume.Session) bool) {
		for id, epoch := range next {
			if !yield(id, resume.Session{ID: fmt.Sprintf("s%d", id), Seq: 5, Shards: shards, Epoch: epoch, ResumeURL: "wss://a.b"}) {
				return
			}
		}
	}
	if err := part.Commit(ctx, sessions); err != nil {
		return err
	}
	e.mu.Lock()
	for id, epoch := range next {
		e.ledger.use(id, epoch, e.name)
	}
	e.runs, e.shards, e.stopped = next, shards, false
	e.mu.Unlock()
	if err := part.Open(ctx); err != nil {
		return err
	}
	if e.opened != nil {
		e.opened(next)
	}
	time.Sleep(e.lingers)
	return nil
}

// node is a process of the fleet under test.
type node struct {
	*fleet.Fleet
	name   string
	engine *resharder
	stop   context.CancelFunc
	ended  chan error

	mu    sync.Mutex
	fault func(method string) fleettest.Fault // nil: none
}

func (n *node) set(fault func(method string) fleettest.Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = fault
}

func (n *node) choose(method string) fleettest.Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fault == nil {
		return fleettest.Fault{}
	}
	return n.fault(method)
}

// lost loses every call.
func lost(string) fleettest.Fault { return fleettest.Fault{Lose: true} }

// team is a fleet of them.
type team struct {
	*testing.T
	c      *memory.Coordinator
	sink   sinks.Claimer // nil: none
	ledger *ledger
	nodes  []*node // that live
	all    []*node
	before int // shards
}

func (t *team) add(name string) *node {
	t.Helper()
	n := &node{name: name, ended: make(chan error, 1)}
	p := &party{t: t.T, c: t.c}
	o := p.options(name, &fleettest.Faulty{Coordinator: t.c, Choose: n.choose})
	o.Plan.Shards = 0
	o.Recommended = func(context.Context) (int, error) { return t.before, nil }
	o.Sink = t.sink
	n.Fleet = fleet.New(o)
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	plan, err := n.Join(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n.engine = newResharder(name, t.ledger, plan.Shards)
	go func() { n.ended <- n.Run(ctx, n.engine) }()
	t.nodes, t.all = append(t.nodes, n), append(t.all, n)
	return n
}

// dies has nothing more heard of a node.
func (t *team) dies(n *node) {
	n.set(lost)
	t.nodes = slices.DeleteFunc(t.nodes, func(other *node) bool { return other == n })
}

func (t *team) view() fleet.View {
	t.Helper()
	v, err := t.c.Look(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// until waits for a condition, at most two minutes.
func (t *team) until(what string, done func() bool) {
	t.Helper()
	for range 12_000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	v := t.view()
	for _, n := range t.nodes {
		t.Logf("%s: %+v", n.name, n.Resharding())
	}
	t.Fatalf("never: %s: %+v %+v %+v", what, v.Plan, v.Reshard, v.Members)
}

// check fails unless each shard of the count is run by one node, under the epoch of the table.
func (t *team) check(shards int) {
	t.Helper()
	time.Sleep(time.Nanosecond)
	synctest.Wait()
	v := t.view()
	if v.Plan.Shards != shards || len(v.Shards) < shards {
		t.Fatalf("the plan is %+v, with %d rows, want %d shards", v.Plan, len(v.Shards), shards)
	}
	by := make(map[int]int)
	for _, n := range t.nodes {
		n.engine.mu.Lock()
		if n.engine.shards != shards {
			t.Errorf("the engine of %s has %d shards", n.name, n.engine.shards)
		}
		for id, epoch := range n.engine.runs {
			by[id]++
			if v.Shards[id].Owner != (fleet.Owner{Incarnation: n.Incarnation(), Epoch: epoch}) {
				t.Errorf("%s runs shard %d under epoch %d, and the table has %+v", n.name, id, epoch, v.Shards[id])
			}
			if !n.Owns(id, epoch) {
				t.Errorf("%s does not say that it owns shard %d under epoch %d", n.name, id, epoch)
			}
		}
		n.engine.mu.Unlock()
	}
	for id := range shards {
		if by[id] != 1 {
			t.Errorf("%d nodes run shard %d: %+v", by[id], id, v.Shards[id])
		}
	}
}

func (t *team) stop() {
	for _, n := range t.all {
		n.set(nil)
		n.stop()
	}
	synctest.Wait()
	for _, n := range t.all {
		if err := <-n.ended; err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Second) // calls that are late
}

// resharding runs a test with a fleet of some nodes that has settled, with session starts enough.
func resharding(t *testing.T, shards, nodes int, f func(t *team)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // epochs follow the time
		team := &team{T: t, c: memory.New(nil), ledger: &ledger{t: t, used: make(map[[2]int64]string)}, before: shards}
		for i := range nodes {
			team.add(string(rune('a' + i)))
		}
		defer team.stop()
		time.Sleep(20 * time.Second)
		team.budget(1000)
		if nodes > 0 {
			team.check(shards)
		}
		f(team)
	})
}

func (t *team) budget(left int) {
	b := fleet.Budget{Total: 1000, Remaining: left, Reset: time.Now().Add(time.Hour), Concurrency: 1}
	if err := t.c.Budget(context.Background(), b, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// begin asks a node to reshard.
func (t *team) begin(n *node, shards int) {
	t.Helper()
	if err := n.Reshard(context.Background(), shards); err != nil {
		t.Fatal(err)
	}
}

// committed waits until a count is in force at all nodes, and nothing moves.
func (t *team) committed(shards int) {
	t.Helper()
	t.until(fmt.Sprintf("%d shards", shards), func() bool { return t.view().Plan.Shards == shards })
	time.Sleep(60 * time.Second)
	t.check(shards)
}

// Three members change the count to a multiple, to one that classes are gathered for, and back.
func TestReshards(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		a := t.nodes[0]
		plan, err := a.PlanReshard(context.Background(), 32)
		if err != nil || plan != (fleet.ReshardPlan{From: 16, To: 32, Classes: 16}) {
			t.Errorf("the plan: %+v, %v", plan, err)
		}
		t.begin(a, 32)
		var twice error
		if twice = t.nodes[1].Reshard(context.Background(), 48); !errors.Is(twice, fleet.ErrResharding) {
			t.Errorf("another: %v", twice)
		}
		t.until("the status", func() bool { return a.Resharding().Stage == fleet.ReshardPending })
		if s := a.Resharding(); s.From != 16 || s.To != 32 || s.Classes != 16 || s.Gathered != 16 || s.Attempt != 1 || s.Owners != 3 {
			t.Errorf("the status: %+v", s)
		}
		t.committed(32)
		if v := t.view(); v.Plan.Generation != 2 || !v.Plan.Resharded || v.Plan.Instead != 0 {
			t.Errorf("the plan: %+v", v.Plan)
		}
		begun := 0
		for _, n := range t.nodes {
			begun += n.engine.begun
		}
		if begun != 32 {
			t.Errorf("%d new shards were begun", begun)
		}
		if s := a.Resharding(); s.Stage != fleet.ReshardNone || s.Failure != "" {
			t.Errorf("the status after it: %+v", s)
		}
		t.begin(t.nodes[1], 24)
		t.committed(24)
		t.begin(t.nodes[2], 16)
		t.committed(16)
		t.begin(a, 17) // all at one
		t.committed(17)
	})
}

// What resumes the new shards is there for who takes them over.
func TestReshardedTakenOver(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.begin(t.nodes[0], 32)
		t.committed(32)
		b := t.nodes[1]
		had := maps.Clone(b.engine.runs)
		t.dies(b)
		time.Sleep(20 * time.Second)
		t.check(32)
		for _, n := range t.nodes {
			for id := range had {
				if _, has := n.engine.runs[id]; has && n.engine.loaded[id] != fmt.Sprintf("s%d", id) {
					t.Errorf("shard %d goes on with session %q", id, n.engine.loaded[id])
				}
			}
		}
	})
}

// Without session starts enough nothing is begun.
func TestReshardBudget(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		t.budget(31)
		var starts *fleet.StartsError
		if err := t.nodes[0].Reshard(context.Background(), 32); !errors.As(err, &starts) || starts.Left != 31 {
			t.Errorf("with 31 starts: %v", err)
		}
		if r := t.view().Reshard; r.Stage != fleet.ReshardNone {
			t.Errorf("it began: %+v", r)
		}
	})
}

// deaths are the stages at which a member is lost: with a call, before it is made or after.
var deaths = []struct {
	name, method string
	after        bool
}{
	{"pending", "Beat", false},
	{"before it agrees", "Agree", false},
	{"agreed", "Agree", true},
	{"switching", "Prepare", false},
	{"prepared", "Prepare", true},
}

// lose has a node lost at its first call of a method.
func lose(n *node, method string, after bool) (is func() bool) {
	var mu sync.Mutex
	gone := false
	n.set(func(m string) fleettest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if gone {
			return fleettest.Fault{Lose: true}
		}
		if m == method {
			gone = true
			return fleettest.Fault{Lose: !after, LoseAnswer: after}
		}
		return fleettest.Fault{}
	})
	return func() bool { mu.Lock(); defer mu.Unlock(); return gone }
}

// A member that dies costs an attempt at most: the others go on.
func TestReshardDeaths(t *testing.T) {
	for _, counts := range [][2]int{{16, 32}, {16, 24}} {
		for _, d := range deaths {
			t.Run(fmt.Sprintf("%s, %d to %d", d.name, counts[0], counts[1]), func(t *testing.T) {
				resharding(t, counts[0], 3, func(t *team) {
					b := t.nodes[1]
					gone := lose(b, d.method, d.after)
					t.begin(t.nodes[0], counts[1])
					t.until("the death", gone)
					t.dies(b)
					t.committed(counts[1])
				})
			})
			t.Run(fmt.Sprintf("%s, %d to %d, and it is back", d.name, counts[0], counts[1]), func(t *testing.T) {
				resharding(t, counts[0], 3, func(t *team) {
					b := t.nodes[1]
					gone := lose(b, d.method, d.after)
					t.begin(t.nodes[0], counts[1])
					t.until("the loss", gone)
					time.Sleep(9 * time.Second)
					b.set(nil) // it has been deposed
					t.committed(counts[1])
				})
			})
		}
	}
}

// Who dies after the commit, before it has seen it, is taken over from like anyone.
func TestReshardDeathCommitted(t *testing.T) {
	for _, back := range []bool{false, true} {
		resharding(t, 16, 3, func(t *team) {
			b := t.nodes[1]
			gone := false
			b.set(func(m string) fleettest.Fault {
				gone = gone || t.view().Plan.Shards == 24
				return fleettest.Fault{Lose: gone}
			})
			t.begin(t.nodes[0], 24)
			t.until("the commit", func() bool { return t.view().Plan.Shards == 24 })
			if back {
				time.Sleep(9 * time.Second)
				b.set(nil)
			} else {
				t.dies(b)
			}
			t.committed(24)
		})
	}
}

// Everybody but one dies, and that one goes on.
func TestReshardLastOne(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.begin(t.nodes[0], 24)
		time.Sleep(500 * time.Millisecond)
		t.dies(t.nodes[0])
		t.dies(t.nodes[0])
		t.committed(24)
	})
}

// A lost answer costs nothing but time.
func TestReshardLostAnswers(t *testing.T) {
	for _, method := range []string{"Propose", "Report", "Agree", "Switch", "Prepare", "Commit", "Look", "Beat"} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s %d", method, n), func(t *testing.T) {
				resharding(t, 16, 3, func(t *team) {
					if method == "Look" { // it is not for what is asked at once
						t.begin(t.nodes[0], 24)
					}
					for _, node := range t.nodes {
						left := n
						node.set(func(m string) fleettest.Fault {
							if m == method && left > 0 {
								left--
								return fleettest.Fault{LoseAnswer: true}
							}
							return fleettest.Fault{}
						})
					}
					if method != "Look" {
						t.begin(t.nodes[0], 24)
					}
					t.committed(24)
					if f := t.view().Reshard.Failures; f > 0 {
						t.Errorf("%d attempts have failed", f)
					}
				})
			})
		}
	}
}

// It can be called off at each stage, until it is committed; then all is as it was.
func TestReshardCalledOff(t *testing.T) {
	stages := map[string]func(t *team) bool{
		"pending":   func(t *team) bool { return true },
		"begun":     func(t *team) bool { return t.nodes[1].engine.Ready() > 0 },
		"agreed":    func(t *team) bool { return len(t.view().Reshard.Voices) > 0 && t.view().Reshard.Voices[0].Revision > 0 },
		"switching": func(t *team) bool { return t.view().Reshard.Stage == fleet.ReshardSwitching },
		"prepared": func(t *team) bool {
			return slices.ContainsFunc(t.view().Reshard.Voices, func(v fleet.Voice) bool { return v.Prepared })
		},
	}
	for name, reached := range stages {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, again %v", name, again), func(t *testing.T) {
				resharding(t, 16, 3, func(t *team) {
					late := true // the last one to prepare
					t.nodes[2].set(func(m string) fleettest.Fault {
						return fleettest.Fault{Lose: m == "Prepare" && late || m == "Commit" && late}
					})
					t.begin(t.nodes[0], 24)
					t.until(name, func() bool { return reached(t) })
					before := t.view()
					if err := t.nodes[1].CallOff(context.Background()); err != nil {
						t.Fatal(err)
					}
					t.nodes[2].set(nil)
					if before.Plan.Shards != 16 {
						t.Fatal("it was too late")
					}
					time.Sleep(40 * time.Second)
					t.check(16)
					if s := t.nodes[0].Resharding(); s.Stage != fleet.ReshardNone || !strings.Contains(s.Failure, "asked for at member b") {
						t.Errorf("the status: %+v", s)
					}
					if err := t.nodes[1].CallOff(context.Background()); !errors.Is(err, fleet.ErrNotResharding) {
						t.Errorf("again: %v", err)
					}
					if again {
						t.begin(t.nodes[2], 32)
						t.committed(32)
					}
				})
			})
		}
	}
}

// An engine that cannot switch has the attempt taken back, and the next one is later; after six it is over.
func TestReshardFails(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		failures := 2
		t.nodes[1].engine.fails = func() error {
			if failures > 0 {
				failures--
				return errors.New("no such luck")
			}
			return nil
		}
		t.begin(t.nodes[0], 32)
		t.until("a failure", func() bool { return t.nodes[0].Resharding().Attempt == 2 })
		if s := t.nodes[0].Resharding(); !strings.Contains(s.Failure, "member b: no such luck") {
			t.Errorf("the status: %+v", s)
		}
		t.check(16)
		t.committed(32)
		if f := t.view().Reshard.Failures; f != 2 {
			t.Errorf("%d failures", f)
		}
		t.nodes[1].engine.fails = func() error { return errors.New("never") }
		t.begin(t.nodes[0], 16)
		for t.view().Reshard.Stage != fleet.ReshardNone {
			time.Sleep(time.Second)
		}
		time.Sleep(30 * time.Second)
		t.check(32)
		if s := t.nodes[2].Resharding(); s.Attempt != 6 || !strings.Contains(s.Failure, "member b: never") {
			t.Errorf("the status: %+v", s)
		}
		for _, n := range t.nodes {
			if n.engine.switches > 9 {
				t.Errorf("%s was at the switch %d times", n.name, n.engine.switches)
			}
		}
	})
}

// A member that cannot be reshared calls it off, and says so.
func TestReshardCannot(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		p := &party{t: t.T, c: t.c}
		o := p.options("old", t.c)
		o.Plan.Shards = 16
		old := fleet.New(o)
		ctx, stop := context.WithCancel(context.Background())
		if _, err := old.Join(ctx); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- old.Run(ctx, &engine{runs: make(map[int]int64)}) }()
		time.Sleep(20 * time.Second)
		t.begin(t.nodes[0], 32)
		t.until("the end", func() bool { return strings.Contains(t.nodes[0].Resharding().Failure, "member old") })
		stop()
		<-ended
	})
}

// A member that joins meanwhile takes part; one that drains gives its classes away.
func TestReshardJoins(t *testing.T) {
	for _, wait := range []time.Duration{0, 500 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second} {
		t.Run(wait.String(), func(t *testing.T) {
			resharding(t, 16, 2, func(t *team) {
				t.begin(t.nodes[0], 24)
				time.Sleep(wait)
				t.add("x")
				if wait < time.Second {
					t.nodes[1].BeginDrain()
				}
				t.until("24 shards", func() bool { return t.view().Plan.Shards == 24 })
				time.Sleep(60 * time.Second)
				t.check(24)
				if n := len(t.nodes[2].engine.runs); n == 0 {
					t.Error("who joined has none")
				}
			})
		})
	}
}

// The count holds when all processes have ended, unless the settings have changed since.
func TestReshardHolds(t *testing.T) {
	for _, c := range []struct{ before, after, want int }{{0, 0, 32}, {16, 16, 32}, {16, 0, 32}, {16, 48, 48}, {16, 32, 32}, {0, 48, 48}, {0, 16, 16}} {
		t.Run(fmt.Sprintf("%d, then %d", c.before, c.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour)
				k := memory.New(nil)
				p := &party{t: t, c: k}
				start := func(name string, setting int) (fleet.Plan, func()) {
					o := p.options(name, k)
					o.Plan.Shards = setting
					o.Recommended = func(context.Context) (int, error) { return 16, nil }
					f := fleet.New(o)
					ctx, stop := context.WithCancel(context.Background())
					plan, err := f.Join(ctx)
					if err != nil {
						t.Fatal(err)
					}
					e := newResharder(name, &ledger{t: t, used: make(map[[2]int64]string)}, plan.Shards)
					ended := make(chan error, 1)
					go func() { ended <- f.Run(ctx, e) }()
					time.Sleep(10 * time.Second)
					if plan.Shards == 16 && c.want == 32 || name == "a" {
						b := fleet.Budget{Total: 1000, Remaining: 1000, Reset: time.Now().Add(time.Hour), Concurrency: 1}
						if err := k.Budget(ctx, b, time.Now()); err != nil {
							t.Fatal(err)
						}
						if err := f.Reshard(ctx, 32); err != nil {
							t.Fatal(err)
						}
						time.Sleep(30 * time.Second)
					}
					return plan, func() { stop(); <-ended }
				}
				_, stop := start("a", c.before)
				joins := fleet.New(p.options("x", k))
				if c.before == 16 && c.after == 16 { // while the fleet lives, too
					o := p.options("x", k)
					o.Plan.Shards = 16
					joins = fleet.New(o)
					if plan, err := joins.Join(context.Background()); err != nil || plan.Shards != 32 {
						t.Errorf("one joins with %+v: %v", plan, err)
					}
					if err := joins.Leave(context.Background()); err != nil {
						t.Error(err)
					}
				}
				stop()
				for _, name := range []string{"b", "c"} { // and the next time
					plan, stop := start(name, c.after)
					stop()
					if plan.Shards != c.want {
						t.Errorf("%s runs %+v, want %d shards", name, plan, c.want)
					}
				}
			})
		})
	}
}

// Whatever is lost and whoever dies, in the end one count is run by those that live.
func TestReshardRandom(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	done := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			var mu sync.Mutex
			chance := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
			resharding(t, 16, 4, func(t *team) {
				ills := []int{0, 20, 50}[chance(3)] // in a thousand
				faulty := func(string) fleettest.Fault {
					switch n := chance(1000); {
					case n < ills:
						return fleettest.Fault{Lose: true}
					case n < 2*ills:
						return fleettest.Fault{LoseAnswer: true}
					case n < 3*ills:
						return fleettest.Fault{LoseAnswer: true, Late: time.Duration(chance(3000)) * time.Millisecond}
					case n < 5*ills:
						return fleettest.Fault{Delay: time.Duration(chance(700)) * time.Millisecond}
					}
					return fleettest.Fault{}
				}
				for _, n := range t.nodes {
					n.set(faulty)
					n.engine.lingers = time.Duration(chance(4000)) * time.Millisecond
				}
				to := []int{32, 24, 20, 8, 48}[chance(5)]
				for range 5 {
					if t.nodes[0].Reshard(context.Background(), to) == nil {
						break
					}
				}
				for range 3 + chance(5) {
					time.Sleep(time.Duration(chance(4000)) * time.Millisecond)
					n := t.nodes[chance(len(t.nodes))]
					switch chance(8) {
					case 0, 1:
						if len(t.nodes) > 2 {
							t.dies(n)
						}
					case 2:
						n.set(lost) // and is back, deposed or not
						time.Sleep(time.Duration(chance(10_000)) * time.Millisecond)
						n.set(faulty)
					case 3:
						t.add(fmt.Sprint("x", chance(1000))).set(faulty)
					case 4:
						if chance(3) == 0 {
							_ = n.CallOff(context.Background())
						}
					case 5:
						fails := 1 + chance(2)
						n.engine.mu.Lock()
						n.engine.fails = func() error {
							if fails--; fails >= 0 {
								return errors.New("no such luck")
							}
							return nil
						}
						n.engine.mu.Unlock()
					}
				}
				for _, n := range t.nodes {
					n.set(nil)
				}
				for i := 0; t.view().Reshard.Stage != fleet.ReshardNone; i++ {
					if time.Sleep(time.Second); i == 600 {
						t.Fatalf("no end: %+v", t.view().Reshard)
					}
				}
				time.Sleep(90 * time.Second)
				if t.view().Plan.Shards == to {
					done++
				}
				t.check(t.view().Plan.Shards)
			})
		})
	}
	t.Logf("%d of %d have come to another count", done, seeds)
	if done < seeds/3 {
		t.Errorf("%d of %d have come to another count", done, seeds)
	}
}
