//go:build unix

// This file tests stores that lose what is in them while a process goes on.

package redis

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"sluice/resume"
	"sluice/resume/internal/storetest"
	"sluice/sinks/sinktest/redistest"
)

// What Redis loses is stored again by the last save, and within some seconds for a process that is
// killed; and a part of it, too.
func TestRedisLost(t *testing.T) {
	const shards = checkShards + 100
	srv := redistest.Start(t)
	var log bytes.Buffer
	r := openRedis(t, srv, "", false)
	sessions, starts := storetest.Sessions(shards)
	k := &resume.Keeper{Store: storetest.Unclosed{Store: r}, Bot: 7, Log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	// later is the keeper's next look at the store.
	later := func() {
		t.Helper()
		starts.Count++ // or the keeper asks the store in some seconds
		r.checked = r.checked.Add(-resume.CheckEvery)
		if err := k.Save(t.Context(), maps.All(sessions), starts); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Save(t.Context(), maps.All(sessions), starts); err != nil {
		t.Fatal(err)
	}
	srv.CLI("FLUSHALL")
	if err := k.Close(t.Context(), maps.All(sessions), starts); err != nil {
		t.Fatal(err)
	}
	next := openRedis(t, srv, "", false)
	if n := storetest.Missing(t, next, sessions); n > 0 || storetest.Loaded(t, next).Starts.Count != 3 {
		t.Errorf("%d of %d sessions are missing after the last save", n, shards)
	}
	later()
	if log.Len() > 0 {
		t.Errorf("logged without a loss: %s", &log)
	}
	last := fmt.Sprint("{sluice}:shard:", shards-1)
	for name, lose := range map[string][]string{
		"all": {"FLUSHALL"}, "the set": {"DEL", "{sluice}:shards"}, "another value": {"SET", "{sluice}:shards", "x"},
		"a shard": {"DEL", last}, "its seq": {"HSET", last, "seq", "6"}, "a shard's type": {"SET", last, "x"},
	} {
		log.Reset()
		srv.CLI(lose...)
		later()
		later() // the second part of the shards
		if n := storetest.Missing(t, openRedis(t, srv, "", false), sessions); n > 0 {
			t.Errorf("%s: %d of %d sessions are missing in the store", name, n, shards)
		}
		if name != "the set" && strings.Count(log.String(), "are missing in the store") != 1 {
			t.Errorf("%s: logged %q", name, &log)
		}
	}
	// A session that another process has begun since is not lost, and not replaced by the last save.
	srv.CLI("HSET", last, "session", "of-another-process", "seq", "1")
	log.Reset()
	later()
	later()
	if err := k.Close(t.Context(), maps.All(sessions), starts); err != nil {
		t.Fatal(err)
	}
	if c := storetest.Loaded(t, next).Checkpoints[shards-1]; c.ID != "of-another-process" || log.Len() > 0 {
		t.Errorf("stored %+v, logged %q", c, &log)
	}
}

// The last save leaves the session that another process has begun, also in the other gateway's keys,
// and writes those that are missing there.
func TestRedisLastSaveOfReplaced(t *testing.T) {
	srv := redistest.Start(t)
	old, next := openRedis(t, srv, "", true), openRedis(t, srv, "", true)
	sessions, starts := storetest.Sessions(2)
	k := &resume.Keeper{Store: storetest.Unclosed{Store: old}, Bot: 7, Log: storetest.Quiet}
	if err := k.Save(t.Context(), maps.All(sessions), starts); err != nil {
		t.Fatal(err)
	}
	if err := next.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{0: storetest.Checkpoint("of-another-process", 1)}}); err != nil {
		t.Fatal(err)
	}
	srv.CLI("DEL", "1session", "1seq", "{sluice}:shard:1")
	if err := k.Close(t.Context(), maps.All(sessions), starts); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"0session": "of-another-process", "0seq": "1", "1session": "session-of-1", "1seq": "7"} {
		if got := strings.TrimSpace(srv.CLI("GET", key)); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	state := storetest.Loaded(t, next)
	if a, b := state.Checkpoints[0], state.Checkpoints[1]; a.ID != "of-another-process" || b.ID != "session-of-1" {
		t.Errorf("stored %+v and %+v", a, b)
	}
}
