// This file tests how the store of sessions is opened and waited for.

package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/resume"
	"sluice/sinks/redis"
)

// away is a store that cannot be loaded for a while, and then has a session.
type away struct {
	resume.Store
	until time.Time
	err   error
	loads int
}

func (a *away) Load(context.Context) (resume.State, error) {
	if a.loads++; time.Now().Before(a.until) {
		return resume.State{}, a.err
	}
	return resume.State{Checkpoints: map[int]resume.Checkpoint{0: {Session: resume.Session{ID: "a", Seq: 1, Shards: 1}}}}, nil
}

func settings(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	cfg, problems := config.Load(config.Sources{Environ: append(environ, "DISCORD_TOKEN=a.b.c", "REDIS_URL=127.0.0.1:1")})
	if problems.Failed() {
		t.Fatal(problems)
	}
	return cfg
}

// A store that is away is waited for, as long as a session lasts, and no longer; another mistake is reported at once.
func TestStoreIsWaitedFor(t *testing.T) {
	refused := errors.New("connection refused")
	onRedis, required := []string{"SHARD_STORE_TYPE=redis"}, []string{"SHARD_STORE_TYPE=redis", "BROKER_TYPE=redis", "BROKER_REQUIRED=true"}
	for _, tt := range []struct {
		name    string
		environ []string
		away    time.Duration
		err     error
		wait    time.Duration // at most, and at least less a second
		resumed bool
		wrong   string
		logged  string
	}{
		{"there", onRedis, 0, refused, 0, true, "", ""},
		{"back", onRedis, resume.LoadTimeout - time.Second, refused, resume.LoadTimeout, true, "", "waiting for the store"},
		{"away", onRedis, time.Hour, refused, resume.LoadTimeout + time.Second, false, "", "all shards identify"},
		{"a file", []string{"SHARD_STORE_TYPE=file"}, time.Hour, refused, 0, false, "shard_store.directory: connection refused", ""},
		{"a mistake", onRedis, time.Hour, &redis.ConfigError{Problem: redis.Login, Err: refused}, 0, false, "resume: ", ""},
		{"required", required, time.Hour, refused, 0, false, "connection refused", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var text bytes.Buffer
			log, began := slog.New(slog.NewTextHandler(&text, nil)), time.Now()
			s := &away{until: began.Add(tt.away), err: tt.err}
			k := &resume.Keeper{Store: s, Final: finalLoad(settings(t, tt.environ...)), Log: log}
			err := k.Load(t.Context())
			if (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.wrong)
			}
			if mistake := tt.name == "a mistake" || tt.name == "a file"; errors.As(err, new(settingError)) != mistake {
				t.Errorf("%s: %#v", tt.name, err)
			}
			if d := time.Since(began); d > tt.wait || d < tt.wait-time.Second {
				t.Errorf("%s: waited for %v, want %v", tt.name, d, tt.wait)
			}
			if (k.Session(0).ID != "") != tt.resumed || !strings.Contains(text.String(), tt.logged) || tt.logged == "" && text.Len() > 0 {
				t.Errorf("%s: %v, logged %q", tt.name, k.Session(0), &text)
			}
			if n := strings.Count(text.String(), "waiting for the store"); n > 1 {
				t.Errorf("%s: logged %d times", tt.name, n)
			}
		})
	}
}

// A process that is ended while it waits for the store does not wait on.
func TestStoreIsNotWaitedForAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		s, began := &away{until: time.Now().Add(time.Hour), err: errors.New("connection refused")}, time.Now()
		log := slog.New(slog.DiscardHandler)
		k := &resume.Keeper{Store: s, Final: finalLoad(settings(t, "SHARD_STORE_TYPE=redis")), Log: log}
		if err := k.Load(ctx); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A directory that another process has is a mistake in the settings. In memory
// nothing is stored.
func TestOpenStore(t *testing.T) {
	cfg := settings(t, "SHARD_STORE_TYPE=file", "SHARD_STORE_DIRECTORY="+t.TempDir())
	log := slog.New(slog.DiscardHandler)
	k, err := newKeeper(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if k == nil {
		t.Fatal("nothing is stored")
	}
	_, err = openStore(cfg, log)
	if !errors.As(err, new(settingError)) || !strings.HasPrefix(err.Error(), "shard_store.directory: ") {
		t.Errorf("opened twice: %v", err)
	}
	if err := k.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if k, err = newKeeper(t.Context(), settings(t, "SHARD_STORE_TYPE=memory"), log); err != nil || k != nil {
		t.Errorf("in memory: %v, %v", k, err)
	}
}
