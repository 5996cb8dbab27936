// This file tests when the keeper asks its store, on fake time.

package resume

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
)

// run starts a keeper over a store until the test ends.
func run(t *testing.T, k *Keeper, e Engine) {
	t.Helper()
	if _, _, err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx, e)
	}()
	t.Cleanup(func() { stop(); <-ended })
}

// recorder is a store that counts what it gets.
type recorder struct {
	failing
	written atomic.Int64 // checkpoints
}

func (r *recorder) Save(ctx context.Context, changes State) error {
	r.written.Add(int64(len(changes.Checkpoints)))
	return r.failing.Save(ctx, changes)
}

// A session without events is stored again before it is old, and no more often: whenever the
// process is killed, the next one has the rest of the time in which it is resumed.
func TestKeeperRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(recorder), new(fakeEngine)
		e.set(map[int]engine.Session{0: {ID: "idle", Seq: 1, Shards: 1}}, engine.Starts{})
		k := &Keeper{Store: store, Bot: 7, MaxAge: time.Hour, Every: time.Second, Log: quiet}
		run(t, k, e)
		const hours = 6
		for range hours * 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if age := time.Since(loaded(t, store).Checkpoints[0].At); age > 15*time.Minute+time.Second {
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
		session := engine.Session{ID: "idle", Seq: 1, Shards: 1}
		store, e := new(Memory), new(fakeEngine)
		store.Save(t.Context(), State{Checkpoints: map[int]Checkpoint{0: {Session: session, Bot: 7, At: time.Now().Add(time.Hour)}}})
		e.set(map[int]engine.Session{0: session}, engine.Starts{})
		run(t, &Keeper{Store: store, Bot: 7, Log: quiet}, e)
		time.Sleep(time.Second)
		synctest.Wait()
		if at := loaded(t, store).Checkpoints[0].At; at.After(time.Now()) {
			t.Errorf("stored for in %v", time.Until(at))
		}
	})
}

// A store that fails is asked once in a second, not with each tick, unless events wait for it. One that does
// not is asked some seconds apart for what it has.
func TestKeeperLeavesFailingStoreAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(recorder), new(fakeEngine)
		e.set(map[int]engine.Session{0: {ID: "a", Seq: 1, Shards: 1}}, engine.Starts{})
		k := &Keeper{Store: store, Bot: 7, Log: quiet}
		run(t, k, e)
		asked := func(d time.Duration) int64 {
			before := store.saves.Load()
			time.Sleep(d)
			synctest.Wait()
			return store.saves.Load() - before
		}
		asked(time.Second)
		if n := asked(time.Minute); n != 12 {
			t.Errorf("a store that works was asked %d times in a minute without changes, want 12", n)
		}
		store.fail(errors.New("connection refused"))
		e.set(map[int]engine.Session{0: {ID: "a", Seq: 2, Shards: 1}}, engine.Starts{})
		if n := asked(time.Minute); n < 55 || n > 61 {
			t.Errorf("a store that fails was asked %d times in a minute, want one each second", n)
		}
		before := store.saves.Load()
		k.Wake()
		synctest.Wait()
		if n := store.saves.Load() - before; n != 1 {
			t.Errorf("asked %d times by Wake, want 1", n)
		}
		store.fail(nil)
		asked(2 * time.Second)
		if got := loaded(t, store).Checkpoints[0].Seq; got != 2 {
			t.Errorf("seq %d is stored after the failure, want 2", got)
		}
	})
}

// Who waits for a session to be stored does not wait for the next tick.
func TestKeeperWakeIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, e := new(recorder), new(fakeEngine)
		k := &Keeper{Store: store, Bot: 7, Every: time.Hour, Log: quiet}
		run(t, k, e)
		e.set(map[int]engine.Session{0: {ID: "a", Seq: 1, Shards: 1}}, engine.Starts{})
		began := time.Now()
		k.Wake()
		k.Wake() // both are one
		synctest.Wait()
		if len(e.stored) == 0 || loaded(t, store).Checkpoints[0].ID != "a" || time.Since(began) > 0 {
			t.Errorf("after %v notified %v, stored %+v", time.Since(began), e.stored, loaded(t, store))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}
