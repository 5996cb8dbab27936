//go:build unix

// This file tests what a coordinator makes of a Redis that is away, or of damage in it.

package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/sinks/sinktest/redistest"
)

// methods are all, with arguments that they take.
func methods(ctx context.Context, c *Coordinator) map[string]func() error {
	return map[string]func() error{
		"look": func() error { _, err := c.Look(ctx, 0); return err },
		"join": func() error { _, err := c.Join(ctx, member("c"), plan(16)); return err },
		"beat": func() error {
			m := member("a")
			m.Beat += time.Now().UnixNano()
			_, err := c.Beat(ctx, m, 0)
			return err
		},
		"depose":    func() error { return c.Depose(ctx, "ghost", 0) },
		"acquire":   func() error { _, err := c.Acquire(ctx, "a", []fleet.Want{{Shard: 7}}); return err },
		"give":      func() error { _, err := c.Give(ctx, 2, fleet.Owner{Incarnation: "a"}, "b"); return err },
		"take":      func() error { return c.Take(ctx, 1, fleet.Owner{Incarnation: "b"}) },
		"take back": func() error { _, err := c.TakeBack(ctx, 1, fleet.Owner{Incarnation: "b"}, "a"); return err },
		"leave":     func() error { return c.Leave(ctx, "d") },
		"confirm":   func() error { _, err := c.Confirm(ctx, "a", map[int]int64{2: 1}); return err },
		"save":      func() error { _, err := c.Save(ctx, "a", []fleet.Record{{Shard: 2, Epoch: 1, Number: 1}}); return err },
		"load":      func() error { _, err := c.Load(ctx, []int{1, 2, 3}); return err },
		"ask":       func() error { _, err := c.Ask(ctx, "a", 1, []int{2, 3}); return err },
		"sent":      func() error { return c.Sent(ctx, "a", 2, 1) },
		"propose":   func() error { return c.Propose(ctx, fleet.Reshard{Generation: 2, Shards: 48}) },
		"report":    func() error { return c.Report(ctx, "a", fleet.Attempt{Generation: 2}, 3) },
		"agree":     func() error { return c.Agree(ctx, "a", fleet.Attempt{Generation: 2}, 1, 1, map[int]int64{2: 1}) },
		"switch":    func() error { return c.Switch(ctx, fleet.Attempt{Generation: 2}) },
		"prepare": func() error {
			return c.Prepare(ctx, "a", fleet.Attempt{Generation: 2}, []fleet.Record{{Shard: 2}}, true)
		},
		"commit":   func() error { return c.Commit(ctx, fleet.Attempt{Generation: 2}) },
		"abort":    func() error { return c.Abort(ctx, fleet.Attempt{Generation: 2}, "why", 6) },
		"call off": func() error { return c.CallOff(ctx, fleet.Attempt{Generation: 2}, "why") },
		"budget": func() error {
			return c.Budget(ctx, fleet.Budget{Total: 1000, Remaining: 900, Concurrency: 1, Reset: time.Now()}, time.Now())
		},
	}
}

// each calls every method, and returns its errors by name.
func each(ctx context.Context, c *Coordinator) map[string]error {
	errs := make(map[string]error)
	for name, call := range methods(ctx, c) {
		if errs[name] = call(); errors.Is(errs[name], fleet.ErrChanged) || errors.As(errs[name], new(*fleet.StartsError)) { // an answer
			errs[name] = nil
		}
	}
	return errs
}

// fine fails the test if a method has an error.
func fine(t *testing.T, when string, c *Coordinator) {
	t.Helper()
	for name, err := range each(t.Context(), c) {
		if err != nil {
			t.Errorf("%s: %s: %v", when, name, err)
		}
	}
}

