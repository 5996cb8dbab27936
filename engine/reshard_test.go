// This file tests that a bot gets another shard count without a gap.

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

// replaced are checkpoints that can be replaced as a whole.
type replaced struct {
	*checkpoints
	shards   int                       // of the last Replace
	failures int                       // of the next calls of Replace
	all      map[int]resume.Session    // of the last that did not fail
	in       func(ctx context.Context) // within Replace
}

// fail has Save fail from now on, or not any more.
func (c *replaced) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *replaced) Replace(ctx context.Context, shards int, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error {
	got := maps.Collect(snapshots)
	if c.in != nil {
		c.in(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures > 0 {
		c.failures--
		return errors.New("the store is on fire")
	}
	c.shards, c.all, c.kept = shards, got, got
	return nil
}

// reshardWorld is a world whose sessions have their traffic in common.
func reshardWorld(t *testing.T, reader engine.ReaderKind, shards int, so sim.Options, eo engine.Options) *world {
	so.Shards, so.Common, so.Hold = shards, true, true
	if so.Rate == 0 {
		so.Rate = 20
	}
	so.CommonSkew, so.ReplayLimit = 300*time.Millisecond, 100_000
	if so.MaxConcurrency == 0 {
		so.MaxConcurrency = 16
	}
	w := newWorld(t, reader, so, eo)
	w.twice = true
	w.ready(shards)
	time.Sleep(10 * time.Second) // guilds that come later
	w.srv.Play()
	return w
}

// asGenerated compares what each guild's consumers got with what happened in it.
func (w *world) asGenerated() {
	w.t.Helper()
	want, got, guild := map[int][]uint64{}, map[int][]uint64{}, map[uint64]int{}
	all := w.srv.Ledger().Common()
	for _, e := range all {
		want[e.Guild] = append(want[e.Guild], e.Hash)
		guild[e.Hash] = e.Guild
	}
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	for _, ev := range w.sink.received {
		if g, ok := guild[ev.Hash]; ok {
			got[g] = append(got[g], ev.Hash)
		}
	}
	if len(all) < 200 {
		w.t.Errorf("%d events in all", len(all))
	}
	for g := range want {
		for i := range max(len(want[g]), len(got[g])) {
			if i >= len(want[g]) || i >= len(got[g]) || want[g][i] != got[g][i] {
				w.t.Fatalf("guild %d: event %d of %d differs, of %d that arrived", g, i, len(want[g]), len(got[g]))
			}
		}
	}
}

// settle ends the traffic, and waits until all of it has arrived.
func (w *world) settle() {
	w.srv.Silence()
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func TestReshard(t *testing.T) {
	for _, c := range []struct{ from, to int }{{4, 8}, {6, 9}, {8, 3}, {1, 2}} {
		t.Run(fmt.Sprintf("%d to %d", c.from, c.to), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				store := &replaced{checkpoints: new(checkpoints)}
				w := reshardWorld(t, reader, c.from, sim.Options{Guilds: 6}, engine.Options{Checkpoints: store})
				time.Sleep(5 * time.Second)
				if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: c.to}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				w.settle()
				w.asGenerated()
				s := w.engine.Status()
				if s.Shards != c.to || s.Running != c.to || s.Ready != c.to {
					t.Errorf("%d of %d shards run, %d are ready", s.Running, s.Shards, s.Ready)
				}
				if r := w.engine.Resharding(); r.Stage != engine.ReshardNone {
					t.Errorf("it is still %s", r.Stage)
				}
				if n := w.srv.Ledger().Summary().Identifies; n != c.from+c.to {
					t.Errorf("%d Identifies", n)
				}
				if store.shards != c.to || len(store.all) != c.to {
					t.Errorf("the store has %d sessions of %d shards", len(store.all), store.shards)
				}
				for id, ses := range w.sessions() {
					if ses.Shards != c.to || ses.ID == "" {
						t.Errorf("shard %d would resume %+v", id, ses)
					}
				}
				for _, r := range w.sink.received {
					if r.Type == "GATEWAY_GAP" {
						t.Error("a gap is reported")
					}
				}
				sound(t, w)
			})
		})
	}
}

