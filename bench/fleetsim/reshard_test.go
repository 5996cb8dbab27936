// This file has whole fleets get another shard count, in fake time, while members die, come and go: the real engines and
// fleets, the simulated Discord, and a broker that refuses nothing.

package fleetsim

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/fleet"
	"sluice/fleet/fleettest"
	"sluice/fleet/memory"
	"sluice/internal/fleetengine"
	"sluice/resume"
	"sluice/sinks"
)

// reshardWorld is a bot whose sessions have their traffic in common, and its fleet.
type reshardWorld struct {
	t     *testing.T
	srv   *sim.Server
	net   *sim.Network
	table *memory.Coordinator
	sink  *commonSink
	log   *slog.Logger
	text  syncBuffer
	all   []*reshardMember
	runs  sync.WaitGroup

	once      sync.Once
	switching chan struct{} // closed when the first member prepares what it will own
	slow      time.Duration // that it waits before that
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// commonSink is a consumer of what all members publish, which drops what it has of a session.
type commonSink struct {
	mu     sync.Mutex
	hashes []uint64
	gaps   int
	last   map[string]int64 // sequence number of each session
}

func (s *commonSink) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	s.mu.Lock()
	for i := range batch {
		if batch[i].Gap {
			s.gaps++
			continue
		}
		if s.last == nil {
			s.last = make(map[string]int64)
		}
		if batch[i].Seq <= s.last[batch[i].Session] {
			continue
		}
		s.last[batch[i].Session] = batch[i].Seq
		s.hashes = append(s.hashes, sim.Hash(batch[i].Data))
	}
	s.mu.Unlock()
	acked(len(batch))
	return nil
}

func (s *commonSink) Close() error { return nil }

// reshardMember is a process of it.
type reshardMember struct {
	fleet       *fleet.Fleet
	engine      *engine.Engine
	queue       *fleet.Queue
	term, leave context.CancelFunc
	ended       chan struct{}
	failed      error
}

func newReshardWorld(t *testing.T, shards int) *reshardWorld {
	w := &reshardWorld{t: t, net: new(sim.Network), table: memory.New(nil), sink: new(commonSink), switching: make(chan struct{})}
	w.log = slog.New(slog.NewTextHandler(&w.text, nil))
	var err error
	w.srv, err = sim.New(sim.Options{
		Listen: w.net.Listen, Shards: shards, MaxConcurrency: 16, Guilds: 3, LargeEvery: -1, LargeEvents: -1,
		Rate: 20, Common: true, Hold: true, CommonSkew: 300 * time.Millisecond, ReplayLimit: 100_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range w.all {
			m.leave()
			m.term()
		}
		w.runs.Wait()
		w.srv.Close()
		if t.Failed() {
			t.Log(w.text.b.String())
		}
	})
	return w
}

// onCall is called before each call of the coordinator.
func (w *reshardWorld) onCall(method string) fleettest.Fault {
	if method == "Prepare" {
		first := false
		w.once.Do(func() { first = true })
		if first {
			close(w.switching)
			time.Sleep(w.slow)
		}
	}
	return fleettest.Fault{}
}