// Each method says that Redis is away, and works when it is back; scripts are loaded again.
func TestAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	c := open(t, srv.Addr, "bot")
	fill(t, c)
	srv.CLI("SCRIPT", "FLUSH")
	fine(t, "without the scripts", c)
	srv.CLI("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	wait(t, "the next connection", func() bool { _, err := c.Look(t.Context(), 0); return err == nil })
	fine(t, "over another connection", c)
	// It is a replica, and becomes a master again.
	other := redistest.Start(t)
	host, port, _ := net.SplitHostPort(other.Addr)
	srv.CLI("CONFIG", "SET", "replica-serve-stale-data", "yes")
	kept := strings.TrimSpace(srv.CLI("HLEN", c.key("owners")))
	other.Kill()
	srv.CLI("REPLICAOF", host, port)
	if _, err := c.Beat(t.Context(), member("a"), 0); err == nil || !strings.Contains(err.Error(), "fleet: redis: beat: READONLY "+c.key("members")) {
		t.Errorf("to a replica: %v", err)
	}
	c.mu.Lock()
	if c.client != nil {
		t.Error("the connection to what is no master is kept")
	}
	c.mu.Unlock()
	srv.CLI("REPLICAOF", "NO", "ONE")
	fine(t, "of a master again", c)
	// It is away, is loading, and is back.
	srv.CLI("EVAL", "for i = 1, 1000 do redis.call('SET', i, i) end", "0")
	srv.CLI("BGREWRITEAOF")
	wait(t, "the rewrite", func() bool { return strings.Contains(srv.CLI("INFO", "persistence"), "aof_rewrite_in_progress:0") })
	srv.Kill()
	for name, err := range each(t.Context(), c) {
		if err == nil || !strings.HasPrefix(err.Error(), "fleet: redis: "+name+": ") {
			t.Errorf("without a server, %s: %v", name, err)
		}
	}
	up := make(chan error)
	go func() { up <- srv.Up() }()
	wait(t, "a server that is loading", func() bool {
		_, err := c.Look(t.Context(), 0)
		return err != nil && strings.Contains(err.Error(), "LOADING")
	})
	if err := <-up; err != nil {
		t.Fatal(err)
	}
	wait(t, "the server", func() bool { _, err := c.Look(t.Context(), 0); return err == nil })
	fine(t, "after a restart", c)
	if got := strings.TrimSpace(srv.CLI("HLEN", c.key("owners"))); got != kept {
		t.Errorf("%s of %s rows are there", got, kept)
	}
	// A call that its caller gives up leaves the others alone.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Look(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	fine(t, "after one that was given up", c)
	c.Close()
	if _, err := c.Look(t.Context(), 0); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Watch hears what others do, begins again when it was cut off, and ends with its context.
func TestWatch(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c, other := open(t, srv.Addr, "bot"), open(t, srv.Addr, "bot")
	var heard atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Watch(ctx, func() { heard.Add(1) })
	}()
	wait(t, "the first call", func() bool { return heard.Load() == 1 })
	join(t, other, "a", "b")
	own := acquire(t, other, "a", 1)[0].Owner
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"give", func() (err error) { own, err = other.Give(ctx, 1, own, "b"); return err }},
		{"take", func() error { return other.Take(ctx, 1, own) }},
		{"give", func() (err error) { own, err = other.Give(ctx, 1, own, "a"); return err }},
		{"take back", func() (err error) { own, err = other.TakeBack(ctx, 1, own, "b"); return err }},
		{"depose", func() error { return other.Depose(ctx, "a", 1) }},
		{"leave", func() error { return other.Leave(ctx, "b") }},
	} {
		before := heard.Load()
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		wait(t, "the notice of "+step.name, func() bool { return heard.Load() > before })
	}
	for range 2 {
		before := heard.Load()
		srv.Kill()
		srv.Restart()
		wait(t, "the call after a restart", func() bool { return heard.Load() > before })
	}
	before := heard.Load()
	join(t, other, "x", "y")
	own = acquire(t, other, "x", 1)[0].Owner
	must[fleet.Owner](t)(other.Give(ctx, 1, own, "y"))
	wait(t, "a notice after a restart", func() bool { return heard.Load() > before })
	cancel()
	<-done
}

// digest is that of all keys and values.
func digest(srv *redistest.Server) string {
	return srv.CLI("EVAL", `local keys, sum = redis.call('KEYS', '*'), ''
table.sort(keys)
for _, key in ipairs(keys) do sum = redis.sha1hex(sum .. key .. redis.call('DUMP', key)) end
return sum`, "0")
}

