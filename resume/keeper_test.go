// This file tests what the keeper writes, and what it takes back.

package resume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/sinks"
)

// failing is a store that takes nothing for a while.
type failing struct {
	Memory
	lock  sync.Mutex
	err   error
	saves atomic.Int64
	loads error // what Load returns
}

func (f *failing) Load(ctx context.Context) (State, error) {
	if f.loads != nil {
		return State{}, f.loads
	}
	return f.Memory.Load(ctx)
}

func (f *failing) fail(err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.err = err
}

func (f *failing) Save(ctx context.Context, changes State) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.saves.Add(1)
	if f.err != nil {
		return f.err
	}
	return f.Memory.Save(ctx, changes)
}

// fakeEngine has what it is told to have.
type fakeEngine struct {
	mu       sync.Mutex
	sessions map[int]engine.Session
	starts   engine.Starts
	stored   []string
}

func (e *fakeEngine) set(sessions map[int]engine.Session, starts engine.Starts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sessions, e.starts = maps.Clone(sessions), starts
}

func (e *fakeEngine) Sessions() iter.Seq2[int, engine.Session] {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.All(e.sessions)
}

func (e *fakeEngine) Stored(shard int, session string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stored = append(e.stored, fmt.Sprint(shard, " ", session))
}

func (e *fakeEngine) Starts() engine.Starts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.starts
}

// What is in the store is never ahead of the sink, and a failing store stops nothing.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := new(failing)
		newKeeper := func() *Keeper {
			return &Keeper{Store: store, Bot: 7, Intents: 1, Log: slog.New(slog.NewTextHandler(&log, nil))}
		}
		load := func(k *Keeper) map[int]engine.Session {
			t.Helper()
			s, _, err := k.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		k := newKeeper()
		if s := load(k); len(s) != 0 {
			t.Errorf("an empty store has %v", s)
		}
		now := map[int]engine.Session{0: {ID: "a", Seq: 1, Shards: 2}, 1: {}}
		e, starts := new(fakeEngine), engine.Starts{}
		e.set(now, starts)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.Run(ctx, e)
		}()
		wait := func(d time.Duration) { e.set(now, starts); time.Sleep(d); synctest.Wait() }
		wait(time.Second)
		if store.saves.Load() != 1 {
			t.Errorf("%d saves of one change", store.saves.Load())
		}
		now[0], now[1] = engine.Session{ID: "a", Seq: 9, Shards: 2}, engine.Session{ID: "b", Seq: 3, Shards: 2}
		wait(time.Second)
		if store.saves.Load() != 2 {
			t.Errorf("%d saves of two changes", store.saves.Load())
		}
		starts = engine.Starts{Count: 3, Until: time.Now().Add(time.Hour)}
		wait(time.Second)
		if _, got, err := newKeeper().Load(t.Context()); err != nil || got != starts || store.saves.Load() != 3 {
			t.Errorf("the count of identifies is %+v after %d saves, %v", got, store.saves.Load(), err)
		}
		store.fail(errors.New("disk full"))
		now[0] = engine.Session{ID: "a", Seq: 10, Shards: 2}
		now[1] = engine.Session{ID: "c", Seq: 1, Shards: 2}
		wait(150 * time.Second)
		if n := len(e.stored); e.stored[n-1] != "1 c" && e.stored[n-2] != "1 c" {
			t.Errorf("a session that can't be stored keeps its events back: %v", e.stored[max(0, n-3):])
		}
		if n := strings.Count(log.String(), "disk full"); n != 3 {
			t.Errorf("told %d times in 150 s, want 3", n)
		}
		if s := load(newKeeper()); s[0].Seq != 9 {
			t.Errorf("stored %v while it fails", s)
		}
		store.fail(nil)
		wait(time.Second)
		if !strings.Contains(log.String(), "stored again") {
			t.Error("the end of the failure is not told")
		}
		stop()
		<-ended
		if s := load(newKeeper()); !maps.Equal(s, now) {
			t.Errorf("stored %v, want %v", s, now)
		}
		delete(now, 0)
		now[1] = engine.Session{}
		e.set(now, starts)
		if err := k.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if s := load(newKeeper()); len(s) != 1 || s[0].Seq != 10 {
			t.Errorf("after a session was given up: %v", s)
		}

		// What an earlier version has stored, which knew the token alone.
		k = newKeeper()
		k.Bot, k.OldBot = 8, 7
		if s := load(k); len(s) != 1 || s[0].ID != "a" {
			t.Errorf("of an earlier version: %v", s)
		}
		for _, tt := range []struct {
			why    string
			change func(k *Keeper)
		}{
			{"another token or server", func(k *Keeper) { k.Bot = 8 }},
			{"other intents", func(k *Keeper) { k.Intents = 3 }},
			{"too old", func(*Keeper) { time.Sleep(61 * time.Minute) }},
		} {
			log.Reset()
			k := newKeeper()
			tt.change(k)
			s := load(k)
			gap := s[0].Gaps[0]
			gap.At = 0
			want := sinks.Gap{Session: "a", Seq: 10, Reason: "the stored session was discarded: " + tt.why}
			if tt.why == "another token or server" {
				want = sinks.Gap{}
			}
			if s[0].ID != "" || gap != want || !strings.Contains(log.String(), tt.why) {
				t.Errorf("%s: %v, told %q", tt.why, s, log.String())
			}
		}
	})
}

