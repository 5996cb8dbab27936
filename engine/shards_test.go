// This file tests shards that come and go while the engine runs.

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
	"sluice/wire"
)

// none are the ids of an engine that starts without shards.
var none = []int{}

// add adds a shard.
func (w *world) add(shard int, from engine.Session) {
	w.t.Helper()
	if err := w.engine.Add(w.t.Context(), shard, from); err != nil {
		w.t.Errorf("Add(%d): %v", shard, err)
	}
}

// remove removes a shard and returns its session.
func (w *world) remove(shard int) engine.Session {
	w.t.Helper()
	s, err := w.engine.Remove(w.t.Context(), shard)
	if err != nil {
		w.t.Errorf("Remove(%d): %v", shard, err)
	}
	return s
}

// last returns the seq of the last event of a shard that the sink has taken.
func (r *recorder) last(shard int) (seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.received {
		if ev.Shard == shard {
			seq = ev.Seq
		}
	}
	return seq
}

// An engine without shards runs on, and takes those that are added.
func TestAdd(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4, Rate: 5}, engine.Options{IDs: none})
		w.wait("the start", func() bool { _, _, err := w.engine.Shards(t.Context()); return err == nil })
		time.Sleep(time.Hour)
		for _, id := range []int{2, 0, 3} {
			w.add(id, engine.Session{})
		}
		if _, ids, _ := w.engine.Shards(t.Context()); !slices.Equal(ids, []int{0, 2, 3}) {
			t.Errorf("the engine runs %v", ids)
		}
		w.ready(3)
		if err := w.engine.Add(t.Context(), 2, engine.Session{}); err == nil {
			t.Error("one shard was added twice")
		}
		var wrong *engine.ShardIDError
		for _, id := range []int{-1, 4} {
			if err := w.engine.Add(t.Context(), id, engine.Session{}); !errors.As(err, &wrong) {
				t.Errorf("Add(%d): %v", id, err)
			}
		}
		w.add(1, engine.Session{})
		w.ready(4)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(4, 0)
		sound(t, w)
		whole(t, w.end())
		if err := w.engine.Add(t.Context(), 1, engine.Session{}); !errors.Is(err, sinks.ErrStopped) {
			t.Errorf("Add after the end: %v", err)
		}
	})
}

// Remove returns when the sink has acknowledged the last event, with what continues there: nothing is lost
// and nothing published twice. Commands for the shard are refused from the beginning. Other shards go on.
func TestRemoveDrains(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 50_000}, engine.Options{})
		w.ready(2)
		time.Sleep(time.Minute)
		gate := make(chan struct{})
		w.sink.hold(gate)
		time.Sleep(5 * time.Second)
		var session engine.Session
		removed := make(chan struct{})
		go func() {
			defer close(removed)
			session = w.remove(0)
		}()
		time.Sleep(20 * time.Second)
		var elsewhere *sinks.NotLocalError
		command := sinks.Command{Shard: 0, Packet: []byte(`{"op":31,"d":{"guild_ids":["1"]}}`)}
		if err := w.engine.Send(t.Context(), command); !errors.As(err, &elsewhere) || elsewhere.Shard != 0 {
			t.Errorf("Send while the shard is removed: %v", err)
		}
		select {
		case <-removed:
			t.Fatal("removed although the sink has not acknowledged its events")
		default:
		}
		if got, ok := w.sessions()[0]; !ok || got.Seq > w.sink.last(0) {
			t.Errorf("the checkpoint is %d (%v), the sink has %d", got.Seq, ok, w.sink.last(0))
		}
		if n := w.srv.Connected(); n != 1 {
			t.Errorf("%d connections while one shard of two drains", n)
		}
		close(gate)
		<-removed
		if last := w.sink.last(0); session.ID == "" || session.Seq != last {
			t.Errorf("removed at %+v, the sink has %d", session, last)
		}
		if _, ok := w.sessions()[0]; ok || w.engine.Stats().Shards != 1 {
			t.Errorf("the removed shard is there: %+v", w.engine.Stats())
		}
		if err := w.engine.Send(t.Context(), command); !errors.As(err, &elsewhere) {
			t.Errorf("Send to a removed shard: %v", err)
		}
		if _, err := w.engine.Remove(t.Context(), 0); !errors.As(err, &elsewhere) {
			t.Errorf("Remove of a removed shard: %v", err)
		}
		for _, c := range w.srv.Ledger().Closes() {
			if !c.FromClient || c.Code != wire.CloseKeepSession {
				t.Errorf("closed with %v, by the client %v", c.Code, c.FromClient)
			}
		}
		events := w.engine.Stats().Events
		time.Sleep(20 * time.Second)
		if w.engine.Stats().Events < events+100 {
			t.Error("the other shard stands still")
		}
		w.add(0, session)
		w.ready(2)
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(2, 1)
		if n := w.engine.Stats().Sessions; n != 2 {
			t.Errorf("%d sessions counted", n)
		}
		sound(t, w)
		whole(t, w.end())
	})
}