// A key of another type is an error that names it, and changes nothing; when it is gone, all goes on.
func TestWrongTypes(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for _, name := range names {
		c := open(t, srv.Addr, "of"+name)
		fillAll(t, c)
		srv.CLI("DEL", c.key(name))
		if name == "revision" {
			srv.CLI("HSET", c.key(name), "a", "b")
		} else {
			srv.CLI("SET", c.key(name), "a string")
		}
		named := 0
		for method, call := range methods(t.Context(), c) {
			before := digest(srv)
			err := call()
			if err == nil || errors.Is(err, fleet.ErrChanged) || errors.As(err, new(*fleet.StartsError)) {
				continue
			}
			if named++; !strings.Contains(err.Error(), fmt.Sprintf("fleet: redis: %s: WRONGTYPE %s: ", method, c.key(name))) {
				t.Errorf("%s: %s: %v", name, method, err)
			}
			if digest(srv) != before {
				t.Errorf("%s: %s has changed something", name, method)
			}
		}
		if named == 0 {
			t.Errorf("%s: no error", name)
		}
		srv.CLI("DEL", c.key(name))
		for _, i := range []string{"a", "b"} {
			must[fleet.View](t)(c.Beat(t.Context(), member(i), 0))
		}
		fine(t, "without "+name, c)
	}
}

// A server that is full refuses a step as a whole.
func TestFull(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := open(t, srv.Addr, "bot")
	fillAll(t, c)
	srv.CLI("CONFIG", "SET", "maxmemory", "1")
	refused := 0
	for method, call := range methods(t.Context(), c) {
		before := digest(srv)
		err := call()
		if err == nil || errors.Is(err, fleet.ErrChanged) {
			continue
		}
		if refused++; !strings.HasPrefix(err.Error(), "fleet: redis: "+method+": OOM {sluice:bot}:") || digest(srv) != before {
			t.Errorf("%s, and may have changed something: %v", method, err)
		}
	}
	if refused < 4 { // a turn that has ended meanwhile is none that is sent
		t.Errorf("%d are refused", refused)
	}
	srv.CLI("CONFIG", "SET", "maxmemory", "0")
	fine(t, "with room again", c)
}

