// This file tests that several engines, each with a part of a bot's shards, get another shard count together and without a gap.

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// parts are engines that run the shards of a bot together, and what decides for them.
type parts struct {
	t       *testing.T
	owners  *owners
	queue   *sharedQueue
	members []*member

	mu         sync.Mutex
	epoch      int64 // the last
	round      *round
	fails      int // of the next rounds
	generation int
}

// round is an attempt at a switch.
type round struct {
	agreed, prepared map[*member]bool
	begins           chan struct{} // closed when all have agreed
	over             chan struct{} // closed when it is decided
	err              error
}

func newRound() *round {
	return &round{agreed: map[*member]bool{}, prepared: map[*member]bool{}, begins: make(chan struct{}), over: make(chan struct{})}
}

// member is an engine of them.
type member struct {
	*world
	p        *parts
	store    *checkpoints
	sink     *memberSink
	done     chan error // of Reshard
	end      context.CancelFunc
	round    *round // of the last Switch
	aborts   []error
	again    int                    // Switches that were withdrawn
	next     map[int]resume.Session // of the last Commit
	opened   int
	opens    func()                    // within Open
	switches func()                    // within Switch
	commits  func(ctx context.Context) // within Commit
}

// memberSink remembers what each engine has published.
type memberSink struct {
	*recorder
	mu     sync.Mutex
	events []sinks.Event // without Type and Data
}

func (s *memberSink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	s.mu.Lock()
	for _, ev := range batch {
		ev.Type, ev.Data = nil, nil
		s.events = append(s.events, ev)
	}
	s.mu.Unlock()
	return s.recorder.Publish(ctx, batch, acked)
}

// all returns what was published.
func (s *memberSink) all() []sinks.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// published returns how many events of a generation were.
func (s *memberSink) published(generation int32) (n int) {
	for _, ev := range s.all() {
		if ev.Generation == generation {
			n++
		}
	}
	return n
}

// sharedQueue is the identify queue of all engines, which remembers who has asked.
type sharedQueue struct {
	engine.IdentifyQueue
	mu    sync.Mutex
	asked map[int]int
}

func (q *sharedQueue) Join(shard int, granted func()) {
	q.mu.Lock()
	q.asked[shard]++
	q.mu.Unlock()
	q.IdentifyQueue.Join(shard, granted)
}

// newParts starts engines with a shard count, each with its old shards.
func newParts(t *testing.T, reader engine.ReaderKind, so sim.Options, shards int, ids ...[]int) *parts {
	t.Helper()
	so.Shards, so.Common, so.Hold = shards, true, true
	if so.Rate == 0 {
		so.Rate = 20
	}
	if so.MaxConcurrency == 0 {
		so.MaxConcurrency = 16
	}
	so.CommonSkew, so.ReplayLimit = 300*time.Millisecond, 100_000
	p := &parts{t: t, owners: newOwners(true), round: newRound(), generation: 5}
	p.queue = &sharedQueue{IdentifyQueue: engine.NewQueue(so.MaxConcurrency), asked: map[int]int{}}
	for i := range ids {
		m := &member{p: p, store: new(checkpoints)}
		eo := m.options(shards)
		if i == 0 {
			m.sink = &memberSink{recorder: new(recorder)}
			eo.Sink = m.sink
			m.world = newWorld(t, reader, so, eo)
			m.world.sink = m.sink.recorder
		} else {
			first := p.members[0]
			m.sink = &memberSink{recorder: first.sink.recorder}
			eo.Sink = m.sink
			m.world = &world{t: t, reader: reader, srv: first.srv, net: first.net, sink: first.sink.recorder, ended: make(chan error, 4)}
			t.Cleanup(func() {
				m.stop()
				m.runs.Wait()
			})
			m.start(eo)
		}
		m.twice = true
		p.members = append(p.members, m)
	}
	for i, m := range p.members {
		for _, id := range ids[i] {
			m.add(id, resume.Session{Epoch: p.nextEpoch()})
		}
	}
	for i, m := range p.members {
		m.ready(len(ids[i]))
	}
	time.Sleep(10 * time.Second) // guilds that come later
	p.members[0].srv.Play()
	return p
}

