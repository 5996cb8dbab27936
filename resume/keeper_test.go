// This file tests what the keeper writes, and what it takes back.

package resume_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/resume"
	"sluice/resume/internal/storetest"
	"sluice/sinks"
)

// failing is a store that takes nothing for a while, and counts what it gets.
type failing struct {
	storetest.Memory
	lock    sync.Mutex
	err     error
	saves   atomic.Int64
	written atomic.Int64 // checkpoints
	loads   error        // what Load returns

	loseOnce bool // the next Save returns ErrLost
}

func (f *failing) Load(ctx context.Context) (resume.State, error) {
	f.lock.Lock()
	err := f.loads
	f.lock.Unlock()
	if err != nil {
		return resume.State{}, err
	}
	return f.Memory.Load(ctx)
}

func (f *failing) fail(err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.err = err
}

func (f *failing) Save(ctx context.Context, changes resume.State) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.saves.Add(1)
	f.written.Add(int64(len(changes.Checkpoints)))
	if f.loseOnce {
		f.loseOnce = false
		return resume.ErrLost
	}
	if f.err != nil {
		return f.err
	}
	return f.Memory.Save(ctx, changes)
}

// shards is what an engine has.
type shards struct {
	mu       sync.Mutex
	sessions map[int]resume.Session
	starts   resume.Starts
}

func (s *shards) set(sessions map[int]resume.Session, starts resume.Starts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions, s.starts = maps.Clone(sessions), starts
}

// save gives snapshots to the keeper.
func (s *shards) save(ctx context.Context, k *resume.Keeper) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.Save(ctx, maps.All(s.sessions), s.starts)
}

// run does so as an engine does, until the test ends or stop is called.
func (s *shards) run(t *testing.T, k *resume.Keeper, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.save(ctx, k)
			case <-ctx.Done():
				return
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// load loads a keeper.
func load(t *testing.T, k *resume.Keeper) *resume.Keeper {
	t.Helper()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// sessions returns what a keeper resumes of the first shards.
func sessions(k *resume.Keeper) map[int]resume.Session {
	s := make(map[int]resume.Session)
	for shard := range 3 {
		if k.Session(shard) != (resume.Session{}) {
			s[shard] = k.Session(shard)
		}
	}
	return s
}

const tick = 100 * time.Millisecond

// What is in the store is never ahead of the sink, and a failing store stops nothing.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := new(failing)
		newKeeper := func() *resume.Keeper {
			return &resume.Keeper{Store: store, Bot: 7, Intents: 1, Log: slog.New(slog.NewTextHandler(&log, nil))}
		}
		k := load(t, newKeeper())
		if s := sessions(k); len(s) != 0 {
			t.Errorf("an empty store has %v", s)
		}
		now := map[int]resume.Session{0: {ID: "a", Seq: 1, Shards: 2}, 1: {}}
		e, starts := new(shards), resume.Starts{}
		e.set(now, starts)
		stop := e.run(t, k, tick)
		wait := func(d time.Duration) { e.set(now, starts); time.Sleep(d); synctest.Wait() }
		wait(time.Second)
		if store.saves.Load() != 1 {
			t.Errorf("%d saves of one change", store.saves.Load())
		}
		now[0], now[1] = resume.Session{ID: "a", Seq: 9, Shards: 2}, resume.Session{ID: "b", Seq: 3, Shards: 2}
		wait(time.Second)
		if store.saves.Load() != 2 {
			t.Errorf("%d saves of two changes", store.saves.Load())
		}
		starts = resume.Starts{Count: 3, Until: time.Now().Add(time.Hour)}
		wait(time.Second)
		if got := load(t, newKeeper()).Starts(); got != starts || store.saves.Load() != 3 {
			t.Errorf("the count of identifies is %+v after %d saves", got, store.saves.Load())
		}
		store.fail(errors.New("disk full"))
		now[0] = resume.Session{ID: "a", Seq: 10, Shards: 2}
		now[1] = resume.Session{ID: "c", Seq: 1, Shards: 2}
		wait(150 * time.Second)
		if n := strings.Count(log.String(), "disk full"); n != 3 {
			t.Errorf("logged %d times in 150 s, want 3", n)
		}
		if s := sessions(load(t, newKeeper())); s[0].Seq != 9 {
			t.Errorf("persisted %v while it fails", s)
		}
		store.fail(nil)
		wait(time.Second)
		if !strings.Contains(log.String(), "persisted again") {
			t.Error("the end of the failure is not logged")
		}
		stop()
		if s := sessions(load(t, newKeeper())); !maps.Equal(s, now) {
			t.Errorf("persisted %v, want %v", s, now)
		}
		delete(now, 0)
		now[1] = resume.Session{}
		if err := k.Close(t.Context(), maps.All(now), starts); err != nil {
			t.Fatal(err)
		}
		if s := sessions(load(t, newKeeper())); len(s) != 1 || s[0].Seq != 10 {
			t.Errorf("after a session was given up, and a shard was not mentioned: %v", s)
		}

		// What an earlier version has stored, which knew the token alone.
		k = newKeeper()
		k.Bot, k.OldBot = 8, 7
		if s := sessions(load(t, k)); len(s) != 1 || s[0].ID != "a" {
			t.Errorf("of an earlier version: %v", s)
		}
		for _, tt := range []struct {
			why    string
			change func(k *resume.Keeper)
		}{
			{"another token or server", func(k *resume.Keeper) { k.Bot = 8 }},
			{"other intents", func(k *resume.Keeper) { k.Intents = 3 }},
			{"too old", func(*resume.Keeper) { time.Sleep(61 * time.Minute) }},
		} {
			log.Reset()
			k := newKeeper()
			tt.change(k)
			s := sessions(load(t, k))
			gap := s[0].Gaps[0]
			gap.At = 0
			want := sinks.Gap{Session: "a", Seq: 10, Reason: "the persisted session was discarded: " + tt.why}
			if tt.why == "another token or server" {
				want = sinks.Gap{}
			}
			if s[0].ID != "" || gap != want || !strings.Contains(log.String(), tt.why) {
				t.Errorf("%s: %v, logged %q", tt.why, s, log.String())
			}
		}
	})
}

