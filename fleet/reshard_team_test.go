// This file has engines and fleets that are resharded in tests.

package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
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
	at       int               // the count that is to be; 0: none
	stopped  bool              // from Switch's nil on
	set      int               // rises with each change of runs or next
	begun    int               // calls of Begin
	switches int
	lingers  time.Duration // after Open
	opened   func(next map[int]int64)
	waits    chan struct{}  // nil: Reshard begins at once; or when it is closed
	stalls   time.Duration  // before Commit, once
	delays   time.Duration  // after Commit, before the new shards are in force
	slow     time.Duration  // until a new shard is ready, besides
	differs  time.Time      // until when old and new shards, all of them ready, do not show the same
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
	e.next[shard], e.ready[shard] = epoch, time.Now().Add(time.Second+e.slow)
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

// agree waits until all old shards have new ones beside them, which are ready, and returns the set then.
func (e *resharder) agree(ctx context.Context, shards int) (int, error) {
	for {
		n := e.Ready()
		e.mu.Lock()
		whole := len(e.next)*e.shards == len(e.runs)*shards
		set, ready := e.set, whole && n == len(e.next) && !time.Now().Before(e.differs)
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
	if e.waits != nil {
		<-e.waits
	}
	e.mu.Lock()
	e.at, e.next, e.ready = shards, make(map[int]int64), make(map[int]time.Time)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.at, e.next, e.stopped = 0, nil, false
	}()
	for {
		set, err := e.agree(ctx, shards)
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
	same, fails, stalls := e.set == set, e.fails, e.stalls
	e.stalls = 0
	next := maps.Clone(e.next)
	e.mu.Unlock()
	time.Sleep(stalls)
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
	time.Sleep(e.delays)
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
	queue  *fleet.Queue
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
	before int           // shards
	waits  chan struct{} // of the engines of nodes that are added
	log    lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (t *team) add(name string) *node {
	t.Helper()
	return t.addWith(name, 0)
}

// addWith adds a node with a shard count in its settings; 0: none.
func (t *team) addWith(name string, setting int) *node {
	t.Helper()
	n := &node{name: name, ended: make(chan error, 1)}
	p := &party{t: t.T, c: t.c}
	o := p.options(name, &fleettest.Faulty{Coordinator: t.c, Choose: n.choose})
	o.Plan.Shards = setting
	o.Recommended = func(context.Context) (int, error) { return t.before, nil }
	o.Sink = t.sink
	o.Log = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &t.log), nil)).With("member", name)
	n.Fleet = fleet.New(o)
	n.queue = n.Queue()
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	plan, err := n.Join(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n.engine = newResharder(name, t.ledger, plan.Shards)
	n.engine.waits = t.waits
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