// entrySink is a recorder that counts the events of each shard as they are given to it.
type entrySink struct {
	*recorder
	given sync.Map // shard: count
}

func (s *entrySink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	for _, ev := range batch {
		s.given.Store(ev.Shard, s.count(ev.Shard)+1)
	}
	return s.recorder.Publish(ctx, batch, acked)
}

func (s *entrySink) count(shard int) int {
	n, _ := s.given.Load(shard)
	count, _ := n.(int)
	return count
}

// Nothing of a deposed shard is given to the sink any more, and no checkpoint of it is seen. Its connection ends
// without a close frame. Others are published, and the id can be added again.
func TestDepose(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		sink := &entrySink{recorder: new(recorder)}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 50_000}, engine.Options{Sink: sink})
		w.sink = sink.recorder
		w.ready(2)
		time.Sleep(time.Minute)
		gate := make(chan struct{})
		w.sink.hold(gate)
		time.Sleep(10 * time.Second) // 200 events of each shard wait
		session := w.sessions()[0]
		w.engine.Depose(0)
		if _, ok := w.sessions()[0]; ok {
			t.Error("a deposed shard has a checkpoint")
		}
		w.engine.Depose(0) // there is none
		time.Sleep(time.Second)
		if n := w.srv.Connected(); n != 1 {
			t.Errorf("%d connections", n)
		}
		given, other := sink.count(0), sink.count(1)
		close(gate)
		time.Sleep(10 * time.Second)
		if n := sink.count(0); n != given {
			t.Errorf("%d events of a deposed shard", n-given)
		}
		if n := sink.count(1); n < other+200 {
			t.Errorf("%d events of the other shard", n-other)
		}
		for _, c := range w.srv.Ledger().Closes() {
			if c.FromClient || c.Code != wire.CloseAbnormal {
				t.Errorf("closed with %v, by the client %v", c.Code, c.FromClient)
			}
		}
		w.add(0, session) // published again are the events that the sink had and had not acknowledged
		w.ready(2)
		w.srv.Silence()
		r := w.quiet()
		if r.Lost+r.Abandoned+r.Unknown > 0 {
			t.Errorf("%v", r)
		}
		w.wantSummary(2, 1)
		for id := range w.engine.Sessions() {
			if w.engine.Depose(1); id == 1 {
				t.Error("a shard that was deposed while the sessions were read has a checkpoint")
			}
		}
		w.end()
	})
}

// Remove while the shard waits for room in the queue: it waits for the sink, and may be
// asked again when its time was too short.
func TestRemoveWhileQueueIsFull(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10, Readers: 1})
		w.ready(2)
		w.quiet()
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.srv.Burst(0, 5_000)
		w.srv.Burst(1, 5_000)
		w.wait("a full queue", w.engine.Full)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if s, err := w.engine.Remove(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Remove: %+v, %v", s, err)
		}
		if err := w.engine.Add(t.Context(), 0, engine.Session{}); err == nil {
			t.Error("a shard was added that is not drained")
		}
		close(gate)
		session := w.remove(0)
		if last := w.sink.last(0); session.Seq != last {
			t.Errorf("removed at %d, the sink has %d", session.Seq, last)
		}
		w.add(0, session)
		w.wait("the bursts", func() bool { return w.sink.count("TYPING_START") == 10_000 })
		whole(t, w.quiet())
		w.wantSummary(2, 1)
		whole(t, w.end())
	})
}

