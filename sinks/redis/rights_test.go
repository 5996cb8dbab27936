//go:build unix

// This file tests that the rights which docs/redis.md lists are enough.

package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/fleet"
	coordinator "sluice/fleet/redis"
	"sluice/resume"
	store "sluice/resume/redis"
	"sluice/sinks/sinktest/redistest"
)

// The lines of the documentation, in its order.
const (
	baseRights = iota
	eventRights
	commandRights
	storeRights
	fleetRights
	fleetCommandRights
)

// user gives a user of that name the rights of some of the documentation's lines, and returns the
// server's address with it.
func user(t *testing.T, srv *redistest.Server, name string, more string, lines ...int) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "ACL SETUSER gateway "); ok {
			all = append(all, rest)
		}
	}
	if len(all) != fleetCommandRights+1 {
		t.Fatalf("docs/redis.md has %d lines of rights, want %d", len(all), fleetCommandRights+1)
	}
	for _, n := range lines {
		if out := srv.CLI(append([]string{"ACL", "SETUSER", name}, strings.Fields(all[n]+" "+more)...)...); !strings.HasPrefix(out, "OK") {
			t.Fatalf("ACL SETUSER %s: %s", all[n], out)
		}
	}
	return fmt.Sprintf("redis://%s:password@%s", name, srv.Addr)
}

// The rights in docs/redis.md suffice for writing events, and each of them is needed.
func TestRightsOfSink(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	host, port, _ := net.SplitHostPort(srv.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	address := user(t, srv, "sink", "+wait", baseRights, eventRights)
	for range 2 {
		h := start(t, Options{Bot: "bot", Retention: time.Hour, MaxLen: 100_000, Replicas: 1}, address)
		h.publish(2000, "MESSAGE_CREATE", "TYPING_START")
		h.settled()
		h.sink.Close()
	}
	whole(t, srv.Addr, 2000, "MESSAGE_CREATE", "TYPING_START")
	if out := replica.CLI("XLEN", "MESSAGE_CREATE"); strings.TrimSpace(out) != "1000" {
		t.Errorf("the replica has %s", out)
	}
	trimmed := start(t, Options{MaxLen: 100}, address)
	trimmed.publish(3000, "TRIMMED")
	trimmed.settled()
	if n := len(entries(t, srv.Addr, "TRIMMED")); n > 1500 {
		t.Errorf("%d entries with a bound of 100", n)
	}
	srv.CLI("ACL", "SETUSER", "sink", "-xtrim")
	trimmed.publish(3000, "TRIMMED")
	trimmed.settled()
	if !strings.Contains(trimmed.log.String(), "does not trim") {
		t.Error("that a stream is not trimmed is not logged")
	}
	srv.CLI("SET", "WRONG", "no stream")
	h := start(t, Options{Bot: "bot 2"}, address)
	h.publish(100, "GUILD_CREATE", "WRONG")
	h.settled()
	srv.CLI("SET", "sluice:seen:bot 2", "no hash")
	srv.CLI("SCRIPT", "FLUSH")
	for offset := range strings.Lines(srv.CLI("KEYS", "sluice:fence:*")) {
		srv.CLI("SET", strings.TrimSpace(offset), "abc")
	}
	h.publish(100, "GUILD_CREATE")
	h.settled()
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := len(entries(t, srv.Addr, "GUILD_CREATE")); got != 150 || len(h.aside) != 50 {
		t.Errorf("%d entries and %d set aside, want 150 and 50", got, len(h.aside))
	}
	if strings.Contains(h.log.String(), "NOPERM") {
		t.Error("a right is missing")
	}
}

func TestRightsOfCommands(t *testing.T) {
	t.Parallel()
	w := newCommandWorld(t)
	w.address = user(t, w.srv, "commands", "", baseRights, commandRights)
	w.add("SEND", rawString(fmt.Sprintf(`{"shard":1,"packet":%s}`, packet(1))))
	w.srv.CLI("XGROUP", "CREATE", "SEND", "gateway", "0")
	w.srv.CLI("XREADGROUP", "GROUP", "gateway", "dead", "STREAMS", "SEND", ">")
	f := new(fakeEngine)
	w.read(f, "sluice-0", 50*time.Millisecond)
	w.add("SEND", rawString(fmt.Sprintf(`{"shard":5,"packet":%s}`, packet(2)))) // of another process
	w.add("3", rawString(packet(3)))
	w.wait("commands", func() bool { return f.count() == 2 && strings.Contains(w.srv.CLI("XRANGE", "5", "-", "+"), packet(2)) })
	w.wait("acknowledgements", func() bool { return w.pending(allStreams...) == 0 })
	if strings.Contains(w.log.String(), "NOPERM") {
		t.Errorf("a right is missing: %s", w.log.String())
	}
}

// Those of events and of a fleet suffice for a claim; those of events alone do not, and the error says so.
func TestRightsOfClaim(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	a := newOwner(t, user(t, srv, "claimer", "", baseRights, eventRights, fleetRights), "A")
	a.mustClaim(map[int]int64{0: 10})
	a.write(event(0, "s", 1, 100, 10))
	b := newOwner(t, user(t, srv, "writer", "", baseRights, eventRights), "B")
	if _, err := b.claim(map[int]int64{0: 20}); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("a claim without the right to it: %v", err)
	}
}