// A session without events does not get old while its shard has it; what is not known of
// one is not held against it, and a gap is kept.
func TestKeeperAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(Memory)
		gap := sinks.Gap{Session: "older", Seq: 7, At: 1, Reason: "too old"}
		quiet := engine.Session{ID: "quiet", Seq: 1, Shards: 1, Gaps: [2]sinks.Gap{gap}}
		store.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{1: {Session: engine.Session{ID: "of-another-gateway"}}}})
		newKeeper := func() *Keeper { return &Keeper{Store: store, Bot: 7, Log: slog.New(slog.DiscardHandler)} }
		k, e := newKeeper(), new(fakeEngine)
		e.set(map[int]engine.Session{0: quiet}, engine.Starts{})
		if _, _, err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			time.Sleep(5 * time.Minute)
			k.save(t.Context(), e, changed)
		}
		time.Sleep(40 * time.Minute)
		want := map[int]engine.Session{0: quiet, 1: {ID: "of-another-gateway"}}
		if got, _, err := newKeeper().Load(t.Context()); err != nil || !maps.Equal(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
		time.Sleep(40 * time.Minute)
		want[0] = engine.Session{Gaps: [2]sinks.Gap{gap, {Session: "quiet", Seq: 1, At: time.Now().UnixMilli(), Reason: "the stored session was discarded: too old"}}}
		if got, _, err := newKeeper().Load(t.Context()); err != nil || !maps.Equal(got, want) {
			t.Errorf("when it is too old: %+v, %v", got, err)
		}
	})
}

// A session that comes with the id and the seq of the one before it is stored already: who
// waits for it hears so at once.
func TestKeeperWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(failing), new(fakeEngine)
		k := &Keeper{Store: store, Bot: 7, Log: quiet}
		if _, _, err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.set(map[int]engine.Session{0: {ID: "a", Seq: 1, Shards: 1}}, engine.Starts{})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go k.Run(ctx, e)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(e.stored) != 1 || store.saves.Load() != 1 {
			t.Fatalf("told %v after %d saves", e.stored, store.saves.Load())
		}
		k.Wake()
		synctest.Wait()
		if len(e.stored) != 2 || store.saves.Load() != 1 {
			t.Errorf("told %v after %d saves", e.stored, store.saves.Load())
		}
	})
}

// A store that could not be loaded is written to like any other: what does not change, once, and
// who waits for a session is notified.
func TestKeeperAfterFailedLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := &failing{loads: errors.New("connection refused")}, new(fakeEngine)
		k := &Keeper{Store: store, Bot: 7, Log: quiet}
		if _, _, err := k.Load(t.Context()); !errors.Is(err, store.loads) {
			t.Fatal(err)
		}
		sessions := make(map[int]engine.Session)
		for shard := range 100 {
			sessions[shard] = engine.Session{ID: "a", Seq: 1, Shards: 100}
		}
		e.set(sessions, engine.Starts{})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go k.Run(ctx, e)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if store.saves.Load() != 1 || len(e.stored) != 100 {
			t.Errorf("%d saves of 100 sessions that do not change, and %d notified", store.saves.Load(), len(e.stored))
		}
		notified := len(e.stored)
		k.Wake()
		synctest.Wait()
		if n := len(e.stored) - notified; n != 100 {
			t.Errorf("%d sessions notified after Wake, want 100", n)
		}
	})
}

// A count of session starts that ends later than in a day is none of Discord's: with it, no
// shard might identify for years.
func TestKeeperStartsOfNoDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			until time.Duration
			count int
		}{{24 * time.Hour, 900}, {100 * 365 * 24 * time.Hour, 0}} {
			store := new(Memory)
			store.Save(t.Context(), State{Starts: engine.Starts{Count: 900, Until: time.Now().Add(tt.until)}})
			if _, starts, err := (&Keeper{Store: store, Log: quiet}).Load(t.Context()); err != nil || starts.Count != tt.count {
				t.Errorf("%d starts until in %v, %v; want %d", starts.Count, tt.until, err, tt.count)
			}
		}
	})
}