// Of shards that wait for room the first is deposed; it does not keep the others waiting.
func TestDeposeWhileQueueIsFull(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 50_000}, engine.Options{QueueBytes: 64 << 10, Readers: 1})
		w.ready(2)
		w.quiet()
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.srv.Burst(0, 5_000)
		w.wait("a full queue", w.engine.Full)
		w.srv.Burst(1, 5_000)
		time.Sleep(time.Minute)
		w.engine.Depose(0)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := w.engine.Left().Paused; n != 1 {
			t.Errorf("%d shards wait for room, want the other one", n)
		}
		close(gate)
		of := func(shard int) (n int) {
			w.sink.mu.Lock()
			defer w.sink.mu.Unlock()
			for _, ev := range w.sink.received {
				if ev.Shard == shard && ev.Type == "TYPING_START" {
					n++
				}
			}
			return n
		}
		w.wait("the other burst", func() bool { return of(1) == 5_000 })
		if n := of(0); n > 1000 {
			t.Errorf("%d events of the deposed shard", n)
		}
		w.end()
	})
}

// A shard is removed in each state on the way to READY: at once, and with its place in the identify queue.
func TestRemoveWhileConnecting(t *testing.T) {
	for _, state := range []engine.State{engine.IdentifyQueued, engine.Connecting, engine.Hello, engine.IdentifyWait, engine.Identifying, engine.Backoff} {
		for _, how := range []string{"remove", "depose"} {
			t.Run(fmt.Sprint(how, " in ", state), func(t *testing.T) {
				onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
					so := sim.Options{Shards: 3, ReadyDelay: time.Second}
					switch state {
					case engine.Hello:
						so.Faults.Script = []sim.Rule{{When: sim.BeforeHello, Times: 1, Do: sim.Action{Kind: sim.HalfOpen}}}
					case engine.Backoff:
						so.Faults.Script = []sim.Rule{{When: sim.BeforeHello, Times: 1, Do: sim.Action{Kind: sim.CutFIN}}}
					}
					w := newWorld(t, reader, so, engine.Options{IDs: none})
					reached, once := make(chan struct{}), new(sync.Once)
					w.hook(func(shard int, to engine.State) {
						if shard == 1 && to == state {
							once.Do(func() { close(reached) })
						}
					})
					if state == engine.IdentifyQueued || state == engine.IdentifyWait {
						w.add(0, engine.Session{}) // which has the turn first, and its window
					}
					if state == engine.Connecting {
						w.srv.SetGateway(sim.GateSilent)
					}
					w.add(1, engine.Session{})
					<-reached
					synctest.Wait()
					began := time.Now()
					if how == "remove" {
						if s := w.remove(1); s != (engine.Session{}) {
							t.Errorf("removed with %+v", s)
						}
					} else {
						w.engine.Depose(1)
						w.add(1, engine.Session{}) // waits until it is gone
						w.engine.Depose(1)
					}
					if took := time.Since(began); took > 1100*time.Millisecond {
						t.Errorf("after %v", took)
					}
					w.srv.SetGateway(sim.GateOpen)
					w.add(2, engine.Session{})
					w.wait("the others", func() bool { n := w.engine.Stats(); return n.Ready == n.Shards })
					if took := time.Since(began); took > 12*time.Second {
						t.Errorf("the next one has waited for %v", took)
					}
					for _, id := range w.srv.Ledger().Identifies() {
						if id.Shard == 1 && state != engine.Identifying {
							t.Error("a removed shard has identified")
						}
					}
					sound(t, w)
					w.end()
				})
			})
		}
	}
}