// TestReshardAgain shows that it can be done twice, and back.
func TestReshardAgain(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 2, sim.Options{Guilds: 6, Rate: 50}, engine.Options{})
		for _, n := range []int{4, 6, 2} {
			if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: n}); err != nil {
				t.Fatal(err)
			}
		}
		w.settle()
		w.asGenerated()
		if s := w.engine.Status(); s.Running != 2 || s.Ready != 2 {
			t.Errorf("%d run, %d are ready", s.Running, s.Ready)
		}
	})
}

// TestReshardCalledOff shows that nothing changes then, and that the new sessions end.
func TestReshardCalledOff(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		store := &replaced{checkpoints: new(checkpoints)}
		w := reshardWorld(t, reader, 4, sim.Options{MaxConcurrency: 1}, engine.Options{Checkpoints: store})
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 8}) }()
		w.wait("some of the new shards", func() bool { return w.engine.Resharding().Ready >= 3 })
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}); err == nil {
			t.Error("two at a time")
		}
		if err := w.engine.CallOff(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, engine.ErrCalledOff) {
			t.Fatalf("it ended with %v", err)
		}
		if err := w.engine.CallOff(); err == nil {
			t.Error("it can be called off twice")
		}
		time.Sleep(20 * time.Second)
		w.settle()
		w.asGenerated()
		if s := w.engine.Status(); s.Shards != 4 || s.Running != 4 || s.Ready != 4 {
			t.Errorf("%d of %d run, %d are ready", s.Running, s.Shards, s.Ready)
		}
		alive := 0
		for _, s := range w.srv.Ledger().Sessions() {
			if s.Count == 8 && s.End != sim.EndClient {
				t.Errorf("the session of new shard %d: %q", s.Shard, s.End)
			}
			if s.End == sim.EndNone {
				alive++
			}
		}
		if alive != 4 || store.shards != 0 {
			t.Errorf("%d sessions are alive; stored are %d shards", alive, store.shards)
		}
	})
}

// TestReshardTakenBack has the store fail at the switch: the old shards resume, and it is tried again.
func TestReshardTakenBack(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		store := &replaced{checkpoints: new(checkpoints), failures: 4}
		w := reshardWorld(t, reader, 4, sim.Options{Rate: 50}, engine.Options{Checkpoints: store})
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}) }()
		w.wait("a failure", func() bool { return w.engine.Resharding().Failures == 1 })
		if s := w.engine.Resharding(); !strings.Contains(s.Failure, "on fire") {
			t.Errorf("why: %s", s.Failure)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.asGenerated()
		if n := w.srv.Ledger().Summary().Identifies; n != 10 {
			t.Errorf("%d Identifies", n)
		}
		if s := w.engine.Status(); s.Shards != 6 || s.Ready != 6 {
			t.Errorf("%d of %d shards are ready", s.Ready, s.Shards)
		}
	})
}

// TestReshardSinkAway has the sink take nothing at the switch, for longer than the switch may take.
func TestReshardSinkAway(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 4, sim.Options{Rate: 50}, engine.Options{})
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}) }()
		w.wait("the comparison", func() bool { return w.engine.Resharding().Stage == engine.ReshardCompares })
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.wait("a failure", func() bool { return w.engine.Resharding().Failures > 0 })
		w.ready(4)
		w.sink.hold(nil)
		close(gate)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.asGenerated()
	})
}

// TestReshardLosesSession has a new session, and then an old one, end in the overlap.
func TestReshardLosesSession(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{})
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}) }()
		w.wait("the comparison", func() bool { return w.engine.Resharding().Stage == engine.ReshardCompares })
		w.srv.InvalidSession(5, false) // a new one alone has this id
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.asGenerated()
		if n := w.srv.Ledger().Summary().Identifies; n != 11 {
			t.Errorf("%d Identifies", n)
		}
	})
}

// TestReshardRefused shows what begins nothing.
func TestReshardRefused(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 4, sim.Options{IdentifyTotal: 20}, engine.Options{StartReserve: 10})
		for shards, want := range map[int]string{4: "already", 0: "no shard count", 15: "15 session starts are needed, and 14 are left"} {
			if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: shards}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("to %d shards: %v", shards, err)
			}
		}
		if n := w.srv.Ledger().Summary().Identifies; n != 4 {
			t.Errorf("%d Identifies", n)
		}
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 14}); err != nil {
			t.Error(err)
		}
	})
}