func (m *member) options(shards int) engine.Options {
	return engine.Options{
		Shards: shards, IDs: none, Generation: m.p.generation, Checkpoints: m.store,
		Confirm: m.p.owners.confirm, Trusted: m.p.owners.trusted.Load, Identify: m.p.queue,
	}
}

func (p *parts) nextEpoch() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	return p.epoch
}

// reshard has all engines begin. Their new shards are begun by others.
func (p *parts) reshard(shards int) {
	p.generation++
	for _, m := range p.members {
		m.reshard(shards)
	}
}

func (m *member) reshard(shards int) {
	var ctx context.Context
	ctx, m.end = context.WithCancel(m.t.Context())
	m.done = make(chan error, 1)
	e := m.engine
	part := &engine.Part{Generation: m.p.generation, Switch: m.agree, Commit: m.commit, Abort: m.abort, Open: m.open}
	go func() { m.done <- e.Reshard(ctx, engine.ReshardOptions{Shards: shards, Part: part}) }()
}

// begin begins new shards here, and returns the epochs of them.
func (m *member) begin(ids ...int) {
	m.t.Helper()
	for _, id := range ids {
		if err := m.engine.Begin(m.t.Context(), id, m.p.nextEpoch()); err != nil {
			m.t.Errorf("Begin(%d): %v", id, err)
		}
	}
}

func (m *member) agree(ctx context.Context) error {
	p := m.p
	if m.switches != nil {
		m.switches()
	}
	p.mu.Lock()
	r := p.round
	m.round = r
	if r.agreed[m] = true; len(r.agreed) == len(p.members) {
		close(r.begins)
	}
	p.mu.Unlock()
	select {
	case <-r.begins:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(r.agreed) == len(p.members) {
		return nil
	}
	delete(r.agreed, m)
	m.again++
	return engine.ErrAgain
}

func (m *member) commit(ctx context.Context, next iter.Seq2[int, resume.Session]) error {
	p := m.p
	if m.commits != nil {
		m.commits(ctx)
	}
	p.mu.Lock()
	r := m.round
	m.next = maps.Collect(next)
	if r.prepared[m] = true; len(r.prepared) == len(p.members) {
		var err error
		if p.fails > 0 {
			p.fails--
			err = errors.New("somebody is against it")
		}
		p.decide(r, err)
	}
	p.mu.Unlock()
	select {
	case <-r.over:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) abort(_ context.Context, why error) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.aborts = append(m.aborts, why)
	m.p.decide(m.round, why)
}

// withdrawn returns how often it was agreed, and then not any more.
func (m *member) withdrawn() int {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return m.again
}

// aborted returns why it could not switch.
func (m *member) aborted() []error {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return slices.Clone(m.aborts)
}

// decide ends a round. p.mu is held.
func (p *parts) decide(r *round, err error) {
	select {
	case <-r.over:
	default:
		r.err = err
		close(r.over)
		p.round = newRound()
	}
}

func (m *member) open(context.Context) error {
	m.opened++
	if n := m.sink.published(int32(m.p.generation)); n > 0 {
		m.t.Errorf("%d events of the new shards are published before it is allowed", n)
	}
	if m.opens != nil {
		m.opens()
	}
	return nil
}

// switched waits until all have switched.
func (p *parts) switched() {
	p.t.Helper()
	for i, m := range p.members {
		if err := <-m.done; err != nil {
			p.t.Fatalf("engine %d: %v", i, err)
		}
		if m.opened == 0 {
			p.t.Errorf("engine %d was not opened", i)
		}
	}
}

// check ends the traffic, and compares everything, with so many shards in force.
func (p *parts) check(shards int) {
	p.t.Helper()
	w := p.members[0].world
	time.Sleep(5 * time.Second)
	w.settle()
	w.asGenerated()
	running := 0
	for i, m := range p.members {
		s := m.engine.Status()
		running += s.Running
		if s.Shards != shards || s.Ready != s.Running {
			p.t.Errorf("engine %d: %d of %d shards run, %d are ready", i, s.Running, s.Shards, s.Ready)
		}
		if r := m.engine.Resharding(); r.Stage != engine.ReshardNone {
			p.t.Errorf("engine %d: it is still %s", i, r.Stage)
		}
	}
	if running != shards {
		p.t.Errorf("%d shards run, of %d", running, shards)
	}
	if n := len(w.sink.gaps); n > 0 {
		p.t.Errorf("%d gaps are reported", n)
	}
	sound(p.t, w)
}

// classOf returns the ids below n that are equal to id modulo classes.
func classOf(id, classes, n int) (ids []int) {
	for i := id % classes; i < n; i += classes {
		ids = append(ids, i)
	}
	return ids
}

func TestReshardParts(t *testing.T) {
	for _, c := range []struct{ from, to, classes, guilds int }{{2, 4, 2, 12}, {4, 6, 2, 6}, {6, 4, 2, 6}, {3, 2, 1, 12}} {
		t.Run(fmt.Sprintf("%d to %d", c.from, c.to), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				ids := [][]int{classOf(0, c.classes, c.from), nil}
				next := [][]int{classOf(0, c.classes, c.to), nil}
				if c.classes == 2 { // or the other engine has none
					ids[1], next[1] = classOf(1, 2, c.from), classOf(1, 2, c.to)
				}
				p := newParts(t, reader, sim.Options{Guilds: c.guilds}, c.from, ids...)
				p.reshard(c.to)
				epochs := map[int]int64{} // of the new shards
				for i, m := range p.members {
					for _, id := range next[i] {
						m.begin(id)
						epochs[id] = p.epoch
					}
				}
				p.switched()
				p.check(c.to)
				for i, m := range p.members {
					if got := slices.Sorted(maps.Keys(m.next)); !slices.Equal(got, next[i]) {
						t.Errorf("engine %d has committed shards %d, want %d", i, got, next[i])
					}
					kept, _ := m.store.state()
					for id, s := range m.next {
						if s.Epoch != epochs[id] || s.Shards != c.to || s.ID == "" || kept[id].ID != s.ID || kept[id].Epoch != s.Epoch || kept[id].Seq < s.Seq {
							t.Errorf("new shard %d of epoch %d: committed with %+v, persisted are %+v", id, epochs[id], s, kept[id])
						}
					}
					for _, ev := range m.sink.all() {
						if new := ev.Generation == 6; new && ev.Epoch != epochs[ev.Shard] || !new && (ev.Generation != 5 || ev.Epoch > int64(c.from)) {
							t.Fatalf("an event of shard %d in generation %d has epoch %d", ev.Shard, ev.Generation, ev.Epoch)
						}
					}
				}
				if n := p.members[0].srv.Ledger().Summary().Identifies; n != c.from+c.to {
					t.Errorf("%d Identifies", n)
				}
				for key, n := range p.queue.asked {
					if g, id := key/resume.MaxShards, key%resume.MaxShards; n != 1 || g == 5 && id >= c.from || g == 6 && id >= c.to || g != 5 && g != 6 {
						t.Errorf("a turn is asked for by %d of generation %d, %d times", id, g, n)
					}
				}
			})
		})
	}
}

