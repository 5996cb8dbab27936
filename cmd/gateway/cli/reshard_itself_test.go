package cli

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
)

// growing is an engine whose bot grows.
type growing struct {
	mu      sync.Mutex
	shards  int
	refuses error
	asked   []int
}

func (g *growing) Status() engine.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return engine.Status{Shards: g.shards, Running: g.shards, Ready: g.shards}
}

func (g *growing) Reshard(_ context.Context, o engine.ReshardOptions) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, o.Shards)
	if g.refuses == nil {
		g.shards = o.Shards
	}
	return g.refuses
}

func (g *growing) refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuses = err
}

// TestReshardByItself shows when the count that Discord recommends is followed.
func TestReshardByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{shards: 20}
		var now atomic.Int64
		now.Store(20)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			reshardByItself(ctx, g, func(context.Context) (int, error) { return int(now.Load()), nil }, slog.New(slog.DiscardHandler))
		}()
		wants := func(what string, asked ...int) {
			t.Helper()
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			if !slices.Equal(g.asked, asked) {
				t.Fatalf("%s: asked for %d, not %d", what, g.asked, asked)
			}
		}
		time.Sleep(3 * time.Hour)
		wants("no more is recommended")
		now.Store(21)
		time.Sleep(3 * time.Hour)
		wants("hardly more is recommended")
		now.Store(22)
		time.Sleep(2 * time.Hour)
		wants("a tenth more is recommended", 22)
		now.Store(40)
		time.Sleep(12 * time.Hour)
		wants("again on the same day", 22)
		g.refuse(&engine.BudgetError{Needed: 40, Left: 3, Reset: time.Now().Add(14 * time.Hour)})
		time.Sleep(13 * time.Hour)
		wants("the next day", 22, 40)
		g.refuse(nil)
		time.Sleep(2 * time.Hour)
		wants("the budget has begun anew", 22, 40, 40)
		now.Store(10)
		time.Sleep(50 * time.Hour)
		wants("fewer are recommended", 22, 40, 40)
		stop()
		<-ended
	})
}