// Shards come and go a thousand times: no goroutine, slot, place in a queue or session is left behind.
func TestShardsComeAndGo(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4, Rate: 1, ReplayLimit: 50_000, ReplayAge: 10 * time.Hour, SessionTTL: time.Hour}, engine.Options{IDs: none, Readers: 2})
		sessions := make([]engine.Session, 4)
		var goroutines int
		for round := range 250 {
			for id := range sessions {
				w.add(id, sessions[id])
			}
			w.ready(4)
			for id := range sessions {
				if (round+id)%4 == 0 {
					synctest.Wait() // the sink has acknowledged what it has
					sessions[id] = w.sessions()[id]
					w.engine.Depose(id)
				} else {
					sessions[id] = w.remove(id)
				}
			}
			time.Sleep(2 * time.Second) // the peers close
			synctest.Wait()
			if round == 10 {
				goroutines = runtime.NumGoroutine()
			}
		}
		if n := runtime.NumGoroutine(); n > goroutines+20 { // those of the simulator come and go, too
			t.Errorf("%d goroutines, after ten rounds there were %d", n, goroutines)
		}
		if left := w.engine.Left(); left != (engine.LeftBehind{Slots: left.Slots}) || left.Slots > 4 {
			t.Errorf("left behind: %+v", left)
		}
		if n := w.srv.Connected(); n != 0 {
			t.Errorf("%d connections", n)
		}
		for id := range sessions {
			w.add(id, sessions[id])
		}
		w.ready(4)
		w.srv.Silence()
		whole(t, w.quiet())
		if s := w.srv.Ledger().Summary(); s.Identifies != 4 {
			t.Errorf("%d identifies", s.Identifies)
		}
		whole(t, w.end())
	})
}

// Whatever happens to the connections, shards that move lose nothing.
func TestShardsMoveThroughFaults(t *testing.T) {
	seeds := 5
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				const shards = 6
				w := newWorld(t, reader, sim.Options{
					Shards: shards, MaxConcurrency: 2, Rate: 10, ReplayLimit: 50_000, SessionTTL: time.Hour, Seed: uint64(seed),
					Faults: sim.Faults{Seed: uint64(seed), EveryEvents: 300, Kinds: sim.Kinds(sim.CutFIN, sim.CutRST, sim.Reconnect, sim.SplitWrites, sim.SwallowACKs)},
				}, engine.Options{QueueBytes: 64 << 10, IDs: none})
				r := rand.New(rand.NewPCG(uint64(seed), 1))
				var movers sync.WaitGroup
				for id := range shards {
					pauses := rand.New(rand.NewPCG(r.Uint64(), 1))
					movers.Go(func() {
						var session engine.Session
						for range 20 {
							w.add(id, session)
							time.Sleep(time.Duration(pauses.IntN(20_000)) * time.Millisecond)
							session = w.remove(id)
							time.Sleep(time.Duration(pauses.IntN(1000)) * time.Millisecond)
						}
						w.add(id, session)
					})
				}
				movers.Wait()
				w.srv.Calm()
				w.ready(shards)
				w.srv.Silence()
				whole(t, w.quiet())
				sound(t, w)
				whole(t, w.end())
			})
		})
	}
}

// grants is an IdentifyQueue that gives the turns that the test gives.
type grants struct {
	mu      sync.Mutex
	waiting map[int]func()
	spent   []int
	left    int // calls of Leave
}

func (g *grants) Join(shard int, granted func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting[shard] = granted
}

func (g *grants) Leave(shard int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left++
	delete(g.waiting, shard)
}

func (g *grants) NotBefore(int) time.Time { return time.Time{} }

func (g *grants) Spend(shard int, _ time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent = append(g.spent, shard)
}

func (g *grants) Left() int { return 1000 }

// waits reports whether the shard waits for a turn.
func (g *grants) grant(shard int) bool {
	g.mu.Lock()
	granted := g.waiting[shard]
	g.mu.Unlock()
	if granted == nil {
		return false
	}
	granted()
	return true
}

// The turns to Identify may be others' to give.
func TestIdentifyQueueOfOthers(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		g := &grants{waiting: make(map[int]func())}
		w := newWorld(t, reader, sim.Options{Shards: 3, MaxConcurrency: 3}, engine.Options{Identify: g})
		time.Sleep(time.Hour)
		if n := w.dialed(); n > 0 {
			t.Errorf("%d connections without a turn", n)
		}
		w.remove(1)
		for _, tt := range []struct {
			shard int
			waits bool
		}{{2, true}, {1, false}, {0, true}} {
			if g.grant(tt.shard) != tt.waits {
				t.Errorf("shard %d waits: want %v", tt.shard, tt.waits)
			}
			time.Sleep(10 * time.Second)
		}
		w.ready(2)
		if !slices.Equal(g.spent, []int{2, 0}) {
			t.Errorf("identified: %v", g.spent)
		}
		w.end()
	})
}