// The shards of the next count are begun where all of their class run, each once, and not without a Reshard.
func TestBeginRefused(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Guilds: 6}, 4, []int{0, 2}, []int{1})
		m, other := p.members[0], p.members[1]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.engine.Begin(ctx, 0, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a Reshard: %v", err)
		}
		p.reshard(6)
		var id *engine.ShardIDError
		if err := m.engine.Begin(t.Context(), 6, 100); !errors.As(err, &id) {
			t.Errorf("of a shard that will not exist: %v", err)
		}
		var elsewhere *sinks.NotLocalError
		if err := other.engine.Begin(t.Context(), 5, 100); !errors.As(err, &elsewhere) || elsewhere.Shard != 3 {
			t.Errorf("of a class that is not whole: %v", err)
		}
		m.begin(4)
		if err := m.engine.Begin(t.Context(), 4, 100); err == nil || !strings.Contains(err.Error(), "has been begun") {
			t.Errorf("twice: %v", err)
		}
		if err := m.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}); err == nil {
			t.Error("another Reshard")
		}
		m.wait("the new shard", func() bool { return m.engine.Resharding().Ready == 1 })
		gate := make(chan struct{})
		m.sink.hold(gate)
		time.Sleep(5 * time.Second)
		m.engine.Abandon(4)
		m.engine.Abandon(4)
		again := make(chan error, 1)
		go func() { again <- m.engine.Begin(t.Context(), 4, p.nextEpoch()) }()
		time.Sleep(5 * time.Second)
		select {
		case err := <-again:
			t.Errorf("while events of the one before may still come: %v", err)
		default:
		}
		close(gate)
		if err := <-again; err != nil {
			t.Error(err)
		}
		m.begin(0, 2)
		other.add(3, resume.Session{Epoch: p.nextEpoch()})
		other.ready(2) // before that nobody gets its events
		other.begin(1, 3, 5)
		p.switched()
		p.check(6)
	})
}