// A session without events does not get old while its shard has it; what is not known of
// one is not held against it, and a gap is kept.
func TestKeeperAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storetest.Memory)
		gap := sinks.Gap{Session: "older", Seq: 7, At: 1, Reason: "too old"}
		quiet := resume.Session{ID: "quiet", Seq: 1, Shards: 1, Gaps: [2]sinks.Gap{gap}}
		store.Save(t.Context(), resume.State{Checkpoints: map[int]resume.Checkpoint{1: {Session: resume.Session{ID: "of-another-gateway"}}}})
		newKeeper := func() *resume.Keeper { return &resume.Keeper{Store: store, Bot: 7, Log: storetest.Quiet} }
		k := load(t, newKeeper())
		for range 100 {
			time.Sleep(5 * time.Minute)
			k.Save(t.Context(), maps.All(map[int]resume.Session{0: quiet}), resume.Starts{})
		}
		time.Sleep(40 * time.Minute)
		want := map[int]resume.Session{0: quiet, 1: {ID: "of-another-gateway"}}
		if got := sessions(load(t, newKeeper())); !maps.Equal(got, want) {
			t.Errorf("%+v", got)
		}
		time.Sleep(40 * time.Minute)
		want[0] = resume.Session{Gaps: [2]sinks.Gap{gap, {Session: "quiet", Seq: 1, At: time.Now().UnixMilli(), Reason: "the persisted session was discarded: too old"}}}
		if got := sessions(load(t, newKeeper())); !maps.Equal(got, want) {
			t.Errorf("when it is too old: %+v", got)
		}
	})
}