// TestReshardTooFew has Discord refuse the new shards: the old ones go on.
func TestReshardTooFew(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 4, sim.Options{Guilds: 4, MaxGuildsPerShard: 5}, engine.Options{})
		var fatal *engine.FatalError
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 2}); !errors.As(err, &fatal) || fatal.Code != wire.CloseShardingRequired {
			t.Fatalf("it ended with %v", err)
		}
		time.Sleep(30 * time.Second)
		w.settle()
		w.asGenerated()
		if s := w.engine.Status(); s.Shards != 4 || s.Ready != 4 {
			t.Errorf("%d of %d shards are ready", s.Ready, s.Shards)
		}
	})
}

// TestReshardCommands shows that commands go to the old shards until the switch, and then to the new ones, each once.
func TestReshardCommands(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{})
		stop, ended := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				select {
				case <-stop:
					ended <- n
					return
				case <-time.After(40 * time.Millisecond): // 500 in a minute over all shards
				}
				guild := uint64(210_000_000_000+n%12)<<22 | 7
				c := sinks.Command{Guild: guild, Packet: fmt.Appendf(nil, `{"op":8,"d":{"guild_id":"%d","query":"q%d","limit":1}}`, guild, n)}
				for w.engine.Send(t.Context(), c) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		}()
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		close(stop)
		n := <-ended
		w.wait("the commands", func() bool { return w.engine.Status().Commands.Pending == 0 })
		seen := map[string]int{}
		for _, c := range w.srv.Ledger().Commands() {
			if c.Op == wire.OpRequestGuildMembers {
				seen[string(c.Raw)]++
			}
		}
		if len(seen) != n {
			t.Errorf("%d commands arrived, of %d", len(seen), n)
		}
		for raw, times := range seen {
			if times != 1 {
				t.Errorf("%s arrived %d times", raw, times)
			}
		}
		w.settle()
		w.asGenerated()
	})
}

// TestReshardStopped has the engine end in each stage.
func TestReshardStopped(t *testing.T) {
	for _, at := range []engine.Stage{engine.ReshardConnects, engine.ReshardCompares, engine.ReshardSwitches} {
		t.Run(string(at), func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				store := &replaced{checkpoints: new(checkpoints)}
				entered := make(chan struct{})
				store.in = func(ctx context.Context) {
					close(entered)
					store.in = nil
					time.Sleep(time.Second)
				}
				w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{Checkpoints: store})
				done := make(chan error, 1)
				go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}) }()
				if at == engine.ReshardSwitches {
					<-entered
				} else {
					w.wait("the stage", func() bool { return w.engine.Resharding().Stage == at })
				}
				w.stop()
				if err := <-w.ended; err != nil {
					t.Error(err)
				}
				<-done
				count := 4
				if store.shards == 6 {
					count = 6
				}
				sessions := maps.Clone(store.kept)
				for id, s := range sessions {
					if s.Shards != count {
						t.Errorf("shard %d would resume %+v", id, s)
					}
				}
				w.start(engine.Options{Shards: count, Checkpoints: &replaced{checkpoints: keep(sessions)}})
				w.ready(count)
				time.Sleep(20 * time.Second)
				w.settle()
				w.asGenerated()
			})
		})
	}
}

// An old shard hangs while the generations are compared: they are not switched before it is resumed, or what Discord
// sends again would be lost.
func TestReshardHangingShard(t *testing.T) {
	byTurns(t, 1, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 24, sim.Options{Guilds: 6}, engine.Options{Checkpoints: &replaced{checkpoints: new(checkpoints)}})
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 3}) }()
		w.wait("the comparison", func() bool { return w.engine.Resharding().Stage == engine.ReshardCompares })
		w.srv.Blackhole(23)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.asGenerated()
	})
}

// Generations that differ in more than is tolerated, since one has each event so much later than the other, are not switched,
// and it is said why.
func TestReshardDiffers(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		var logs logLines
		w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{Log: logs.logger()})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- w.engine.Reshard(ctx, engine.ReshardOptions{Shards: 8, Patience: 20 * time.Millisecond})
		}()
		w.wait("the reason", func() bool { return len(logs.lines("differ in more than is tolerated, one event of 20; waiting")) > 0 })
		end()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// Who gives permission to identify is asked for the shard, of whichever generation.