// In a fleet the plan says what a resharding would take, and the error that the fleet must ask for it.
func TestPlanPart(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{}, 2, []int{0}, []int{1})
		e := p.members[0].engine
		if err := e.Reshard(t.Context(), engine.ReshardOptions{Shards: 4}); err == nil || !strings.Contains(err.Error(), "a fleet's") {
			t.Errorf("without a Part: %v", err)
		}
		if plan, err := e.PlanReshard(t.Context(), 4); err != nil || plan.From != 2 || plan.To != 4 || plan.Left != 998 || !plan.Persisted {
			t.Errorf("%+v, %v", plan, err)
		}
		var budget *engine.BudgetError
		if _, err := e.PlanReshard(t.Context(), 999); !errors.As(err, &budget) || budget.Left != 998 {
			t.Errorf("with too few session starts: %v", err)
		}
		if err := e.Reshard(t.Context(), engine.ReshardOptions{Shards: 4, Part: &engine.Part{Generation: 5}}); err == nil || !strings.Contains(err.Error(), "of generation 5") {
			t.Errorf("of the same generation: %v", err)
		}
	})
}

// A commit that fails leaves the old shards in force, everywhere; the next attempt succeeds.
func TestPartCommitFails(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Rate: 50}, 4, []int{0, 2}, []int{1, 3})
		p.fails = 2
		p.reshard(6)
		p.members[0].begin(0, 2, 4)
		p.members[1].begin(1, 3, 5)
		for _, m := range p.members {
			m.wait("a failure", func() bool { return m.engine.Resharding().Failures == 1 })
			if s := m.engine.Resharding(); !strings.Contains(s.Failure, "somebody is against it") {
				t.Errorf("why: %s", s.Failure)
			}
			m.ready(2)
		}
		p.switched()
		for _, m := range p.members {
			if len(m.aborted()) > 0 {
				t.Errorf("aborted: %v", m.aborted())
			}
			for _, ev := range m.sink.all() {
				if ev.Epoch == 0 {
					t.Fatal("an event without an epoch")
				}
			}
		}
		p.check(6)
		if n := p.members[0].srv.Ledger().Summary().Identifies; n != 10 {
			t.Errorf("%d Identifies", n)
		}
	})
}

// An engine that cannot switch says so, and nobody waits for it.
func TestPartAborts(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Rate: 50}, 2, []int{0}, []int{1})
		m, other := p.members[0], p.members[1]
		p.reshard(4)
		m.begin(0, 2)
		m.wait("the comparison", func() bool { return m.engine.Resharding().Stage == engine.ReshardCompares })
		m.store.fail(errors.New("the store is away"))
		other.begin(1, 3)
		for _, m := range p.members {
			m.wait("a failure", func() bool { return m.engine.Resharding().Failures == 1 })
			if s := m.engine.Resharding(); !strings.Contains(s.Failure, "the store is away") {
				t.Errorf("why: %s", s.Failure)
			}
		}
		m.store.fail(nil)
		p.switched()
		if len(m.aborted()) == 0 || len(other.aborted()) > 0 {
			t.Errorf("aborted %v and %v", m.aborted(), other.aborted())
		}
		p.check(4)
	})
}

