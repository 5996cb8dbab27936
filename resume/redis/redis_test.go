//go:build unix

// This file tests the store in Redis, against a real one.

package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/resume"
	"sluice/resume/internal/storetest"
	"sluice/sinks/redis"
	"sluice/sinks/sinktest/redistest"
)

// openRedis returns a store on the server, as the next process opens it.
func openRedis(t *testing.T, srv *redistest.Server, prefix string, compat bool) *Store {
	t.Helper()
	o, err := redis.NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ForceSingleClient = true
	r := &Store{Prefix: prefix, Compat: compat, Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, o) }}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRedis(t *testing.T) {
	srv := redistest.Start(t)
	storetest.Test(t, func(t *testing.T) resume.Store { return openRedis(t, srv, "", false) })
	storetest.Test(t, func(t *testing.T) resume.Store { return openRedis(t, srv, "another bot:", true) })
	if ttl, _ := strconv.Atoi(strings.TrimSpace(srv.CLI("TTL", "{sluice}:shards"))); ttl < 1 {
		t.Errorf("the keys do not expire: %d", ttl)
	}
}

func TestRedisHostile(t *testing.T) {
	srv := redistest.Start(t)
	storetest.Hostile(t, func(t *testing.T) resume.Store { return openRedis(t, srv, t.Name(), false) })
}

// What a process writes that has been replaced does not lower a checkpoint.
func TestRedisOnlyRises(t *testing.T) {
	srv := redistest.Start(t)
	old, next := openRedis(t, srv, "", false), openRedis(t, srv, "", false)
	for _, step := range []struct {
		by   *Store
		c    resume.Checkpoint
		want int64
	}{
		{old, storetest.Checkpoint("a", 10), 10}, {next, storetest.Checkpoint("a", 20), 20}, {old, storetest.Checkpoint("a", 15), 20},
		{next, storetest.Checkpoint("b", 3), 3}, {next, storetest.Checkpoint("b", 4), 4},
	} {
		if err := step.by.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{7: step.c}}); err != nil {
			t.Fatal(err)
		}
		if got := storetest.Loaded(t, next).Checkpoints[7]; got.Seq != step.want {
			t.Errorf("after %s %d there is %+v, want seq %d", step.c.ID, step.c.Seq, got, step.want)
		}
	}
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
	want := map[int]resume.Checkpoint{0: {Session: resume.Session{ID: "aaaa", Seq: 100, Shards: 2}}, 1: {Session: resume.Session{ID: "bbbb", Seq: 200, Shards: 2}}}
	for _, s := range []*Store{plain, compat} {
		if got := storetest.Loaded(t, s); !storetest.Same(got, resume.State{Checkpoints: want}) {
			t.Errorf("loaded %+v, want %+v", got, want)
		}
	}
	// Ours come to be the ones that count.
	ours := map[int]resume.Checkpoint{0: storetest.Checkpoint("cccc", 5), 1: storetest.Checkpoint("bbbb", 201)}
	if err := plain.Save(t.Context(), resume.State{Checkpoints: ours}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Loaded(t, plain); !storetest.Same(got, resume.State{Checkpoints: ours}) {
		t.Errorf("loaded %+v, want %+v", got, ours)
	}
	// With compat, a session that the other gateway has begun since is newer than ours.
	if err := compat.Save(t.Context(), resume.State{Checkpoints: ours}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"gateway0session": "cccc", "gateway0seq": "5", "gateway1session": "bbbb", "gateway1seq": "201"} {
		if got := strings.TrimSpace(srv.CLI("GET", key)); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	old("0", "dddd", "7")
	mixed := maps.Clone(ours)
	mixed[0] = resume.Checkpoint{Session: resume.Session{ID: "dddd", Seq: 7, Shards: 2}}
	if got := storetest.Loaded(t, compat); !storetest.Same(got, resume.State{Checkpoints: mixed}) {
		t.Errorf("loaded %+v, want %+v", got, mixed)
	}
	// One that Discord has refused does not come back from there.
	if err := plain.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{0: {}, 1: {}}}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Loaded(t, compat); len(got.Checkpoints) > 0 {
		t.Errorf("loaded %+v after all were given up", got)
	}
}

func TestRedisAway(t *testing.T) {
	srv := redistest.Start(t)
	s := openRedis(t, srv, "", false)
	c := storetest.Checkpoint("a", 1)
	save := func() error { return s.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{0: c}}) }
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
}

