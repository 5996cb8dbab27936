//go:build unix

// This file tests what is shown of the stored sessions, and that they can be forgotten.

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks/sinktest/redistest"
)

func TestSessions(t *testing.T) {
	dir := t.TempDir()
	t.Run("file", func(t *testing.T) { testSessions(t, "SHARD_STORE_TYPE=file", "SHARD_STORE_DIRECTORY="+dir) })
	t.Run("redis", func(t *testing.T) {
		testSessions(t, "SHARD_STORE_TYPE=redis", "SHARD_STORE_PREFIX=bot", "REDIS_URL="+redistest.Start(t).Addr)
	})
}

func testSessions(t *testing.T, environ ...string) {
	cfg, problems := config.Load(config.Sources{Environ: append(environ, "DISCORD_TOKEN=a.b.c")})
	if problems.Failed() {
		t.Fatal(problems)
	}
	run := func(forget, yes bool, answer string) (code int, out string) {
		var text bytes.Buffer
		code = sessions(t.Context(), cfg, forget, yes, strings.NewReader(answer), &text, &text)
		return code, text.String()
	}
	if code, out := run(false, false, ""); code != exitOK || out != "no sessions are stored\n" {
		t.Errorf("an empty directory: %d, %q", code, out)
	}
	store, err := openStore(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	checkpoint := func(id string, seq int64, bot string) resume.Checkpoint {
		return resume.Checkpoint{Session: engine.Session{ID: id, Seq: seq, Shards: 16}, Bot: resume.Fingerprint(bot), At: time.Now().Add(-time.Minute)}
	}
	state := resume.State{Checkpoints: map[int]resume.Checkpoint{12: checkpoint("0123456789abcdef", 34, "a.b.c"), 3: checkpoint("fedcba9876543210", 5, "other")}}
	if err := store.Save(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	list := func() string { // while a process has the directory
		t.Helper()
		code, out := run(false, false, "")
		if code != exitOK || strings.Contains(out, "89abcdef") || strings.Contains(out, "543210") {
			t.Errorf("%d, %q", code, out)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	want := "shard of session seq age 3 16 fedc… 5 1m0s of another token 12 16 0123… 34 1m0s"
	if out := list(); out != want {
		t.Errorf("listed %q, want %q", out, want)
	}
	if cfg.ShardStore.Type == config.StoreFile {
		if code, out := run(true, true, ""); code != exitFailure || !strings.Contains(out, "is in use by process") {
			t.Errorf("forgotten under a process that runs: %d, %q", code, out)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out := run(true, false, "n\n"); code != exitOK || !strings.HasSuffix(out, "kept\n") || list() != want {
		t.Errorf("after a no: %d, %q", code, out)
	}
	if code, out := run(true, false, "y\n"); code != exitOK || !strings.Contains(out, "2 sessions forgotten") {
		t.Errorf("after a yes: %d, %q", code, out)
	}
	if out := list(); out != "no sessions are stored" {
		t.Errorf("listed %q", out)
	}
	cfg.ShardStore.Type = config.StoreMemory
	if code, out := run(false, false, ""); code != exitUsage || !strings.Contains(out, "shard_store.type") {
		t.Errorf("in memory: %d, %q", code, out)
	}
}