// A shard is deposed in the overlap: its new ones end, and where another engine has taken it over, begin anew.
func TestPartDeposed(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Guilds: 6}, 4, []int{0, 2}, []int{1, 3})
		m, other := p.members[0], p.members[1]
		p.reshard(6)
		m.begin(0, 2, 4)
		other.begin(1, 3) // and not 5: it is not whole
		m.wait("the comparison", func() bool { return m.engine.Resharding().Stage == engine.ReshardCompares })
		time.Sleep(2 * time.Minute)
		if n := m.withdrawn(); n > 0 {
			t.Errorf("it was not agreed any more, %d times", n)
		}
		synctest.Wait()
		sessions := m.sessions()
		m.engine.Depose(0)
		if r := m.engine.Resharding(); r.Running != 0 {
			t.Errorf("%d new shards run", r.Running)
		}
		sessions[2] = m.remove(2)
		time.Sleep(5 * time.Second)
		for _, s := range m.srv.Ledger().Sessions() {
			if s.Count == 6 && s.Shard%2 == 0 && s.End != sim.EndClient {
				t.Errorf("the session of new shard %d: %q", s.Shard, s.End)
			}
		}
		for _, id := range []int{0, 2} {
			from := sessions[id]
			from.Epoch = p.nextEpoch()
			other.add(id, from)
		}
		if n := m.withdrawn(); n != 1 {
			t.Errorf("it was agreed, and withdrawn %d times", n)
		}
		other.begin(0, 2, 4, 5)
		p.switched()
		if len(m.next) != 0 || len(other.next) != 6 {
			t.Errorf("committed with %d and %d shards", len(m.next), len(other.next))
		}
		p.check(6)
	})
}

// A class moves to another engine in the overlap, and back.
func TestPartMoves(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Guilds: 6}, 3, []int{0, 1}, []int{2})
		m, other := p.members[0], p.members[1]
		p.reshard(6)
		m.begin(0, 3, 1, 4)
		m.wait("the comparison", func() bool { return m.engine.Resharding().Stage == engine.ReshardCompares })
		for range 3 {
			time.Sleep(20 * time.Second) // what the first of a session are is compared in vain
			before := m.engine.Resharding().Overlap
			from := m.remove(1)
			time.Sleep(10 * time.Second)
			if now := m.engine.Resharding().Overlap; now.Older+now.Next != before.Older+before.Next {
				t.Errorf("what has left is compared: %+v, and %+v before", now, before)
			}
			from.Epoch = p.nextEpoch()
			other.add(1, from)
			other.begin(1, 4)
			other.wait("the others", func() bool { r := other.engine.Resharding(); return r.Ready == r.Running })
			time.Sleep(3 * time.Second)
			m, other = other, m
		}
		p.members[1].begin(2, 5)
		p.switched()
		for _, id := range classOf(0, 3, 6) {
			if _, ok := p.members[0].next[id]; !ok {
				t.Errorf("new shard %d is not where its class is", id)
			}
		}
		p.check(6)
	})
}

// A new shard whose ownership is not confirmed ends alone, and is begun anew.
func TestPartNextUnconfirmed(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{}, 2, []int{0}, []int{1})
		m, other := p.members[0], p.members[1]
		p.reshard(4)
		p.owners.lose(p.epoch + 2)
		m.begin(0, 2)
		m.wait("the end of one", func() bool { r := m.engine.Resharding(); return r.Ready == 1 && r.Running == 1 })
		m.begin(2)
		other.begin(1, 3)
		p.switched()
		p.check(4)
	})
}

// An engine without shards goes along, and runs what it is given of the new ones.
func TestPartWithoutShards(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{}, 2, []int{0, 1}, nil)
		m, empty := p.members[0], p.members[1]
		var mu sync.Mutex
		var over bool
		g, err := empty.engine.Generation(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-g.Over
			mu.Lock()
			over = true
			mu.Unlock()
		}()
		p.reshard(4)
		m.begin(0, 1, 2, 3)
		p.switched()
		synctest.Wait()
		mu.Lock()
		if !over {
			t.Error("whoever reads commands does not know of it")
		}
		mu.Unlock()
		from := m.remove(3)
		from.Epoch = p.nextEpoch()
		empty.add(3, from)
		empty.ready(1)
		if err := m.engine.Add(t.Context(), 4, resume.Session{}); err == nil {
			t.Error("a shard was added that does not exist")
		}
		// A command for a guild of another engine's shard, from who goes by the count before, goes there.
		guild := uint64(210_000_000_003)<<22 | 7
		var elsewhere *sinks.NotLocalError
		err = m.engine.Send(t.Context(), sinks.Command{Shard: 1, Packet: fmt.Appendf(nil, `{"op":8,"d":{"guild_id":"%d","query":"","limit":1}}`, guild)})
		if !errors.As(err, &elsewhere) || elsewhere.Shard != 3 {
			t.Errorf("a command for another engine's: %v", err)
		}
		p.check(4)
	})
}