func TestReshardPermitted(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		var mu sync.Mutex
		var asked []int
		w := reshardWorld(t, reader, 2, sim.Options{}, engine.Options{Permit: func(_ context.Context, shard int) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, shard)
			return nil
		}})
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 4}); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(asked)
		if !slices.Equal(asked, []int{0, 0, 1, 1, 2, 3}) {
			t.Errorf("asked for %d", asked)
		}
	})
}

// A store that takes no other sessions at any switch has the resharding called off: no events go out while one fails.
func TestReshardGivesUp(t *testing.T) {
	byTurns(t, 0, func(t *testing.T, reader engine.ReaderKind) {
		store := &replaced{checkpoints: new(checkpoints), failures: 1000}
		w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{Checkpoints: store})
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}); err == nil || !strings.Contains(err.Error(), "6 switches have failed, the last one: the store is on fire") {
			t.Errorf("error %v", err)
		}
		w.settle()
		w.asGenerated()
		if s := w.engine.Status(); s.Shards != 4 || s.Ready != 4 {
			t.Errorf("%d of %d shards are ready", s.Ready, s.Shards)
		}
	})
}

// A store that takes nothing fails the switch before an old shard has stopped.
func TestReshardWithoutStore(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		store := &replaced{checkpoints: new(checkpoints)}
		w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{Checkpoints: store})
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 6}) }()
		w.wait("the comparison", func() bool { return w.engine.Resharding().Stage == engine.ReshardCompares })
		store.fail(errors.New("the store is away"))
		w.wait("a failure", func() bool { return w.engine.Resharding().Failures == 1 })
		if n := w.srv.Ledger().Summary().Resumes; n != 0 {
			t.Errorf("%d shards were stopped, and resumed", n)
		}
		store.fail(nil)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.asGenerated()
	})
}

// The new shards show what the bot has had the old ones show, before they were connected and until the switch.
func TestReshardPresence(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 2, sim.Options{}, engine.Options{Presence: []byte(presenceOf("online")), FollowPresence: true})
		show := func(status string) {
			t.Helper()
			if err := w.engine.Send(t.Context(), sinks.Command{Packet: []byte(`{"op":3,"d":` + presenceOf(status) + `}`)}); err != nil {
				t.Fatal(err)
			}
			w.wait("the command", func() bool {
				sent := w.sentOps(0, wire.OpPresenceUpdate)
				return len(sent) > 0 && strings.Contains(sent[len(sent)-1], status)
			})
		}
		show("idle")
		done := make(chan error, 1)
		go func() { done <- w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 4}) }()
		w.wait("the comparison", func() bool { return w.engine.Resharding().Stage == engine.ReshardCompares })
		if got := w.lastIdentify(3, 1); got != presenceOf("idle") {
			t.Errorf("identified with %s", got)
		}
		show("dnd")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.wait("the presence of the switch", func() bool {
			sent := w.sentOps(3, wire.OpPresenceUpdate)
			return len(sent) == 1 && strings.Contains(sent[0], "dnd")
		})
	})
}

// With fewer shards, a command that names one of those before goes by its guild.
func TestReshardCommandOfBefore(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := reshardWorld(t, reader, 4, sim.Options{}, engine.Options{})
		const guild = uint64(210_000_000_003)<<22 | 7 // of shard 3, and then of 1
		send := func(packet string) error {
			return w.engine.Send(t.Context(), sinks.Command{Shard: 3, Packet: []byte(packet)})
		}
		if err := w.engine.Reshard(t.Context(), engine.ReshardOptions{Shards: 2}); err != nil {
			t.Fatal(err)
		}
		if err := send(fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"","limit":1}}`, guild)); err != nil {
			t.Fatal(err)
		}
		w.wait("the command", func() bool { return len(w.sentOps(1, wire.OpRequestGuildMembers)) == 1 })
		if err := send(`{"op":3,"d":` + presenceOf("idle") + `}`); err == nil || !strings.Contains(err.Error(), "shard 3 does not exist with 2 shards") {
			t.Errorf("a command without a guild: %v", err)
		}
	})
}