// The rights in docs/redis.md suffice for the shard store, and each of them is needed.
func TestRightsOfStore(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	o, err := NewClientOption([]string{user(t, srv, "store", "", baseRights, storeRights)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	srv.CLI("SET", "3session", "old")
	srv.CLI("SET", "3seq", "7")
	for _, compat := range []bool{false, true} {
		s := &store.Store{Compat: compat, Connect: func(ctx context.Context) (rueidis.Client, error) { return Connect(ctx, o) }}
		load := func() resume.State {
			t.Helper()
			state, err := s.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return state
		}
		save := func(c resume.Checkpoint) {
			t.Helper()
			if err := s.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{3: c}, Starts: resume.Starts{Count: 1, Until: time.Now()}}); err != nil {
				t.Fatal(err)
			}
		}
		load()
		save(resume.Checkpoint{Session: resume.Session{ID: "new", Seq: 8, Shards: 4}})
		if got := load().Checkpoints[3]; got.ID != "new" || got.Seq != 8 {
			t.Errorf("%+v", got)
		}
		save(resume.Checkpoint{})
		if got := load().Checkpoints; len(got) > 0 {
			t.Errorf("after all is given up: %+v", got)
		}
		s.Close()
	}
}

// The rights in docs/redis.md suffice for a fleet, and each of them is needed.
func TestRightsOfFleet(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	o, err := NewClientOption([]string{user(t, srv, "fleet", "", baseRights, fleetRights)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &coordinator.Coordinator{Bot: "bot", Connect: func(ctx context.Context) (rueidis.Client, error) { return Connect(ctx, o) }}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan struct{}, 1000), make(chan struct{})
	go func() {
		defer close(done)
		c.Watch(ctx, func() { heard <- struct{}{} })
	}()
	<-heard // it has begun to listen
	key := func(name string) string { return "{sluice:bot}:" + name }
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	own := func(incarnation string, want ...fleet.Want) []fleet.Shard {
		t.Helper()
		_, err := c.Join(ctx, fleet.Member{Incarnation: incarnation, Weight: 1, Beat: 1}, fleet.Plan{Shards: 4})
		check("join", err)
		got, err := c.Acquire(ctx, incarnation, want)
		check("acquire", err)
		if len(got) != len(want) {
			t.Fatalf("acquired %v", got)
		}
		return got
	}
	srv.CLI("ZADD", key("deposed"), "1", "old") // of long ago
	shards := own("a", fleet.Want{Shard: 0}, fleet.Want{Shard: 1})
	own("b", fleet.Want{Shard: 2})
	given, err := c.Give(ctx, 0, shards[0].Owner, "b")
	check("give", err)
	<-heard // with the right to publish
	_, err = c.TakeBack(ctx, 0, given, "a")
	check("take back", err)
	check("take", c.Take(ctx, 3, own("b", fleet.Want{Shard: 3})[0].Owner))
	_, err = c.Save(ctx, "a", []fleet.Record{{Shard: 1, Epoch: shards[1].Owner.Epoch, Number: 1, Data: []byte("data")}})
	check("save", err)
	_, err = c.Load(ctx, []int{1})
	check("load", err)
	_, err = c.Confirm(ctx, "a", map[int]int64{1: 1})
	check("confirm", err)
	check("budget", c.Budget(ctx, fleet.Budget{Total: 9, Remaining: 9, Concurrency: 1}, time.Now()))
	reshard(check, ctx, c)
	g, err := c.Ask(ctx, "a", 1, []int{0})
	check("ask", err)
	check("sent", c.Sent(ctx, "a", 0, g.Turns[0].Number))
	_, err = c.Ask(ctx, "a", 2, nil)
	check("ask", err)
	check("depose", c.Depose(ctx, "a", 1))
	srv.CLI("DEL", key("changes"))
	view, err := c.Beat(ctx, fleet.Member{Incarnation: "b", Weight: 1, Beat: 2}, 0)
	check("beat", err)
	if len(view.Shards) != 4 {
		t.Errorf("there is %+v", view)
	}
	check("leave", c.Leave(ctx, "b"))
	cancel()
	<-done
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "~{sluice:*}:*")
	line, _, _ = strings.Cut(line, "\n")
	used := srv.CLI("INFO", "commandstats")
	for _, right := range strings.Fields(line) {
		if command, ok := strings.CutPrefix(right, "+"); ok && !strings.Contains(used, "cmdstat_"+command+":") {
			t.Errorf("%s is never used", command)
		}
	}
	if out := srv.CLI("ACL", "LOG"); strings.Contains(out, "eval") || strings.Contains(out, "key") || strings.Contains(out, "lua") {
		t.Errorf("refused: %s", out)
	}
}