// It can be called off in each stage before the switch, and begun again.
func TestPartCalledOff(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{MaxConcurrency: 1}, 2, []int{0}, []int{1})
		m, other := p.members[0], p.members[1]
		for _, stage := range []string{"before any", "connecting", "agreed"} {
			p.reshard(4)
			switch stage {
			case "before any":
				time.Sleep(time.Minute)
			case "connecting":
				m.begin(0, 2)
				other.begin(1, 3)
				m.wait("the first", func() bool { return m.engine.Resharding().Ready == 1 })
			case "agreed":
				m.begin(0, 2)
				m.agrees()
			}
			for _, m := range p.members {
				m.end()
				if err := <-m.done; !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", stage, err)
				}
			}
			p.generation-- // its number is free again
			if n := m.engine.Status(); n.Shards != 2 || n.Ready != 1 || n.Running != 1 {
				t.Errorf("%s: %+v", stage, n)
			}
		}
		time.Sleep(10 * time.Second)
		alive := 0
		for _, s := range m.srv.Ledger().Sessions() {
			if s.End == sim.EndNone {
				alive++
			}
		}
		if alive != 2 {
			t.Errorf("%d sessions are alive", alive)
		}
		p.reshard(4)
		m.begin(0, 2)
		other.begin(1, 3)
		p.switched()
		p.check(4)
	})
}

// It can be done again, and back, while shards move in between.
func TestPartAgain(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Guilds: 6, Rate: 50}, 2, []int{0}, []int{1})
		from := 2
		for _, to := range []int{4, 6, 2} {
			p.reshard(to)
			for i, m := range p.members {
				m.begin(classOf(i, 2, to)...)
			}
			p.switched()
			for _, m := range p.members {
				if n := m.sink.published(int32(p.generation)); n == 0 {
					time.Sleep(5 * time.Second)
					if n := m.sink.published(int32(p.generation)); n == 0 {
						t.Errorf("from %d to %d: no events of generation %d", from, to, p.generation)
					}
				}
			}
			from = to
		}
		p.check(2)
	})
}

// A shard that is deposed at the switch before it is decided fails it; later it does so if the decision is against it.
func TestPartDeposedAtSwitch(t *testing.T) {
	for _, when := range []string{"in the drain", "before a refusal", "before a commit"} {
		t.Run(when, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				p := newParts(t, reader, sim.Options{Guilds: 6}, 2, []int{0, 1}, nil)
				m, other := p.members[0], p.members[1]
				gate := make(chan struct{})
				defer p.members[0].sink.hold(nil)
				var deposed resume.Session
				depose := func() {
					deposed = m.sessions()[1]
					m.engine.Depose(1)
				}
				switch when {
				case "in the drain":
					other.commits = func(context.Context) {
						other.commits = nil
					}
				default:
					m.commits = func(context.Context) {
						m.commits = nil
						depose()
						time.Sleep(time.Second)
					}
					if when == "before a refusal" {
						p.fails = 1
					}
				}
				p.reshard(4)
				m.begin(0, 1, 2, 3)
				if when == "in the drain" {
					m.wait("the comparison", func() bool { return m.engine.Resharding().Stage == engine.ReshardCompares })
					m.store.mu.Lock()
					m.store.gate = gate // the last Save of the old shards waits
					m.store.mu.Unlock()
					m.wait("the switch", func() bool { return m.engine.Resharding().Stage == engine.ReshardSwitches })
					depose()
					m.store.mu.Lock()
					m.store.gate = nil
					m.store.mu.Unlock()
					close(gate)
				}
				if when != "before a commit" {
					m.wait("the failure", func() bool { return m.engine.Resharding().Failures == 1 })
					m.ready(1)
					if r := m.engine.Resharding(); r.Running != 2 {
						t.Errorf("%d new shards run", r.Running)
					}
					if aborted := when == "in the drain"; len(m.aborted()) > 0 != aborted {
						t.Errorf("aborted %v", m.aborted())
					}
					deposed.Epoch = p.nextEpoch()
					other.add(1, deposed)
					other.begin(1, 3)
				}
				p.switched()
				p.check(4)
			})
		})
	}
}