// What is in the keys and is none of ours costs its shard alone, and is replaced by the next
// checkpoint of it.
func TestRedisUnreadable(t *testing.T) {
	srv := redistest.Start(t)
	s := openRedis(t, srv, "", false)
	all := resume.State{Checkpoints: map[int]resume.Checkpoint{}, Starts: resume.Starts{Count: 5, Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)}}
	for shard := range 16 {
		all.Checkpoints[shard] = storetest.Checkpoint("a", 7)
	}
	if err := s.Save(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5_000)
	for shard, fields := range [][]string{
		{"seq", "many"}, {"seq", "-5"}, {"session", long}, {"shards", "-1"}, {"shards", "3", "seq", "8"}, {"gap_seq", "1e9"}, {"at", "now"}, {"bot", "-3"},
		{"seq", "99999999999999999999"},
	} {
		srv.CLI(append([]string{"HSET", "{sluice}:shard:" + strconv.Itoa(shard)}, fields...)...)
	}
	srv.CLI("HSET", "{sluice}:shard:4", "shards", "4") // it is shard 4
	srv.CLI("DEL", "{sluice}:shard:9")
	srv.CLI("SET", "{sluice}:shard:9", "a string")
	srv.CLI("HSET", "{sluice}:shard:12", "seq", "9000000000000000000")
	srv.CLI("HSET", "{sluice}:shard:13", "session", "a b")
	for shard, old := range map[string][2]string{"14": {"a b", "3"}, "15": {"a", "9000000000000000000"}} {
		srv.CLI("DEL", "{sluice}:shard:"+shard)
		srv.CLI("MSET", shard+"session", old[0], shard+"seq", old[1])
	}
	srv.CLI("SADD", "{sluice}:shards", "not a number", "-1", "99999999")
	srv.CLI("HSET", "{sluice}:starts", "count", "-1")
	srv.CLI("SET", "0session", long)
	srv.CLI("SET", "0seq", "3")
	srv.CLI("RPUSH", "1session", "a list")
	srv.CLI("SET", "1seq", "3")
	srv.CLI("HSET", "{sluice}:shard:11", "url", "wss://"+long)
	kept := storetest.Checkpoint("a", 7)
	kept.ResumeURL = ""
	next := openRedis(t, srv, "", false)
	got := storetest.Loaded(t, next)
	if want := (resume.State{Checkpoints: map[int]resume.Checkpoint{10: storetest.Checkpoint("a", 7), 11: kept}}); !storetest.Same(got, want) {
		t.Errorf("loaded %+v, want %+v", got, want)
	}
	for _, key := range []string{"{sluice}:shard:0: seq is", "{sluice}:shard:9: ", "{sluice}:shards: \"not a number\"", "{sluice}:starts: ", "0session: ",
		"{sluice}:shard:12: sequence number", "{sluice}:shard:13: session id", "14session: session id", "15session: sequence number"} {
		if !strings.Contains(fmt.Sprint(got.Unreadable), key) {
			t.Errorf("%s is not among %v", key, got.Unreadable)
		}
	}
	for _, compat := range []bool{false, true} {
		if compat {
			srv.CLI("SET", "{sluice}:shards", "a string")
		}
		next := openRedis(t, srv, "", compat)
		storetest.Loaded(t, next)
		if err := next.Save(t.Context(), all); err != nil {
			t.Fatalf("over what is damaged: %v", err)
		}
		if got := storetest.Loaded(t, next); !storetest.Same(got, all) {
			t.Errorf("loaded %+v, want %+v", got, all)
		}
	}
}

