// This file tests how the store of sessions is opened, waited for, and ended.

package cli

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks/redis"
)

// stuck is a store that never answers.
type stuck struct {
	resume.Memory
	free chan struct{}
}

func (s *stuck) Save(context.Context, resume.State) error {
	<-s.free
	return nil
}

// oneSession is an engine with a session that no store has yet.
type oneSession struct{}

func (oneSession) Sessions() iter.Seq2[int, engine.Session] {
	return maps.All(map[int]engine.Session{0: {ID: "a", Seq: 1, Shards: 1}})
}
func (oneSession) Starts() engine.Starts { return engine.Starts{} }
func (oneSession) Stored(int, string)    {}

func TestStuckStoreEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{free: make(chan struct{})}
		k := &keeper{Keeper: resume.Keeper{Store: s, Log: slog.New(slog.DiscardHandler)}}
		if _, _, err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.start(oneSession{})
		time.Sleep(time.Second) // it is in the middle of a Save
		began := time.Now()
		err := k.end(oneSession{})
		if err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d != endTimeout {
			t.Errorf("ended after %v, want %v", d, endTimeout)
		}
		close(s.free)
	})
}

// away is a store that cannot be loaded for a while, and then has a session.
type away struct {
	resume.Memory
	until time.Time
	err   error
	loads int
}

func (a *away) Load(context.Context) (resume.State, error) {
	if a.loads++; time.Now().Before(a.until) {
		return resume.State{}, a.err
	}
	return resume.State{Checkpoints: map[int]resume.Checkpoint{0: {Session: engine.Session{ID: "a", Seq: 1, Shards: 1}}}}, nil
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
		name     string
		environ  []string
		away     time.Duration
		err      error
		wait     time.Duration // at most, and at least less a second
		sessions int
		wrong    string
		logged   string
	}{
		{"there", onRedis, 0, refused, 0, 1, "", ""},
		{"back", onRedis, loadWait - time.Second, refused, loadWait, 1, "", "waited for"},
		{"away", onRedis, time.Hour, refused, loadWait + time.Second, 0, "", "all shards identify"},
		{"a file", []string{"SHARD_STORE_TYPE=file"}, time.Hour, refused, 0, 0, "shard_store.directory: connection refused", ""},
		{"a mistake", onRedis, time.Hour, &redis.ConfigError{Problem: redis.Login, Err: refused}, 0, 0, "resume: connection refused", ""},
		{"required", required, time.Hour, refused, 0, 0, "connection refused", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var text bytes.Buffer
			log, began := slog.New(slog.NewTextHandler(&text, nil)), time.Now()
			s := &away{until: began.Add(tt.away), err: tt.err}
			k := &keeper{Keeper: resume.Keeper{Store: s, Log: log}}
			err := k.load(t.Context(), settings(t, tt.environ...), log)
			if (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.wrong)
			}
			if mistake := tt.name == "a mistake" || tt.name == "a file"; errors.As(err, new(settingError)) != mistake {
				t.Errorf("%s: %#v", tt.name, err)
			}
			if d := time.Since(began); d > tt.wait || d < tt.wait-time.Second {
				t.Errorf("%s: waited for %v, want %v", tt.name, d, tt.wait)
			}
			if len(k.sessions) != tt.sessions || !strings.Contains(text.String(), tt.logged) || tt.logged == "" && text.Len() > 0 {
				t.Errorf("%s: %v, logged %q", tt.name, k.sessions, &text)
			}
			if n := strings.Count(text.String(), "waited for"); n > 1 {
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
		k := &keeper{Keeper: resume.Keeper{Store: s, Log: log}}
		if err := k.load(ctx, settings(t, "SHARD_STORE_TYPE=redis"), log); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// The last Save writes what no tick has written, and the store is closed.
func TestEndSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(resume.Memory)
		k := &keeper{Keeper: resume.Keeper{Store: s, Every: time.Hour, Log: slog.New(slog.DiscardHandler)}}
		if _, _, err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.start(oneSession{})
		if err := k.end(oneSession{}); err != nil {
			t.Fatal(err)
		}
		if state, err := s.Load(t.Context()); err != nil || state.Checkpoints[0].ID != "a" {
			t.Errorf("stored %+v, %v", state, err)
		}
	})
}

// A directory that another process has is a mistake in the settings. Events wait for a store
// that outlives the process, and for no other.
func TestOpenStore(t *testing.T) {
	cfg := settings(t, "SHARD_STORE_TYPE=file", "SHARD_STORE_DIRECTORY="+t.TempDir())
	log := slog.New(slog.DiscardHandler)
	k, err := newKeeper(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	if k.hold() == nil {
		t.Error("events do not wait for sessions to be stored")
	}
	_, err = openStore(cfg, log)
	if !errors.As(err, new(settingError)) || !strings.HasPrefix(err.Error(), "shard_store.directory: ") {
		t.Errorf("opened twice: %v", err)
	}
	if err := k.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if k, err = newKeeper(t.Context(), settings(t, "SHARD_STORE_TYPE=memory"), log); err != nil || k.hold() != nil {
		t.Errorf("in memory: %v, events wait: %v", err, k.hold() != nil)
	}
}