// A decision may take as long as it likes: nothing goes out meanwhile, and nothing is lost.
func TestPartSlowDecision(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Rate: 100}, 2, []int{0}, []int{1})
		m, other := p.members[0], p.members[1]
		other.commits = func(context.Context) {
			other.commits = nil
			n := m.world.sink.count("")
			time.Sleep(2 * time.Minute)
			if more := m.world.sink.count("") - n; more > 0 {
				t.Errorf("%d events meanwhile", more)
			}
			_, removed := other.engine.Remove(t.Context(), 1)
			for what, err := range map[string]error{
				"Add": other.engine.Add(t.Context(), 0, resume.Session{}), "Remove": removed, "Begin": other.engine.Begin(t.Context(), 1, 1),
			} {
				if err == nil || !strings.Contains(err.Error(), "being switched") {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		p.reshard(4)
		m.begin(0, 2)
		other.begin(1, 3)
		p.switched()
		p.check(4)
	})
}

// An engine that ends while it is being decided keeps the sessions of both: it does not know which are in force.
func TestPartStopsUndecided(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{}, 2, []int{0}, []int{1})
		m, other := p.members[0], p.members[1]
		entered, never := make(chan struct{}), make(chan struct{})
		defer close(never)
		other.commits = func(ctx context.Context) {
			close(entered)
			<-ctx.Done()
		}
		p.reshard(4)
		m.begin(0, 2)
		other.begin(1, 3)
		<-entered
		other.stop()
		if err := <-other.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		<-other.done
		kept := 0
		for _, c := range m.srv.Ledger().Closes() {
			if c.FromClient && c.Code == wire.CloseKeepSession {
				kept++
			} else if c.FromClient {
				t.Errorf("closed with %v", c.Code)
			}
		}
		if kept < 3 { // its two new shards, and the old one of before
			t.Errorf("%d sessions are kept", kept)
		}
	})
}

// What Commit was given may be in force by an answer that was lost, or forgotten: it is kept when it is ended later.
func TestPartKeepsCommitted(t *testing.T) {
	for how, end := range map[string]func(m *member){
		"called off":     func(m *member) { m.end() },
		"abandoned":      func(m *member) { m.engine.Abandon(0); m.engine.Abandon(2) },
		"old is deposed": func(m *member) { m.engine.Depose(0) },
	} {
		t.Run(how, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				p := newParts(t, reader, sim.Options{}, 1, []int{0})
				m := p.members[0]
				p.fails = 1
				p.reshard(3)
				m.begin(0, 1, 2)
				m.wait("a failure", func() bool { return m.engine.Resharding().Failures == 1 })
				before := len(m.srv.Ledger().Closes())
				end(m)
				time.Sleep(time.Second)
				kept := 0
				for _, c := range m.srv.Ledger().Closes()[before:] {
					if c.FromClient && c.Code != wire.CloseKeepSession {
						t.Errorf("closed with %v", c.Code)
					} else if c.FromClient {
						kept++
					}
				}
				if kept < 2 {
					t.Errorf("%d sessions are kept", kept)
				}
				m.end()
				<-m.done
			})
		})
	}
}

// An old shard hangs while the others are waited for: its engine does not agree any more, before what Discord has sent meanwhile is
// lost, and does not switch if Switch returns right then.
func TestPartHangingShard(t *testing.T) {
	for _, when := range []string{"waits", "switches"} {
		t.Run(when, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				p := newParts(t, reader, sim.Options{Guilds: 6}, 4, []int{0, 2}, []int{1, 3})
				m, other := p.members[0], p.members[1]
				p.reshard(2)
				m.begin(0)
				m.agrees()
				shown := m.engine.Resharding().Overlap.Next
				if when == "waits" {
					m.srv.Blackhole(2) // an old one alone has this id
					m.wait("the end of the agreement", func() bool { return m.withdrawn() == 1 })
					if state := m.shard(2).State; state != engine.Ready {
						t.Errorf("the shard is found out, and %v", state)
					}
				} else {
					other.switches = func() {
						other.switches = nil
						m.srv.Blackhole(2)
						for m.engine.Resharding().Overlap.Next == shown {
							time.Sleep(10 * time.Millisecond)
						}
					}
				}
				other.begin(1)
				p.switched()
				if why := fmt.Sprint(m.aborted()); when != "waits" && !strings.Contains(why, "have not shown what the new ones have") {
					t.Errorf("aborted %v", why)
				}
				p.check(2)
			})
		})
	}
}