// start starts a process, whose settings have so many shards.
func (w *reshardWorld) start(name string, shards int) *reshardMember {
	w.t.Helper()
	m := &reshardMember{ended: make(chan struct{})}
	log := w.log.With("member", name)
	var keeper *resume.Keeper
	m.fleet = fleet.New(fleet.Options{
		Coordinator: &fleettest.Faulty{Coordinator: w.table, Choose: w.onCall}, Member: fleet.Member{Name: name},
		Plan:       fleet.Plan{Shards: shards, Intents: uint64(intents), Format: "rabbitmq"},
		Session:    func(shard int, c resume.Checkpoint) resume.Session { return keeper.Resumes(shard, c) },
		Checkpoint: func(shard int, s resume.Session) resume.Checkpoint { return keeper.Checkpoint(shard, s) },
		Rules:      fleet.Rules{Settle: 5 * time.Second},
		Log:        log,
	})
	m.queue = m.fleet.Queue()
	keeper = &resume.Keeper{Store: m.fleet.Store(), Bot: 1, Intents: intents, Log: log}
	plan, err := m.fleet.Join(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	m.engine, err = engine.New(engine.Options{
		Token: "sim-token", GatewayURL: w.srv.GatewayURL(), GatewayHosts: []string{"gateway", "resume"}, DialContext: w.net.DialContext,
		Intents: intents, Shards: plan.Shards, Generation: plan.Generation, IDs: []int{}, Gaps: true, Checkpoints: keeper,
		Sink: fleet.Hold(w.sink, m.fleet.Trusted, m.fleet.Owns, log), Identify: m.queue, Confirm: m.fleet.Confirm, Trusted: m.fleet.Trusted, Log: log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var member context.Context
	member, m.leave = context.WithCancel(context.Background())
	working, stop := context.WithCancel(context.Background())
	m.term = sync.OnceFunc(func() {
		soon, cancel := context.WithTimeout(working, 10*time.Second)
		defer cancel()
		m.fleet.Drain(soon)
		stop()
	})
	w.runs.Go(func() {
		defer close(m.ended)
		var parts sync.WaitGroup
		parts.Go(func() {
			m.failed = m.fleet.Run(member, fleetengine.Engine{Engine: m.engine})
			stop()
		})
		parts.Go(func() { m.queue.Run(member) })
		m.engine.Run(working)
		m.leave()
		parts.Wait()
	})
	if len(w.all) == 0 {
		w.wait("the coordinator's time", func() bool { return !m.fleet.Time().IsZero() })
		b := fleet.Budget{Total: 1000, Remaining: 1000, Reset: time.Now().Add(24 * time.Hour), Concurrency: 16}
		if err := w.table.Budget(w.t.Context(), b, m.fleet.Time()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.all = append(w.all, m)
	return m
}

// wait waits until something holds.
func (w *reshardWorld) wait(what string, holds func() bool) {
	w.t.Helper()
	for range 12_000 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i, m := range w.all {
		w.t.Logf("member %d: %+v, %+v", i, m.fleet.Resharding(), m.engine.Resharding())
	}
	w.t.Fatalf("not within ten minutes: %s", what)
}

// ready reports whether so many shards are, of all members that run, with that count.
func (w *reshardWorld) ready(shards int) bool {
	ready, running := 0, 0
	for _, m := range w.all {
		select {
		case <-m.ended:
			continue
		default:
		}
		s := m.engine.Status()
		if s.Shards != shards {
			return false
		}
		ready, running = ready+s.Ready, running+s.Running
	}
	return ready == shards && running == shards
}

// spread reports whether all members have shards.
func (w *reshardWorld) spread() bool {
	for _, m := range w.all {
		if m.engine.Status().Running == 0 {
			return false
		}
	}
	return true
}

// check ends the traffic, and compares what each guild's consumers have got with what has happened in it.
func (w *reshardWorld) check() {
	w.t.Helper()
	time.Sleep(5 * time.Second)
	w.srv.Silence()
	time.Sleep(15 * time.Second)
	synctest.Wait()
	want, got, guild := map[int][]uint64{}, map[int][]uint64{}, map[uint64]int{}
	all := w.srv.Ledger().Common()
	for _, e := range all {
		want[e.Guild] = append(want[e.Guild], e.Hash)
		guild[e.Hash] = e.Guild
	}
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	for _, h := range w.sink.hashes {
		if g, ok := guild[h]; ok {
			got[g] = append(got[g], h)
		}
	}
	if len(all) < 1000 || w.sink.gaps > 0 {
		w.t.Errorf("%d events in all, %d gaps", len(all), w.sink.gaps)
	}
	for g := range want {
		for i := range max(len(want[g]), len(got[g])) {
			if i >= len(want[g]) || i >= len(got[g]) || want[g][i] != got[g][i] {
				w.t.Fatalf("guild %d: event %d of %d differs, of %d that arrived", g, i, len(want[g]), len(got[g]))
			}
		}
	}
}

// A fleet gets another shard count, and another, while nothing happens to it.
func TestReshardFleet(t *testing.T) {
	for _, c := range []struct{ members, from, to int }{{2, 2, 4}, {2, 4, 6}, {3, 6, 4}, {2, 3, 2}} {
		t.Run(fmt.Sprintf("%d members, %d to %d", c.members, c.from, c.to), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newReshardWorld(t, c.from)
				for i := range c.members {
					w.start(fmt.Sprint("m", i), c.from)
				}
				w.wait("all shards", func() bool { return w.ready(c.from) && w.spread() })
				time.Sleep(20 * time.Second)
				w.srv.Play()
				time.Sleep(5 * time.Second)
				if err := w.all[0].fleet.Reshard(t.Context(), c.to); err != nil {
					t.Fatal(err)
				}
				w.wait("the new count", func() bool { return w.ready(c.to) })
				time.Sleep(10 * time.Second)
				if err := w.all[1].fleet.Reshard(t.Context(), c.from); err != nil {
					t.Fatal(err)
				}
				w.wait("the old count again", func() bool { return w.ready(c.from) })
				w.check()
				for i, m := range w.all {
					if m.failed != nil {
						t.Errorf("member %d: %v", i, m.failed)
					}
				}
			})
		})
	}
}

// depose deposes a member, as another does that takes it for dead.
func (w *reshardWorld) depose(m *reshardMember) {
	w.t.Helper()
	name := m.fleet.Incarnation()
	for range 100 {
		v, err := w.table.Look(w.t.Context(), 0)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range v.Members {
			if o.Incarnation == name && w.table.Depose(w.t.Context(), name, o.Beat) == nil {
				return
			}
		}
	}
	w.t.Fatal("the member cannot be deposed")
}

// In the middle of it a member is deposed and joins again, ends, or another one joins, in each stage; or it is called off, and begun again.
func TestReshardFleetChanges(t *testing.T) {
	for _, stage := range []string{"connecting", "comparing", "switching", "in force"} {
		for _, what := range []string{"deposed", "ends", "joins", "called off"} {
			t.Run(what+" when it is "+stage, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const from, to = 4, 6
					w := newReshardWorld(t, from)
					w.slow = time.Second
					first, second := w.start("m0", from), w.start("m1", from)
					w.start("m2", from)
					w.wait("all shards", func() bool { return w.ready(from) && w.spread() })
					time.Sleep(20 * time.Second)
					w.srv.Play()
					time.Sleep(5 * time.Second)
					if err := first.fleet.Reshard(t.Context(), to); err != nil {
						t.Fatal(err)
					}
					w.wait(stage, func() bool {
						r := first.fleet.Resharding()
						switch stage {
						case "connecting":
							return r.Ready > 0
						case "comparing":
							return r.Agreed > 0
						case "switching":
							select {
							case <-w.switching:
								return true
							default:
								return false
							}
						}
						return first.engine.Status().Shards == to
					})
					switch what {
					case "deposed":
						w.depose(second)
					case "ends":
						go second.term()
					case "joins":
						w.start("m3", from)
					case "called off":
						err := first.fleet.CallOff(t.Context())
						if stage == "in force" {
							if err == nil {
								t.Error("it is called off, and in force")
							}
							break
						}
						if err != nil {
							t.Fatal(err)
						}
						w.wait("the end of it", func() bool { return first.fleet.Resharding().Stage == fleet.ReshardNone && w.ready(from) })
						time.Sleep(20 * time.Second)
						if err := second.fleet.Reshard(t.Context(), to); err != nil {
							t.Fatal(err)
						}
					}
					w.wait("the new count", func() bool { return w.ready(to) })
					w.check()
					for i, m := range w.all {
						if m.failed != nil {
							t.Errorf("member %d: %v", i, m.failed)
						}
					}
				})
			})
		}
	}
}

// A member dies when both agree, and the session starts do not do for new shards once more: it is called off, and nothing is lost.
func TestReshardFleetStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const from, to = 2, 6
		w := newReshardWorld(t, from)
		first, second := w.start("m0", from), w.start("m1", from)
		w.wait("all shards", func() bool { return w.ready(from) && w.spread() })
		time.Sleep(20 * time.Second)
		w.srv.Play()
		time.Sleep(5 * time.Second)
		b := fleet.Budget{Total: 1000, Remaining: to + 1, Reset: time.Now().Add(24 * time.Hour), Concurrency: 16}
		if err := w.table.Budget(t.Context(), b, first.fleet.Time()); err != nil {
			t.Fatal(err)
		}
		if err := first.fleet.Reshard(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		w.wait("comparing", func() bool { return first.fleet.Resharding().Ready == to })
		w.depose(second)
		w.wait("the end of it", func() bool { return first.fleet.Resharding().Stage == fleet.ReshardNone })
		if s := first.fleet.Resharding(); !strings.Contains(s.Failure, "no session starts are left") {
			t.Errorf("the status: %+v", s)
		}
		w.wait("the old shards", func() bool { return w.ready(from) && w.spread() })
		w.check()
	})
}
