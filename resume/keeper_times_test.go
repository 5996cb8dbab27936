// This file tests when the keeper asks its store, and for how long it waits for it, on fake time.

package resume_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/resume"
	"sluice/resume/internal/storetest"
)

// A session without events is stored again before it is old, and no more often: whenever the
// process is killed, the next one has the rest of the time in which it is resumed.
func TestKeeperRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(failing), new(shards)
		e.set(map[int]resume.Session{0: {ID: "idle", Seq: 1, Shards: 1}}, resume.Starts{})
		e.run(t, load(t, &resume.Keeper{Store: store, Bot: 7, MaxAge: time.Hour, Log: storetest.Quiet}), time.Second)
		const hours = 6
		for range hours * 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if age := time.Since(storetest.Loaded(t, store).Checkpoints[0].At); age > 15*time.Minute+time.Second {
				t.Fatalf("what is stored of a session that goes on is %v old", age)
			}
		}
		if store.written.Load() > 4*hours+1 {
			t.Errorf("stored %d times in %d hours", store.written.Load(), hours)
		}
	})
}

// A time that the clock has not reached yet is no age: the session is stored with one that is.
func TestKeeperClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		session := resume.Session{ID: "idle", Seq: 1, Shards: 1}
		store := new(storetest.Memory)
		store.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{0: {Session: session, Bot: 7, At: time.Now().Add(time.Hour)}}})
		k := load(t, &resume.Keeper{Store: store, Bot: 7, Log: storetest.Quiet})
		if err := k.Save(t.Context(), maps.All(map[int]resume.Session{0: session}), resume.Starts{}); err != nil {
			t.Fatal(err)
		}
		if at := storetest.Loaded(t, store).Checkpoints[0].At; at.After(time.Now()) {
			t.Errorf("stored for in %v", time.Until(at))
		}
	})
}

// A store is asked some seconds apart for what it has, also when nothing changes.
func TestKeeperAsksStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(failing), new(shards)
		e.set(map[int]resume.Session{0: {ID: "a", Seq: 1, Shards: 1}}, resume.Starts{})
		e.run(t, load(t, &resume.Keeper{Store: store, Bot: 7, Log: storetest.Quiet}), tick)
		time.Sleep(time.Second)
		synctest.Wait()
		before := store.saves.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := store.saves.Load() - before; n != 12 {
			t.Errorf("a store that works was asked %d times in a minute without changes, want 12", n)
		}
		if n := store.written.Load(); n != 1 {
			t.Errorf("%d checkpoints written", n)
		}
	})
}

// away is a store that cannot be loaded for a while, and then has a session.
type away struct {
	storetest.Memory
	until time.Time
	err   error
}

func (a *away) Load(context.Context) (resume.State, error) {
	if time.Now().Before(a.until) {
		return resume.State{}, a.err
	}
	return resume.State{Checkpoints: map[int]resume.Checkpoint{0: {Session: resume.Session{ID: "a", Seq: 1, Shards: 1}}}}, nil
}

// A store that is away is waited for, as long as a session lasts, and no longer; what no waiting
// mends is reported at once.
func TestStoreIsWaitedFor(t *testing.T) {
	refused, mistake := errors.New("connection refused"), errors.New("wrong password")
	for _, tt := range []struct {
		name     string
		away     time.Duration
		err      error
		wait     time.Duration // at most, and at least less a second
		sessions int
		logged   string
	}{
		{"there", 0, refused, 0, 1, ""},
		{"back", resume.LoadTimeout - time.Second, refused, resume.LoadTimeout, 1, "waiting for the store"},
		{"away", time.Hour, refused, resume.LoadTimeout + time.Second, 0, "all shards identify"},
		{"a mistake", time.Hour, mistake, 0, 0, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var text bytes.Buffer
			began := time.Now()
			k := &resume.Keeper{Store: &away{until: began.Add(tt.away), err: tt.err}, Log: slog.New(slog.NewTextHandler(&text, nil))}
			k.Final = func(_ context.Context, err error) error {
				if errors.Is(err, mistake) {
					return mistake
				}
				return nil
			}
			if err := k.Load(t.Context()); (err == mistake) != (tt.err == mistake) || err != nil && err != mistake {
				t.Errorf("%s: %v", tt.name, err)
			}
			if d := time.Since(began); d > tt.wait || d < tt.wait-time.Second {
				t.Errorf("%s: waited for %v, want %v", tt.name, d, tt.wait)
			}
			if len(sessions(k)) != tt.sessions || !strings.Contains(text.String(), tt.logged) || tt.logged == "" && text.Len() > 0 {
				t.Errorf("%s: %v, logged %q", tt.name, sessions(k), &text)
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
		began := time.Now()
		k := &resume.Keeper{Store: &away{until: began.Add(time.Hour), err: errors.New("connection refused")}, Log: storetest.Quiet}
		if err := k.Load(ctx); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