// reshard takes a fleet of 4 shards to another shard count, and back.
func reshard(check func(what string, err error), ctx context.Context, c *coordinator.Coordinator) {
	for _, count := range []int{5, 4} {
		v, err := c.Look(ctx, 0)
		check("look", err)
		check("propose", c.Propose(ctx, fleet.Reshard{Generation: v.Plan.Generation + 1, Shards: count}))
		now, err := c.Look(ctx, 0)
		check("look", err)
		at, epochs := now.Reshard.At(), map[string]map[int]int64{"a": {}, "b": {}}
		for _, s := range v.Shards {
			epochs[s.Owner.Incarnation][s.ID] = s.Owner.Epoch
		}
		for incarnation, own := range epochs {
			check("report", c.Report(ctx, incarnation, at, 1))
			check("agree", c.Agree(ctx, incarnation, at, v.Revision, 2, own))
		}
		check("switch", c.Switch(ctx, at))
		for n, incarnation := range []string{"a", "b"} {
			var next []fleet.Record
			for i := n; i < count; i += 2 {
				next = append(next, fleet.Record{Shard: i, Epoch: v.Now.UnixMilli() + 1e6*int64(v.Plan.Generation), Data: []byte("data")})
			}
			check("prepare", c.Prepare(ctx, incarnation, at, next, true))
		}
		check("commit", c.Commit(ctx, at))
	}
	v, err := c.Look(ctx, 0)
	check("look", err)
	check("propose", c.Propose(ctx, fleet.Reshard{Generation: v.Plan.Generation + 1, Shards: 8}))
	v, err = c.Look(ctx, 0)
	check("look", err)
	check("abort", c.Abort(ctx, v.Reshard.At(), "why", 6))
	v, err = c.Look(ctx, 0)
	check("look", err)
	check("call off", c.CallOff(ctx, v.Reshard.At(), "why"))
}

// What a user may not do is told as that, and not as a wrong password.
func TestNoRights(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("ACL", "SETUSER", "nobody", "on", ">password")
	o, err := NewClientOption([]string{"redis://nobody:password@" + srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Connect(t.Context(), o)
	var mistake *ConfigError
	if !errors.As(err, &mistake) || mistake.Problem != Rights || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("Connect: %v", err)
	}
	// Rights that are taken away later make everything wait.
	h := start(t, Options{}, user(t, srv, "sink", "", baseRights, eventRights))
	h.publish(100, "A")
	h.settled()
	for _, right := range []string{"-set", "-xadd", "-hset", "-expire", "-hmget", "-get", "-evalsha"} {
		srv.CLI("ACL", "SETUSER", "sink", right)
		h.publish(100, "A")
		h.wait("word of it", func() bool { return strings.Contains(h.log.String(), "unavailable; buffering events") })
		srv.CLI("ACL", "SETUSER", "sink", "+"+right[1:])
		h.settled()
	}
	whole(t, srv.Addr, 800, "A")
	if len(h.aside) > 0 || !strings.Contains(h.log.String(), problemText(Rights)) {
		t.Errorf("set aside: %q", h.aside)
	}
}