// A store that could not be loaded is written to like any other: what does not change, once.
func TestKeeperAfterFailedLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("connection refused")
		store, e := &failing{loads: refused}, new(shards)
		k := &resume.Keeper{Store: store, Bot: 7, Log: storetest.Quiet, Final: func(_ context.Context, err error) error { return err }}
		if err := k.Load(t.Context()); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		e.set(storetest.Sessions(100))
		e.run(t, k, tick)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if store.saves.Load() != 1 {
			t.Errorf("%d saves of 100 sessions that do not change", store.saves.Load())
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
			store := new(storetest.Memory)
			store.Save(t.Context(), resume.State{Starts: resume.Starts{Count: 900, Until: time.Now().Add(tt.until)}})
			if starts := load(t, &resume.Keeper{Store: store, Log: storetest.Quiet}).Starts(); starts.Count != tt.count {
				t.Errorf("%d starts until in %v; want %d", starts.Count, tt.until, tt.count)
			}
		}
	})
}

// The keeper logs a session that cannot be stored once, removes what its shard had, and stores the
// next session as ever.
func TestKeeperRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := new(failing)
		k := load(t, &resume.Keeper{Store: store, Bot: 7, Log: slog.New(slog.NewTextHandler(&log, nil))})
		other := resume.Session{ID: "other", Seq: 1, Shards: 2}
		save := func(s resume.Session) map[int]resume.Session {
			t.Helper()
			for range 100 {
				time.Sleep(10 * time.Millisecond)
				if err := k.Save(t.Context(), maps.All(map[int]resume.Session{0: s, 1: other}), resume.Starts{}); err != nil {
					t.Fatal(err)
				}
			}
			return sessions(load(t, &resume.Keeper{Store: store, Bot: 7, Log: storetest.Quiet}))
		}
		first := resume.Session{ID: "a", Seq: 9, Shards: 2}
		save(first)
		long := resume.Session{ID: strings.Repeat("x", 5_000), Seq: 1, Shards: 2}
		saves := store.saves.Load()
		if got := save(long); !maps.Equal(got, map[int]resume.Session{1: other}) {
			t.Errorf("persisted %+v", got)
		}
		if n := strings.Count(log.String(), "cannot be persisted"); n != 1 || len(log.String()) > 1_000 {
			t.Errorf("logged %d times in %d bytes: %q", n, log.Len(), log.String()[:min(log.Len(), 1_000)])
		}
		if store.saves.Load() != saves+1 {
			t.Errorf("%d saves of one removal", store.saves.Load()-saves)
		}
		if got := save(first); !maps.Equal(got, map[int]resume.Session{0: first, 1: other}) {
			t.Errorf("persisted %+v", got)
		}
	})
}

func TestFingerprint(t *testing.T) {
	if a := resume.Fingerprint("a"); a == resume.Fingerprint("b") || a != resume.Fingerprint("ab"[:1]) || a == 0 {
		t.Error("fingerprints do not tell tokens apart")
	}
}

// A store that has lost all says so once, be it to a Save of one shard: the others are persisted with
// the next.
func TestKeeperPersistsAllThatIsLost(t *testing.T) {
	store := new(failing)
	k := load(t, &resume.Keeper{Store: store, Bot: 7, Intents: 1, Log: slog.New(slog.DiscardHandler)})
	all := map[int]resume.Session{0: {ID: "a", Seq: 1}, 1: {ID: "b", Seq: 2}, 2: {ID: "c", Seq: 3}}
	save := func(sessions map[int]resume.Session) {
		t.Helper()
		if err := k.Save(t.Context(), maps.All(sessions), resume.Starts{}); err != nil {
			t.Fatal(err)
		}
	}
	save(all)
	if _, err := resume.Forget(t.Context(), &store.Memory); err != nil {
		t.Fatal(err)
	}
	store.loseOnce = true
	save(map[int]resume.Session{1: {ID: "b", Seq: 4}})
	delete(all, 1)
	save(all)
	state, err := store.Memory.Load(t.Context())
	if err != nil || len(state.Checkpoints) != 3 || state.Checkpoints[1].Seq != 4 || state.Checkpoints[2].Seq != 3 {
		t.Errorf("stored: %+v, %v", state.Checkpoints, err)
	}
}
