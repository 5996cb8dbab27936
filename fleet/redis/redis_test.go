//go:build unix

// This file tests the coordinator against a real Redis.

package redis

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/fleet"
	"sluice/sinks/redis"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// open returns a coordinator on the server, as the next process opens it.
func open(t testing.TB, address, bot string) *Coordinator {
	t.Helper()
	o, err := redis.NewClientOption([]string{address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ForceSingleClient = true
	c := &Coordinator{Bot: bot, Log: slog.New(slog.DiscardHandler), Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, o) }}
	t.Cleanup(func() { c.Close() })
	return c
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wait waits for a condition.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func member(incarnation string) fleet.Member {
	return fleet.Member{Incarnation: incarnation, Name: "host of " + incarnation, Zone: "z 1", Weight: 2, Beat: 1, Address: "127.0.0.1:80", Version: "v1 é"}
}

func join(t testing.TB, c *Coordinator, incarnations ...string) {
	t.Helper()
	for _, i := range incarnations {
		must[fleet.Plan](t)(c.Join(t.Context(), member(i), plan(16)))
	}
}

func plan(shards int) fleet.Plan {
	return fleet.Plan{Shards: shards, Intents: 1<<63 + 1, Format: "redis json"}
}

// acquire makes an incarnation the owner of shards that nobody has owned.
func acquire(t testing.TB, c *Coordinator, incarnation string, shards ...int) []fleet.Shard {
	t.Helper()
	var want []fleet.Want
	for _, shard := range shards {
		want = append(want, fleet.Want{Shard: shard})
	}
	got := must[[]fleet.Shard](t)(c.Acquire(t.Context(), incarnation, want))
	if len(got) != len(shards) {
		t.Fatalf("%s got %d of %d shards", incarnation, len(got), len(shards))
	}
	return got
}

// Epochs are above the time, and numbers near the end of what Lua can count.
func TestEpochs(t *testing.T) {
	t.Parallel()
	c := open(t, redistest.Start(t).Addr, "bot")
	join(t, c, "a", "b")
	now := must[fleet.View](t)(c.Look(t.Context(), 0)).Now.UnixMilli()
	first := acquire(t, c, "a", 0)[0]
	if first.Owner.Epoch < now {
		t.Errorf("the epoch %d is below the time, %d", first.Owner.Epoch, now)
	}
	const above = 1<<52 + 1
	want := []fleet.Want{{Shard: 1, Above: above}, {Shard: 2, Above: above + 1}}
	got := must[[]fleet.Shard](t)(c.Acquire(t.Context(), "a", want))
	if len(got) != 2 || got[0].Owner.Epoch != above+1 || got[1].Owner.Epoch != above+2 {
		t.Errorf("acquired %v", got)
	}
	o := must[fleet.Owner](t)(c.Give(t.Context(), 1, got[0].Owner, "b"))
	if o.Epoch != above+2 {
		t.Errorf("given as %v", o)
	}
	r := fleet.Record{Shard: 1, Epoch: o.Epoch, Number: 1<<52 + 1, Data: []byte("\x00 \n\xff")}
	if refused, err := c.Save(t.Context(), "b", []fleet.Record{r}); err != nil || len(refused) > 0 {
		t.Errorf("saved %v, %v", refused, err)
	}
	if loaded := must[[]fleet.Record](t)(c.Load(t.Context(), []int{1})); len(loaded) != 1 || loaded[0].Epoch != r.Epoch || loaded[0].Number != r.Number || string(loaded[0].Data) != string(r.Data) {
		t.Errorf("loaded %v", loaded)
	}
	if _, err := c.Acquire(t.Context(), "a", []fleet.Want{{Shard: 3, Above: 1 << 60}}); err == nil {
		t.Error("acquired above what can be counted")
	}
}

// What takes many calls of a script does all of it, and two bots and prefixes have nothing in common.
func TestMany(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c, other := open(t, srv.Addr, "bot"), open(t, srv.Addr, "other")
	const shards = 2*page + chunk + 7
	join(t, c, "a", "b")
	join(t, other, "a")
	ids := make([]int, shards)
	for i := range ids {
		ids[i] = i
	}
	acquire(t, c, "a", ids...)
	view := must[fleet.View](t)(c.Beat(t.Context(), member("a"), 0))
	if len(view.Shards) != shards || len(view.Members) != 2 {
		t.Fatalf("there are %d shards", len(view.Shards))
	}
	epochs, records := make(map[int]int64), make([]fleet.Record, shards)
	for i, s := range view.Shards {
		if s.ID != i || s.Owner.Incarnation != "a" {
			t.Fatalf("shard %d is %+v", i, s)
		}
		epochs[i], records[i] = s.Owner.Epoch, fleet.Record{Shard: i, Epoch: s.Owner.Epoch, Number: 1, Data: []byte{byte(i)}}
	}
	if refused := must[[]int](t)(c.Save(t.Context(), "a", records)); len(refused) > 0 {
		t.Errorf("%d are refused", len(refused))
	}
	if got := must[[]fleet.Record](t)(c.Load(t.Context(), ids)); len(got) != shards || got[shards-1].Data[0] != records[shards-1].Data[0] {
		t.Errorf("%d are loaded", len(got))
	}
	// An old revision is none that is known: all is returned.
	last := view.Shards[0]
	for range 1010 {
		last = must[[]fleet.Shard](t)(c.Acquire(t.Context(), "a", []fleet.Want{{From: last.Owner}}))[0]
	}
	epochs[0] = last.Owner.Epoch
	if n := strings.TrimSpace(srv.CLI("ZCARD", c.key("log"))); n != "1000" {
		t.Errorf("%s revisions are kept", n)
	}
	if all := must[fleet.View](t)(c.Look(t.Context(), view.Revision)); len(all.Shards) != shards {
		t.Errorf("%d have changed since a revision of long ago", len(all.Shards))
	}
	view = must[fleet.View](t)(c.Look(t.Context(), 0))
	if lost := must[[]int](t)(c.Confirm(t.Context(), "a", epochs)); len(lost) > 0 {
		t.Errorf("%d are lost", len(lost))
	}
	if again := must[fleet.View](t)(c.Beat(t.Context(), member("a"), view.Revision)); len(again.Shards) > 0 || again.Revision != view.Revision {
		t.Errorf("%d have changed without a change", len(again.Shards))
	}
	if err := c.Leave(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if lost := must[[]int](t)(c.Confirm(t.Context(), "a", epochs)); len(lost) != shards {
		t.Errorf("%d are lost after all are free", len(lost))
	}
	view = must[fleet.View](t)(c.Look(t.Context(), view.Revision))
	for i, s := range view.Shards {
		if s.Owner != (fleet.Owner{Epoch: epochs[i]}) {
			t.Fatalf("free, shard %d is %+v", i, s)
		}
	}
	if len(view.Shards) != shards || len(view.Members) != 1 {
		t.Errorf("%d have changed", len(view.Shards))
	}
	if v := must[fleet.View](t)(other.Look(t.Context(), 0)); len(v.Shards) > 0 || len(v.Members) != 1 {
		t.Errorf("the other bot has %+v", v)
	}
}

// A failover that forgets the last steps shows them undone: to those who saw them.
func TestForgotten(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	host, port, _ := net.SplitHostPort(srv.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	before, after := open(t, srv.Addr, "bot"), open(t, replica.Addr, "bot")
	join(t, before, "a", "b")
	own := acquire(t, before, "a", 0, 1)
	seen := must[fleet.View](t)(before.Look(t.Context(), 0))
	wait(t, "the replica", func() bool {
		v, err := after.Look(t.Context(), 0)
		return err == nil && v.Revision == seen.Revision
	})
	replica.CLI("REPLICAOF", "NO", "ONE")
	given := must[fleet.Owner](t)(before.Give(t.Context(), 0, own[0].Owner, "b"))
	acquire(t, before, "b", 2)
	forgotten := must[fleet.View](t)(before.Look(t.Context(), seen.Revision))
	wait(t, "the new master", func() bool { return after.Depose(t.Context(), "nobody", 0) == nil })
	acquire(t, after, "b", 3)
	// The revision is above the one that was seen.
	got := must[fleet.View](t)(after.Look(t.Context(), forgotten.Revision))
	if got.Revision <= forgotten.Revision || len(got.Shards) != 16 || got.Shards[0] != own[0] || got.Shards[1] != own[1] || got.Shards[2] != (fleet.Shard{ID: 2}) || got.Shards[3].Owner.Incarnation != "b" {
		t.Errorf("after the failover there is %+v", got)
	}
	again := must[fleet.Owner](t)(after.Give(t.Context(), 0, own[0].Owner, "b"))
	if again.Epoch <= given.Epoch {
		t.Errorf("the epoch %d was given again, as %d", given.Epoch, again.Epoch)
	}
	if got := must[fleet.View](t)(after.Look(t.Context(), got.Revision)); len(got.Shards) != 1 {
		t.Errorf("then %+v has changed", got.Shards)
	}
}

// In a Cluster all keys of a fleet are in one slot, and notices come to any node.
func TestCluster(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(sinktest.FreePort(t)))
	srv.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	wait(t, "the cluster", func() bool { return strings.Contains(srv.CLI("CLUSTER", "INFO"), "cluster_state:ok") })
	o, err := redis.NewClientOption([]string{srv.Addr, srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Coordinator{Bot: "bot", Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, o) }}
	defer c.Close()
	heard := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Watch(ctx, func() { heard <- struct{}{} }); close(done) }()
	<-heard
	fill(t, c)
	<-heard // one is given
	fine(t, "in a cluster", c)
	cancel()
	<-done
}

// All keys expire together; a beat keeps them all.
func TestExpiry(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := open(t, srv.Addr, "bot")
	fillAll(t, c)
	own := must[fleet.View](t)(c.Look(t.Context(), 0)).Shards[2]
	keys := strings.Fields(srv.CLI("KEYS", "*"))
	if len(keys) != len(names) {
		t.Errorf("the keys are %q", keys)
	}
	expire := func(in string) {
		for _, key := range keys {
			srv.CLI("EXPIRE", key, in)
		}
	}
	for name, step := range map[string]func() error{
		"nothing": func() error { return nil },
		"beat":    func() error { _, err := c.Beat(t.Context(), member("a"), 0); return err },
		"acquire": func() error { _, err := c.Acquire(t.Context(), "a", []fleet.Want{{Shard: 9}}); return err },
		"save": func() error {
			_, err := c.Save(t.Context(), "a", []fleet.Record{{Shard: own.ID, Epoch: own.Owner.Epoch, Number: 2}})
			return err
		},
		"ask": func() error { _, err := c.Ask(t.Context(), "a", 1, []int{1}); return err },
	} {
		if name != "nothing" {
			expire("1000")
		}
		if err := step(); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if ttl, _ := strconv.Atoi(strings.TrimSpace(srv.CLI("TTL", key))); ttl < 604800-1200 || ttl > 604800 {
				t.Errorf("%s: %s expires in %d s", name, key, ttl)
			}
		}
	}
}

