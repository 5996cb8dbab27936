//go:build unix

// This file tests what is shown of the stored sessions, and that they can be forgotten.

package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
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
	if code, out := run(false, false, ""); code != exitOK || out != "no sessions are persisted\n" {
		t.Errorf("an empty directory: %d, %q", code, out)
	}
	store, err := openStore(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	checkpoint := func(id string, seq int64, bot string) resume.Checkpoint {
		return resume.Checkpoint{Session: resume.Session{ID: id, Seq: seq, Shards: 16}, Bot: resume.Fingerprint(bot), At: time.Now().Add(-time.Minute)}
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
	want := "shard of session seq age 3 16 fedc… 5 1m0s of another token or server 12 16 0123… 34 1m0s"
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
	if out := list(); out != "no sessions are persisted" {
		t.Errorf("listed %q", out)
	}
	cfg.ShardStore.Type = config.StoreMemory
	if code, out := run(false, false, ""); code != exitUsage || !strings.Contains(out, "shard_store.type") {
		t.Errorf("in memory: %d, %q", code, out)
	}
}

// A session belongs to the server that has it: the next process resumes it there alone. One that
// an earlier version has stored, which did not say where, is resumed at Discord alone.
func TestSessionsOfServer(t *testing.T) {
	t.Chdir(t.TempDir())
	keeperAt := func(env string) *resume.Keeper {
		t.Helper()
		cfg, problems := config.Load(config.Sources{Environ: append(strings.Fields(env), "DISCORD_TOKEN=a.b.c", "DISCORD_INTENTS=GUILDS")})
		if problems.Failed() {
			t.Fatal(problems)
		}
		k, err := newKeeper(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const here, there = "DISCORD_API_HOST=127.0.0.1:8400", "DISCORD_API_HOST=127.0.0.1:8401"
	for _, tc := range []struct {
		stored, now string
		resumed     bool
	}{
		{"", "", true},
		{"", "DISCORD_GATEWAY_URL=wss://gateway.discord.gg", true},
		{"", here, false},
		{here, here, true},
		{here, there, false},
		{here, here + " DISCORD_GATEWAY_URL=ws://127.0.0.1:9000", false},
		{"", "DISCORD_GATEWAY_URL=wss://gw.example.com DISCORD_SHARD_COUNT=1", false},
		{"old", "", true},
		{"old", "DISCORD_API_HOST=canary.discord.com", true},
		{"old", here, false},
		{"old", "DISCORD_API_HOST=notdiscord.com", false},
		{"old", "DISCORD_GATEWAY_URL=wss://gw.example.com DISCORD_SHARD_COUNT=1", false},
		{"old", "DISCORD_GATEWAY_URL=wss://gateway.discord.gg", false},
	} {
		var k *resume.Keeper
		bot := resume.Fingerprint("a.b.c")
		if tc.stored == "old" {
			k = keeperAt("")
		} else {
			k = keeperAt(tc.stored)
			bot = k.Bot
		}
		c := resume.Checkpoint{Session: resume.Session{ID: "a", Seq: 1, Shards: 1}, Bot: bot, Intents: k.Intents, At: time.Now()}
		if err := errors.Join(k.Store.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{0: c}}), k.Store.Close()); err != nil {
			t.Fatal(err)
		}
		k = keeperAt(tc.now)
		if got := k.Session(0).ID == "a"; got != tc.resumed {
			t.Errorf("persisted at %q and started at %q: resumed %v", tc.stored, tc.now, got)
		}
		if err := k.Store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