// agrees waits until the engine says that its shards may be switched.
func (m *member) agrees() {
	m.t.Helper()
	m.wait("agreement", func() bool {
		m.p.mu.Lock()
		defer m.p.mu.Unlock()
		return m.p.round.agreed[m]
	})
}

// After a switch that has failed, shards are deposed as before it: nothing more of them is published.
func TestPartDeposedAfterFailure(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{Guilds: 6, Rate: 50}, 2, []int{0, 1}, nil)
		m := p.members[0]
		p.fails = 1
		p.reshard(4)
		m.begin(0, 1, 2, 3)
		m.wait("a failure", func() bool { return m.engine.Resharding().Failures == 1 })
		gate := make(chan struct{})
		m.sink.hold(gate)
		m.ready(2)
		time.Sleep(2 * time.Second)
		of := func(shard int) (n int) {
			for _, ev := range m.sink.all() {
				if ev.Shard == shard {
					n++
				}
			}
			return n
		}
		m.engine.Depose(1)
		deposed, other := of(1), of(0)
		close(gate)
		time.Sleep(2 * time.Second)
		if n := of(1); n != deposed || of(0) == other {
			t.Errorf("%d events of the deposed shard are published, and %d of the other", n-deposed, of(0)-other)
		}
	})
}

// A new shard that loses its session, or its ownership, while it is being decided: what follows is published when it is
// persisted, or is another's.
func TestPartChangesUndecided(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		p := newParts(t, reader, sim.Options{}, 1, []int{0}, nil)
		m := p.members[0]
		m.commits = func(context.Context) {
			m.commits = nil
			m.srv.InvalidSession(1, false)
			p.owners.lose(p.epoch) // of shard 2
			m.srv.Cut(2, true)
			time.Sleep(30 * time.Second)
		}
		persisted := make(chan struct{})
		m.opens = func() {
			m.store.fail(errors.New("the store is away"))
			go func() {
				defer close(persisted)
				time.Sleep(30 * time.Second)
				if n := m.sink.published(6); n > 0 {
					t.Errorf("%d events are published of sessions that are not persisted", n)
				}
				m.store.fail(nil)
			}()
		}
		p.reshard(3)
		m.begin(0, 1, 2)
		p.switched()
		<-persisted
		time.Sleep(10 * time.Second)
		if s := m.engine.Status(); s.Running != 2 || s.Ready != 2 {
			t.Errorf("%d run, %d are ready", s.Running, s.Ready)
		}
		if n := m.sink.published(6); n == 0 {
			t.Error("no events are published")
		}
	})
}

// A command that goes by the count before is known as such by an engine that has begun after that.
func TestCommandOfBeforeGeneration(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		for _, generation := range []int{1, 2} {
			w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4}, engine.Options{Generation: generation, IDs: []int{0, 1}})
			w.ready(2)
			send := func(shard int, guild uint64) error {
				packet := fmt.Appendf(nil, `{"op":8,"d":{"guild_id":"%d","query":"","limit":1}}`, guild<<22|7)
				return w.engine.Send(t.Context(), sinks.Command{Shard: shard, Packet: packet})
			}
			var elsewhere *sinks.NotLocalError
			for i, err := range []error{send(0, 210_000_000_001), send(9, 210_000_000_001), send(0, 210_000_000_003)} {
				switch {
				case generation == 1 && i != 1 && (err == nil || !strings.Contains(err.Error(), "belongs to shard")),
					generation == 1 && i == 1 && (err == nil || !strings.Contains(err.Error(), "does not exist")),
					generation == 2 && i < 2 && err != nil,
					generation == 2 && i == 2 && (!errors.As(err, &elsewhere) || elsewhere.Shard != 3):
					t.Errorf("generation %d, command %d: %v", generation, i, err)
				}
			}
			w.end()
		}
	})
}
