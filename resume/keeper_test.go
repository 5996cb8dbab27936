// This file tests what the keeper writes, and what it takes back.

package resume

import (
	"bytes"
	"context"
	"errors"
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
)

// failing is a store that takes nothing for a while.
type failing struct {
	Memory
	lock  sync.Mutex
	err   error
	saves int
}

func (f *failing) fail(err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.err = err
}

func (f *failing) Save(ctx context.Context, changes State) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.saves++
	if f.err != nil {
		return f.err
	}
	return f.Memory.Save(ctx, changes)
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		store := new(failing)
		newKeeper := func() *Keeper {
			return &Keeper{Store: store, Bot: 7, Intents: 1, Log: slog.New(slog.NewTextHandler(&log, nil))}
		}
		load := func(k *Keeper) map[int]engine.Session {
			t.Helper()
			s, err := k.Load(t.Context())
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
		var shown atomic.Pointer[map[int]engine.Session] // to the keeper
		show := func() { m := maps.Clone(now); shown.Store(&m) }
		show()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.Run(ctx, func() iter.Seq2[int, engine.Session] { return maps.All(*shown.Load()) })
		}()
		wait := func(d time.Duration) { show(); time.Sleep(d); synctest.Wait() }
		wait(time.Second)
		if store.saves != 1 {
			t.Errorf("%d saves of one change", store.saves)
		}
		now[0], now[1] = engine.Session{ID: "a", Seq: 9, Shards: 2}, engine.Session{ID: "b", Seq: 3, Shards: 2}
		wait(time.Second)
		store.fail(errors.New("disk full"))
		now[0] = engine.Session{ID: "a", Seq: 10, Shards: 2}
		wait(150 * time.Second)
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
		if err := k.Save(t.Context(), maps.All(now)); err != nil {
			t.Fatal(err)
		}
		if s := load(newKeeper()); len(s) != 1 || s[0].Seq != 10 {
			t.Errorf("after a session was given up: %v", s)
		}

		for _, tt := range []struct {
			why    string
			change func(k *Keeper)
		}{
			{"another token", func(k *Keeper) { k.Bot = 8 }},
			{"other intents", func(k *Keeper) { k.Intents = 3 }},
			{"too old", func(*Keeper) { time.Sleep(61 * time.Minute) }},
		} {
			log.Reset()
			k := newKeeper()
			tt.change(k)
			if s := load(k); len(s) != 0 || !strings.Contains(log.String(), tt.why) {
				t.Errorf("%s: %v, told %q", tt.why, s, log.String())
			}
		}
	})
}
