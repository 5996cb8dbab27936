//go:build unix

// This file tests stores that lose what is in them while a process goes on.

package resume

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/engine"
	"sluice/sinks/sinktest/redistest"
)

// quietEngine returns an engine with shards without events.
func quietEngine(shards int) *fakeEngine {
	e, sessions := new(fakeEngine), make(map[int]engine.Session)
	for shard := range shards {
		sessions[shard] = engine.Session{ID: fmt.Sprint("session-of-", shard), Seq: 7, Shards: shards}
	}
	e.set(sessions, engine.Starts{Count: 3, Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)})
	return e
}

// missing returns how many sessions of the engine are not in the store.
func missing(t *testing.T, s Store, e *fakeEngine) (n int) {
	t.Helper()
	state := loaded(t, s)
	for shard, session := range e.sessions {
		if state.Checkpoints[shard].Session != session {
			n++
		}
	}
	return n
}

// What Redis loses is stored again by the last save, and within some seconds for a process that is
// killed; and a part of it, too.
func TestRedisLost(t *testing.T) {
	const shards = checkShards + 100
	srv := redistest.Start(t)
	var log bytes.Buffer
	r, e := openRedis(t, srv, "", false), quietEngine(shards)
	k := &Keeper{Store: r, Bot: 7, Log: slog.New(slog.NewTextHandler(&log, nil))}
	if _, _, err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	// later is the keeper's next look at the store.
	later := func() {
		t.Helper()
		k.tried, r.checked = k.tried.Add(-checkEvery), r.checked.Add(-checkEvery)
		if err := k.save(t.Context(), e, changed); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.save(t.Context(), e, changed); err != nil {
		t.Fatal(err)
	}
	srv.CLI("FLUSHALL")
	if err := k.Save(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	next := openRedis(t, srv, "", false)
	if n := missing(t, next, e); n > 0 || loaded(t, next).Starts.Count != 3 {
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
		if n := missing(t, openRedis(t, srv, "", false), e); n > 0 {
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
	if err := k.Save(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if c := loaded(t, next).Checkpoints[shards-1]; c.ID != "of-another-process" || log.Len() > 0 {
		t.Errorf("stored %+v, logged %q", c, &log)
	}
}

// The last save leaves the session that another process has begun, also in the other gateway's keys,
// and writes those that are missing there.
func TestRedisLastSaveOfReplaced(t *testing.T) {
	srv := redistest.Start(t)
	old, next := openRedis(t, srv, "", true), openRedis(t, srv, "", true)
	e := quietEngine(2)
	k := &Keeper{Store: old, Bot: 7, Log: quiet}
	if err := k.save(t.Context(), e, changed); err != nil {
		t.Fatal(err)
	}
	if err := next.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{0: checkpoint("of-another-process", 1)}}); err != nil {
		t.Fatal(err)
	}
	srv.CLI("DEL", "1session", "1seq", "{sluice}:shard:1")
	if err := k.Save(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"0session": "of-another-process", "0seq": "1", "1session": "session-of-1", "1seq": "7"} {
		if got := strings.TrimSpace(srv.CLI("GET", key)); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	state := loaded(t, next)
	if a, b := state.Checkpoints[0], state.Checkpoints[1]; a.ID != "of-another-process" || b.ID != "session-of-1" {
		t.Errorf("stored %+v and %+v", a, b)
	}
}

// A file that is gone, or another, is written again: by the last save, and within some seconds for a
// process that is killed. The directory is locked as before.
func TestFileLost(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"the directory": os.RemoveAll,
		"the file":      func(dir string) error { return os.Remove(filepath.Join(dir, fileName)) },
		"the lock":      func(dir string) error { return os.Remove(filepath.Join(dir, lockName)) },
		"another file": func(dir string) error {
			path := filepath.Join(dir, fileName)
			return errors.Join(os.WriteFile(path+".other", []byte(magic), 0o600), os.Rename(path+".other", path))
		},
		"its text": func(dir string) error { return os.Truncate(filepath.Join(dir, fileName), 0) },
	} {
		for _, end := range []bool{true, false} {
			dir, e := filepath.Join(t.TempDir(), "state"), quietEngine(100)
			var log bytes.Buffer
			f, err := OpenFile(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			k := &Keeper{Store: f, Bot: 7, Log: quiet}
			if err := k.save(t.Context(), e, changed); err != nil {
				t.Fatal(err)
			}
			if err := lose(dir); err != nil {
				t.Fatal(err)
			}
			if end {
				err = k.Save(t.Context(), e)
			} else {
				k.tried = k.tried.Add(-checkEvery) // the keeper's next look at the store
				err = k.save(t.Context(), e, changed)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ReadFile(dir); err != nil || len(got.Checkpoints) != 100 || got.Starts.Count != 3 {
				t.Errorf("%s: %d sessions are stored, want 100: %v", name, len(got.Checkpoints), err)
			}
			if logged := strings.Contains(log.String(), "is gone or another"); logged != (name != "the lock") {
				t.Errorf("%s: logged %q", name, &log)
			}
			if _, err := OpenFile(dir, quiet); !errors.As(err, new(*InUseError)) {
				t.Errorf("%s: the directory is not locked any more: %v", name, err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A directory that another process has locked in the place of the removed one is left to it.
func TestFileLostToAnother(t *testing.T) {
	dir, e := filepath.Join(t.TempDir(), "state"), quietEngine(100)
	f, err := OpenFile(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := &Keeper{Store: f, Bot: 7, Log: quiet}
	if err := errors.Join(k.Save(t.Context(), e), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	other, err := OpenFile(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Save(t.Context(), e); !errors.As(err, new(*InUseError)) {
		t.Errorf("saved in the directory of another process: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(t.Context(), State{}); err != nil {
		t.Fatal(err)
	}
	if n := missing(t, f, e); n > 0 {
		t.Errorf("%d sessions are missing", n)
	}
	if got, err := ReadFile(dir); err != nil || len(got.Checkpoints) != 100 {
		t.Errorf("%d sessions are stored after the other has ended: %v", len(got.Checkpoints), err)
	}
}
