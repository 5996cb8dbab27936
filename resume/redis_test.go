//go:build unix

// This file tests the store in Redis, against a real one.

package resume

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/engine"
	"sluice/sinks/redis"
	"sluice/sinks/sinktest/redistest"
)

// openRedis returns a store on the server, as the next process opens it.
func openRedis(t *testing.T, srv *redistest.Server, prefix string, compat bool) *Redis {
	t.Helper()
	o, err := redis.NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ForceSingleClient = true
	r := &Redis{Prefix: prefix, Compat: compat, Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, o) }}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRedis(t *testing.T) {
	srv := redistest.Start(t)
	testStore(t, func(t *testing.T) Store { return openRedis(t, srv, "", false) })
	testStore(t, func(t *testing.T) Store { return openRedis(t, srv, "another bot:", true) })
	if ttl, _ := strconv.Atoi(strings.TrimSpace(srv.CLI("TTL", "{sluice}:shards"))); ttl < 1 {
		t.Errorf("the keys do not expire: %d", ttl)
	}
}

// What a process writes that has been replaced does not lower a checkpoint.
func TestRedisOnlyRises(t *testing.T) {
	srv := redistest.Start(t)
	old, next := openRedis(t, srv, "", false), openRedis(t, srv, "", false)
	for _, step := range []struct {
		by   *Redis
		c    Checkpoint
		want int64
	}{
		{old, checkpoint("a", 10), 10}, {next, checkpoint("a", 20), 20}, {old, checkpoint("a", 15), 20},
		{next, checkpoint("b", 3), 3}, {next, checkpoint("b", 4), 4},
	} {
		if err := step.by.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{7: step.c}}); err != nil {
			t.Fatal(err)
		}
		if got := loaded(t, next).Checkpoints[7]; got.Seq != step.want {
			t.Errorf("after %s %d there is %+v, want seq %d", step.c.ID, step.c.Seq, got, step.want)
		}
	}
}

func loaded(t *testing.T, s Store) State {
	t.Helper()
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// The other gateway's keys are read, and kept up to date if that is asked for.
func TestRedisOfOldGateway(t *testing.T) {
	srv := redistest.Start(t)
	old := func(shard, session, seq string) {
		srv.CLI("SET", "gateway"+shard+"session", session)
		srv.CLI("SET", "gateway"+shard+"seq", seq)
	}
	old("0", "aaaa", "100")
	old("1", "bbbb", "200")
	srv.CLI("SET", "gateway2session", "without a seq")
	plain, compat := openRedis(t, srv, "gateway", false), openRedis(t, srv, "gateway", true)
	want := map[int]Checkpoint{0: {Session: engine.Session{ID: "aaaa", Seq: 100, Shards: 2}}, 1: {Session: engine.Session{ID: "bbbb", Seq: 200, Shards: 2}}}
	for _, s := range []*Redis{plain, compat} {
		if got := loaded(t, s); !same(got, State{Checkpoints: want}) {
			t.Errorf("loaded %+v, want %+v", got, want)
		}
	}
	// Ours come to be the ones that count.
	ours := map[int]Checkpoint{0: checkpoint("cccc", 5), 1: checkpoint("bbbb", 201)}
	if err := plain.Save(t.Context(), State{Checkpoints: ours}); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, plain); !same(got, State{Checkpoints: ours}) {
		t.Errorf("loaded %+v, want %+v", got, ours)
	}
	// With compat, a session that the other gateway has begun since is newer than ours.
	if err := compat.Save(t.Context(), State{Checkpoints: ours}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"gateway0session": "cccc", "gateway0seq": "5", "gateway1session": "bbbb", "gateway1seq": "201"} {
		if got := strings.TrimSpace(srv.CLI("GET", key)); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	old("0", "dddd", "7")
	mixed := maps.Clone(ours)
	mixed[0] = Checkpoint{Session: engine.Session{ID: "dddd", Seq: 7, Shards: 2}}
	if got := loaded(t, compat); !same(got, State{Checkpoints: mixed}) {
		t.Errorf("loaded %+v, want %+v", got, mixed)
	}
	// One that Discord has refused does not come back from there.
	if err := plain.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{0: {}, 1: {}}}); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, compat); len(got.Checkpoints) > 0 {
		t.Errorf("loaded %+v after all were given up", got)
	}
}

func TestRedisAway(t *testing.T) {
	srv := redistest.Start(t)
	s := openRedis(t, srv, "", false)
	c := checkpoint("a", 1)
	save := func() error { return s.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{0: c}}) }
	if err := save(); err != nil {
		t.Fatal(err)
	}
	srv.Kill()
	if err := save(); err == nil {
		t.Error("saved without a server")
	}
	if _, err := openRedis(t, srv, "", false).Load(t.Context()); err == nil {
		t.Error("loaded without a server")
	}
	srv.Restart()
	began := time.Now()
	for save() != nil {
		if time.Since(began) > time.Minute {
			t.Fatal("nothing is saved after the server is back")
		}
	}
	srv.CLI("HSET", "{sluice}:shard:0", "seq", "many")
	if _, err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "{sluice}:shard:0") || !strings.Contains(err.Error(), "many") {
		t.Errorf("a damaged checkpoint: %v", err)
	}
}