// A shard is asked for once, whatever else is in the set: a number has one spelling.
func TestRedisShardSpellings(t *testing.T) {
	srv := redistest.Start(t)
	s := openRedis(t, srv, "", false)
	want := resume.State{Checkpoints: map[int]resume.Checkpoint{0: storetest.Checkpoint("a", 1), 1: storetest.Checkpoint("b", 2)}}
	if err := s.Save(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	spellings := []string{"01", "+1", "-0", "00", "0001", "65536", "1.0", " 1"}
	srv.CLI(append([]string{"SADD", "{sluice}:shards"}, spellings...)...)
	srv.CLI("CONFIG", "RESETSTAT")
	got := storetest.Loaded(t, s)
	if !storetest.Same(got, want) || len(got.Unreadable) != len(spellings) {
		t.Errorf("loaded %+v, want %+v", got, want)
	}
	if stat := srv.CLI("INFO", "commandstats"); !strings.Contains(stat, "cmdstat_hgetall:calls=4,") { // two shards, the starts and the plan
		t.Errorf("the commands are %s", stat)
	}
}

// A seq that was raised beyond what a session can have does not stop the writes of the process
// that has the session.
func TestRedisSeqRaised(t *testing.T) {
	srv := redistest.Start(t)
	s := openRedis(t, srv, "", true)
	for seq := range int64(3) {
		if err := s.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{7: storetest.Checkpoint("a", seq)}}); err != nil {
			t.Fatal(err)
		}
		for _, get := range [][]string{{"HGET", "{sluice}:shard:7", "seq"}, {"GET", "7seq"}} {
			if got := strings.TrimSpace(srv.CLI(get...)); got != decimal(seq) {
				t.Errorf("%v is %s, want %d", get, got, seq)
			}
		}
		srv.CLI("HSET", "{sluice}:shard:7", "seq", "9000000000000000000")
		srv.CLI("SET", "7seq", "9000000000000000000")
	}
}

// A session that the other gateway has left does not outlive its end, whether or not the
// store is shown the shard without one.
func TestRedisOfOldGatewayRefused(t *testing.T) {
	srv := redistest.Start(t)
	srv.CLI("SET", "gateway0session", "aaaa")
	srv.CLI("SET", "gateway0seq", "100")
	k := &resume.Keeper{Store: openRedis(t, srv, "gateway", false), Bot: 7, Log: storetest.Quiet}
	if err := k.Load(t.Context()); err != nil || k.Session(0).ID != "aaaa" {
		t.Fatalf("%+v, %v", k.Session(0), err)
	}
	old := func() string { return strings.TrimSpace(srv.CLI("MGET", "gateway0session", "gateway0seq")) }
	save := func(s resume.Session) {
		t.Helper()
		if err := k.Save(t.Context(), maps.All(map[int]resume.Session{0: s}), resume.Starts{}); err != nil {
			t.Fatal(err)
		}
	}
	save(resume.Session{ID: "aaaa", Seq: 101, Shards: 1})
	if old() == "" {
		t.Error("the keys of a session that goes on are removed")
	}
	// Refused, and READY, between two polls.
	save(resume.Session{ID: "bbbb", Seq: 1, Shards: 1})
	if got := old(); got != "" {
		t.Errorf("the keys of the other gateway still have %q", got)
	}
	if got := storetest.Loaded(t, openRedis(t, srv, "gateway", true)); got.Checkpoints[0].ID != "bbbb" {
		t.Errorf("with compat there is %+v", got)
	}
	// A store that could not be loaded does not know what is there.
	srv.CLI("MSET", "gateway0session", "cccc", "gateway0seq", "5")
	unloaded := openRedis(t, srv, "gateway", false)
	if err := unloaded.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{0: storetest.Checkpoint("dddd", 1)}}); err != nil {
		t.Fatal(err)
	}
	if got := old(); got != "" {
		t.Errorf("what was not loaded is still there: %q", got)
	}
}

// A session whose id Discord gives again begins at its own seq, for the process that has it;
// for one that another has taken over from, it does not.
func TestRedisSessionIDAgain(t *testing.T) {
	srv := redistest.Start(t)
	for _, compat := range []bool{false, true} {
		prefix := strconv.FormatBool(compat)
		s := openRedis(t, srv, prefix, compat)
		for _, seq := range []int64{1, 500, 1, 2} {
			if err := s.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{7: storetest.Checkpoint("a", seq)}}); err != nil {
				t.Fatal(err)
			}
			if got := storetest.Loaded(t, openRedis(t, srv, prefix, compat)).Checkpoints[7]; got.Seq != seq {
				t.Errorf("compat %v: there is %+v, want seq %d", compat, got, seq)
			}
			if got := strings.TrimSpace(srv.CLI("GET", prefix+"7seq")); compat && got != strconv.FormatInt(seq, 10) {
				t.Errorf("the other gateway's seq is %s, want %d", got, seq)
			}
		}
		next := openRedis(t, srv, prefix, compat)
		storetest.Loaded(t, next) // seq 2
		if err := next.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{7: storetest.Checkpoint("a", 1)}}); err != nil {
			t.Fatal(err)
		}
		if got := storetest.Loaded(t, next).Checkpoints[7]; got.Seq != 1 {
			t.Errorf("after a restart there is %+v, want seq 1", got)
		}
	}
}