// fill has something in each key: a has shards 0 to 4 and their checkpoints, b is given 1, d is deposed
// and owns 5.
func fill(t testing.TB, c *Coordinator) {
	t.Helper()
	ctx := t.Context()
	join(t, c, "a", "b", "d")
	own := acquire(t, c, "a", 0, 1, 2, 3, 4)
	acquire(t, c, "d", 5)
	must[fleet.Owner](t)(c.Give(ctx, 1, own[1].Owner, "b"))
	now := must[fleet.View](t)(c.Look(ctx, 0)).Now
	for _, err := range []error{
		c.Depose(ctx, "d", 1),
		c.Budget(ctx, fleet.Budget{Total: 1000, Remaining: 900, Reserve: 10, Concurrency: 2, Reset: now.Add(time.Hour)}, now),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range own[2:] {
		must[[]int](t)(c.Save(ctx, "a", []fleet.Record{{Shard: s.ID, Epoch: s.Owner.Epoch, Number: 1, Data: []byte("data")}}))
	}
	if g := must[fleet.Grants](t)(c.Ask(ctx, "a", 1, []int{2, 3, 4})); len(g.Turns) != 2 {
		t.Fatalf("granted %+v", g)
	}
}

// fillAll has all keys in use: it is fill, and then the fleet is at the switch to another shard count.
func fillAll(t testing.TB, c *Coordinator) {
	t.Helper()
	fill(t, c)
	ctx := t.Context()
	for _, s := range must[fleet.View](t)(c.Look(ctx, 0)).Shards {
		if s.Giver != "" {
			if err := c.Take(ctx, s.ID, s.Owner); err != nil {
				t.Fatal(err)
			}
		}
		if s.Owner.Incarnation == "d" {
			must[[]fleet.Shard](t)(c.Acquire(ctx, "a", []fleet.Want{{Shard: s.ID, From: s.Owner}}))
		}
	}
	acquire(t, c, "a", 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	v := must[fleet.View](t)(c.Look(ctx, 0))
	epochs := make(map[string]map[int]int64)
	for _, s := range v.Shards {
		if epochs[s.Owner.Incarnation] == nil {
			epochs[s.Owner.Incarnation] = make(map[int]int64)
		}
		epochs[s.Owner.Incarnation][s.ID] = s.Owner.Epoch
	}
	if err := c.Propose(ctx, fleet.Reshard{Generation: v.Plan.Generation + 1, Shards: 32}); err != nil {
		t.Fatal(err)
	}
	r := must[fleet.View](t)(c.Look(ctx, 0)).Reshard
	for _, err := range []error{
		c.Agree(ctx, "a", r.At(), v.Revision, 1, epochs["a"]), c.Agree(ctx, "b", r.At(), v.Revision, 1, epochs["b"]), c.Switch(ctx, r.At()),
		c.Prepare(ctx, "a", r.At(), []fleet.Record{{Shard: 20, Epoch: 1, Data: []byte("data")}}, true),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A clock that is set back a little leaves the turns as they are; by much, it does not stop them.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	c := open(t, redistest.Start(t).Addr, "bot")
	ctx, now := t.Context(), time.Now()
	c.still.Store(now.UnixMilli())
	if err := c.Budget(ctx, fleet.Budget{Total: 1000, Remaining: 900, Concurrency: 1, Reset: now.Add(time.Hour)}, now); err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	ask := func(incarnation string, shard, want int, in time.Duration) {
		t.Helper()
		g := must[fleet.Grants](t)(c.Ask(ctx, incarnation, 1, []int{shard}))
		if len(g.Turns) != want || want > 0 && (g.Turns[0].Shard != shard || g.Turns[0].In != in) {
			t.Errorf("%s: granted %+v", incarnation, g.Turns)
		}
		for _, turn := range g.Turns {
			if turn.Number <= last {
				t.Errorf("%s: number %d after %d", incarnation, turn.Number, last)
			}
			last = turn.Number
		}
	}
	ask("a", 1, 1, 0)
	c.still.Add(-100)
	ask("b", 0, 0, 0)
	if err := c.Sent(ctx, "a", 1, last); err != nil {
		t.Fatal(err)
	}
	c.still.Add(-100)
	ask("b", 0, 1, fleet.IdentifyPause+100*time.Millisecond)
	c.still.Add(-time.Hour.Milliseconds())
	ask("c", 2, 1, 0)
}

// With another concurrency the shards that wait are in other buckets.
func TestConcurrencyChanges(t *testing.T) {
	t.Parallel()
	c := open(t, redistest.Start(t).Addr, "bot")
	now := time.Now()
	c.still.Store(now.UnixMilli())
	for _, step := range []struct {
		concurrency, remaining int
		incarnation            string
		waiting                []int
		turns                  int
	}{
		{1, 0, "a", []int{0, 1, 2}, 0},
		{2, 9, "b", []int{3}, 0}, // 1 is lower
		{2, 9, "b", []int{4}, 0}, // 0 is
		{4, 9, "b", []int{3, 4}, 1},
		{4, 9, "a", []int{0, 1, 2}, 3},
	} {
		if err := c.Budget(t.Context(), fleet.Budget{Total: 9, Remaining: step.remaining, Concurrency: step.concurrency, Reset: now}, now); err != nil {
			t.Fatal(err)
		}
		if g := must[fleet.Grants](t)(c.Ask(t.Context(), step.incarnation, 1, step.waiting)); len(g.Turns) != step.turns {
			t.Errorf("%+v: granted %+v", step, g)
		}
	}
}
