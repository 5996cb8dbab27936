// This file tests the order of requests, in fake time.

package identify

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/memory"
)

// waits are the requests of a test, and its coordinator.
type waits struct {
	*testing.T
	*memory.Coordinator
	*Server
	log   syncBuffer
	tests sync.WaitGroup
	stop  func()
}

func newWaits(t *testing.T, budget fleet.Budget) *waits {
	time.Sleep(time.Hour)
	w := &waits{T: t, Coordinator: memory.New(nil)}
	budget.Reset = time.Now().Add(time.Hour)
	if err := w.Budget(t.Context(), budget, time.Now()); err != nil {
		t.Fatal(err)
	}
	q := fleet.New(fleet.Options{Coordinator: w.Coordinator}).QueueForOthers(Travel)
	w.Server = &Server{o: Options{Log: slog.New(slog.NewTextHandler(&w.log, nil))}, lines: lines{queue: q, max: 100, all: make(map[int]*line)}}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	w.tests.Go(func() { q.Run(ctx) })
	w.tests.Go(func() { w.watch(ctx) })
	return w
}

// end expects that nothing waits.
func (w *waits) end() {
	w.Helper()
	w.stop()
	w.tests.Wait()
	if w.lines.waiting != 0 || len(w.lines.all) != 0 {
		w.Errorf("%d requests wait, of %d shards", w.lines.waiting, len(w.lines.all))
	}
}

// ask asks for a turn. at is when it is answered, zero: it has hung up.
func (w *waits) ask(shard int) (at func() time.Time, hangUp func()) {
	ctx, hangUp := context.WithCancel(w.Context())
	var answered time.Time
	done := make(chan struct{})
	w.tests.Go(func() {
		defer close(done)
		if w.lines.wait(ctx, shard) == nil {
			answered = time.Now()
		}
	})
	synctest.Wait()
	return func() time.Time {
		w.Helper()
		select {
		case <-done:
		case <-time.After(48 * time.Hour):
			w.Fatalf("a request for shard %d is not answered in two days", shard)
		}
		return answered
	}, hangUp
}

// remaining is what is left of the budget.
func (w *waits) remaining() int {
	g, err := w.Ask(w.Context(), "onlooker", 1, nil)
	if err != nil {
		w.Fatal(err)
	}
	return g.Budget.Remaining
}

// Requests for one shard have a turn each, a lower shard goes before, and the bucket's turns are as far apart as
// the Identifies of those who were answered need to be.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaits(t, fleet.Budget{Total: 100, Remaining: 100, Concurrency: 2})
		var answers []func() time.Time
		for _, shard := range []int{4, 4, 4, 2, 1} {
			at, hangUp := w.ask(shard)
			defer hangUp()
			answers = append(answers, at)
		}
		var at []time.Duration
		start := answers[0]()
		for _, i := range []int{0, 3, 1, 2, 4} {
			at = append(at, answers[i]().Sub(start))
		}
		const pause = Travel + fleet.IdentifyPause
		if at[4] > time.Second {
			t.Errorf("a shard of another bucket waits %v", at[4])
		}
		for i, at := range at[:4] {
			if at < time.Duration(i)*pause || at > time.Duration(i)*(pause+250*time.Millisecond) {
				t.Errorf("answer %d comes after %v", i, at)
			}
		}
		if n := w.remaining(); n != 95 {
			t.Errorf("of 100 there remain %d", n)
		}
		w.end()
	})
}

// Who hangs up uses no turn up: not while it waits, and not when the turn has come and may not be used yet. Another
// request for the shard has it.
func TestHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaits(t, fleet.Budget{Total: 100, Remaining: 100, Concurrency: 1})
		first, _ := w.ask(0)
		start := first()
		_, hangUpHead := w.ask(1)
		second, _ := w.ask(1)
		_, hangUpBehind := w.ask(1)
		_, hangUpAlone := w.ask(2)
		_, hangUpBefore := w.ask(3)
		hangUpBefore()
		time.Sleep(3 * time.Second) // it has the turn, for later
		if n := w.remaining(); n != 98 {
			t.Errorf("of 100 there remain %d", n)
		}
		hangUpBehind()
		hangUpHead()
		if at := second().Sub(start); at < Travel+fleet.IdentifyPause || at > Travel+fleet.IdentifyPause+time.Second {
			t.Errorf("the next answer comes after %v", at)
		}
		hangUpAlone()
		time.Sleep(time.Minute)
		if n := w.remaining(); n != 98 {
			t.Errorf("of 100 there remain %d after two answers", n)
		}
		last, _ := w.ask(2)
		asked := time.Now()
		if at := last().Sub(asked); at > time.Second {
			t.Errorf("a free bucket's turn comes after %v", at)
		}
		w.end()
	})
}

// Of the reserve nothing is given, however long that is, which is logged once.
func TestBudgetUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaits(t, fleet.Budget{Total: 100, Remaining: 11, Reserve: 10, Concurrency: 1})
		first, _ := w.ask(0)
		first()
		next, _ := w.ask(0)
		began := time.Now()
		time.Sleep(24 * time.Hour)
		if err := w.Budget(w.Context(), fleet.Budget{Total: 100, Remaining: 100, Reserve: 10, Concurrency: 1}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if at := next().Sub(began); at < 24*time.Hour {
			t.Errorf("a turn of the reserve is given after %v", at)
		}
		if n := strings.Count(w.log.String(), "no session starts are left above the reserve"); n != 1 {
			t.Errorf("that is logged %d times", n)
		}
		w.end()
	})
}