// What is in the keys and is nobody's costs its own row, is logged once, and the rest goes on.
func TestDamage(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := open(t, srv.Addr, "bot")
	fill(t, c)
	var log syncBuffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	long := strings.Repeat("9", 100_000)
	for i, value := range []string{"", "x", "1", "-1 a ", "1 a", "1 a b c", "9007199254740993 a ", long + " a ", "1 a-b ", "1e3 a ", " a ", "1 " + long + " ", "nan a ", "1 a \n", "0x10 a "} {
		shard := fmt.Sprint(100 + i)
		srv.CLI("HSET", c.key("owners"), shard, value)
		srv.CLI("ZADD", c.key("changes"), fmt.Sprint(100+i), shard)
		srv.CLI("HSET", c.key("records"), shard, value)
		srv.CLI("HSET", c.key("members"), "m"+shard, value)
		srv.CLI("HSET", c.key("asked"), "m"+shard, value)
		srv.CLI("HSET", c.key("waiting"), "m"+shard, value)
		srv.CLI("HSET", c.key("turns"), "t"+shard, value, "n"+shard, value, value, value)
		srv.CLI("ZADD", c.key("owned"), "0", "a "+value)
		srv.CLI("ZADD", c.key("given"), "0", value)
	}
	srv.CLI("ZADD", c.key("changes"), "inf", "inf", "-inf", "-inf", "1e300", long, "5", "-5", "6", "03", "7", "1.5")
	srv.CLI("ZADD", c.key("log"), "inf", "x", "-inf", "y")
	srv.CLI("HSET", c.key("members"), "not letters", "1 0 1 name zone address version", long, "1 0 1    ")
	for i, value := range []string{"9" + long, "x", "9007199254740992"} {
		name, shard := fmt.Sprintf("revision %.20q", value), 101+i
		srv.CLI("SET", c.key("revision"), value)
		v := must[fleet.View](t)(c.Look(t.Context(), 0))
		if v.Revision != 0 || len(v.Members) != 3 || len(v.Shards) != 6+15 || v.Shards[0].Owner.Incarnation != "a" {
			t.Errorf("%s: there is %+v", name, v)
		}
		got := must[[]fleet.Shard](t)(c.Acquire(t.Context(), "a", []fleet.Want{{Shard: shard}, {Shard: 110, From: fleet.Owner{Incarnation: "x"}}}))
		if len(got) != 1 || got[0].ID != shard || got[0].Owner.Epoch < v.Now.UnixMilli() {
			t.Errorf("%s: acquired %v", name, got)
		}
	}
	acquire(t, c, "a", 106, 107) // whose epochs are too high
	if records := must[[]fleet.Record](t)(c.Load(t.Context(), []int{2, 100, 101, 106, 107, 4})); len(records) != 6 || string(records[5].Data) != "data" || records[1].Data != nil {
		t.Errorf("loaded %v", records)
	}
	g := must[fleet.Grants](t)(c.Ask(t.Context(), "a", 1, []int{2, 3, 4}))
	if len(g.Turns) != 2 || !g.Known {
		t.Errorf("granted %+v", g)
	}
	fine(t, "with damage", c)
	for _, part := range []string{"{sluice:bot}:owners", "{sluice:bot}:members", "{sluice:bot}:records", "{sluice:bot}:changes"} {
		if !strings.Contains(log.String(), `key="`+part+`"`) && !strings.Contains(log.String(), "key="+part) {
			t.Errorf("%s is not in the log", part)
		}
	}
	lines := strings.Count(log.String(), "\n")
	must[fleet.View](t)(c.Look(t.Context(), 0))
	if again := strings.Count(log.String(), "\n"); again != lines || strings.Contains(log.String(), long[:1000]) {
		t.Errorf("%d lines became %d", lines, again)
	}
	// A plan and a budget that are none.
	srv.CLI("HSET", c.key("plan"), "generation", "x")
	if v := must[fleet.View](t)(c.Look(t.Context(), 0)); v.Plan != (fleet.Plan{}) {
		t.Errorf("the plan is %+v", v.Plan)
	}
	if _, err := c.Join(t.Context(), member("e"), plan(16)); err == nil || !strings.Contains(err.Error(), c.key("plan")) {
		t.Errorf("joined: %v", err)
	}
	for _, bad := range []string{"", "0", "-1", "x", long} {
		srv.CLI("HSET", c.key("budget"), "concurrency", bad)
		if g := must[fleet.Grants](t)(c.Ask(t.Context(), "a", 1, []int{2, 3, 4})); g.Known {
			t.Errorf("with the concurrency %.20q: %+v", bad, g)
		}
	}
	if err := c.Leave(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if v := must[fleet.View](t)(c.Look(t.Context(), 0)); v.Shards[0].Owner.Incarnation != "" || v.Members[0].Incarnation != "b" {
		t.Errorf("after leaving: %+v", v)
	}
	// The owners remain where what leads to them is lost.
	srv.CLI("DEL", c.key("changes"), c.key("log"), c.key("revision"))
	if v := must[fleet.View](t)(c.Look(t.Context(), 0)); len(v.Shards) != 7+15 || v.Revision == 0 {
		t.Errorf("without changes: %+v", v)
	}
}

// FuzzRead reads anything as what Redis has.
func FuzzRead(f *testing.F) {
	f.Add("a", "1 0 1 name zone address version", "3", "1 a b", "1 2 1 data")
	f.Add("-", "-1 9 0 % % %", "03", "9e99  ", "1 2")
	f.Fuzz(func(t *testing.T, incarnation, value, name, row, record string) {
		c := &Coordinator{Bot: "bot"}
		if m, err := unpack(incarnation, value); err == nil && m.State <= fleet.Draining {
			packed, err := pack(m)
			if again, _ := unpack(incarnation, packed); err != nil || again != m {
				t.Fatalf("%+v became %q, %+v, %v", m, packed, again, err)
			}
		}
		if s, ok := c.readShard(name, row); ok && (s.ID < 0 || s.Owner.Epoch < 0) {
			t.Fatalf("read %+v", s)
		}
		if r, err := readRecord(record); err == nil && len(r.Data) > len(record) {
			t.Fatalf("read %+v", r)
		}
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