// The session starts of several processes sum up, and an attempt that is made again counts
// once.
func TestRedisStartsSumUp(t *testing.T) {
	srv := redistest.Start(t)
	until := time.Now().Add(20 * time.Hour).Truncate(time.Millisecond)
	a, b := openRedis(t, srv, "", false), openRedis(t, srv, "", false)
	save := func(r *Store, count int, until time.Time) {
		t.Helper()
		if err := r.Save(t.Context(), resume.State{Starts: resume.Starts{Count: count, Until: until}}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(count int, until time.Time) {
		t.Helper()
		if got := storetest.Loaded(t, openRedis(t, srv, "", false)).Starts; got.Count != count || !got.Until.Equal(until) {
			t.Errorf("%d starts until %v, want %d until %v", got.Count, got.Until, count, until)
		}
	}
	save(a, 10, until)
	want(10, until)
	storetest.Loaded(t, b)
	save(b, 13, until) // 3 of its own
	save(a, 12, until)
	save(a, 12, until)
	save(b, 13, until)
	want(15, until)
	// One that has loaded nothing counts in a day of its own, which begins later.
	c := openRedis(t, srv, "", false)
	save(c, 4, until.Add(time.Hour))
	save(c, 5, until.Add(time.Hour))
	want(20, until)
	// The day is over, or was never one.
	for _, bad := range []time.Time{time.Now().Add(-time.Second), time.Now().Add(1000 * time.Hour)} {
		srv.CLI("HSET", "{sluice}:starts", "until", decimal(bad.UnixMilli()))
		next := until.Add(2 * time.Hour)
		save(a, 1, next)
		want(1, next)
	}
}

// The store needs the rights to its own keys, and no others.
func TestRedisRights(t *testing.T) {
	srv := redistest.Start(t)
	rights := strings.Fields("ACL SETUSER narrow reset on >secret ~{sluice}:* +hello +ping +client +script|load" +
		" +smembers +hgetall +get +del +srem +hset +hmget +expire +sadd +eval +evalsha")
	if out := srv.CLI(rights...); !strings.Contains(out, "OK") {
		t.Fatal(out)
	}
	open := func() *Store {
		o, err := redis.NewClientOption([]string{"redis://narrow:secret@" + srv.Addr}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.ForceSingleClient = true
		r := &Store{Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, o) }}
		t.Cleanup(func() { r.Close() })
		return r
	}
	want := resume.State{
		Checkpoints: map[int]resume.Checkpoint{0: storetest.Checkpoint("a", 7)},
		Starts:      resume.Starts{Count: 3, Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)},
	}
	for _, load := range []bool{true, false} {
		r := open()
		if load {
			if got := storetest.Loaded(t, r); len(got.Unreadable) != 1 || !strings.Contains(got.Unreadable[0].Error(), "0session: what another gateway has left is not read") {
				t.Errorf("unreadable are %v", got.Unreadable)
			}
		}
		for _, changes := range []resume.State{want, {Checkpoints: map[int]resume.Checkpoint{0: {}}}, want} {
			if err := r.Save(t.Context(), changes); err != nil {
				t.Fatal(err)
			}
		}
		if got := storetest.Loaded(t, open()); !storetest.Same(got, want) {
			t.Errorf("loaded %+v, want %+v", got, want)
		}
		srv.CLI("FLUSHALL")
	}
}

// Two processes that run the same shard are found out; one that follows another is none.
func TestShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var told []string
	open := func(name string) *Store {
		r := openRedis(t, s, "", false)
		r.Shared = func(shards []int) { told = append(told, fmt.Sprint(name, shards)) }
		return r
	}
	save := func(r *Store, seq int64) {
		t.Helper()
		if err := r.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{
			3: {Session: resume.Session{ID: "a", Seq: seq}}, 7: {Session: resume.Session{ID: "b", Seq: seq}}}}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := open("a"), open("b")
	save(a, 1)
	save(a, 2)
	save(b, 3) // the next process
	save(b, 4)
	if len(told) > 0 {
		t.Errorf("told %q of a process that follows another", told)
	}
	save(a, 5)
	if want := []string{"a[3 7]"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
