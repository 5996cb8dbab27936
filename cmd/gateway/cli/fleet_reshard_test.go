package cli

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/engine"
	"sluice/fleet"
	fleetmemory "sluice/fleet/memory"
	"sluice/internal/fleetengine"
	"sluice/resume"
	"sluice/sinks"
)

// offline is an engine of a member that reaches no gateway.
func offline(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	o.Token, o.GatewayURL, o.IDs, o.Sink, o.Log = "t", "wss://gateway.test", []int{}, new(nothing), slog.New(slog.DiscardHandler)
	o.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("there is no network") }
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// nothing is a sink that drops all events.
type nothing struct{}

func (nothing) Publish(_ context.Context, batch []sinks.Event, acked func(int)) error {
	acked(len(batch))
	return nil
}

func (nothing) Close() error { return nil }

// The engine does what a fleet's Part says, and compares again when that says so.
func TestFleetEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := offline(t, engine.Options{Shards: 2})
		ctx, stop := context.WithCancel(t.Context())
		var ran sync.WaitGroup
		ran.Go(func() { e.Run(ctx) })
		var calls []string
		failed := false
		err := fleetengine.Engine{Engine: e}.Reshard(ctx, 4, fleet.Part{
			Generation: 2,
			Switch: func(context.Context) error {
				if calls = append(calls, "switch"); len(calls) == 1 {
					return fleet.ErrAgain
				}
				return nil
			},
			Commit: func(context.Context, iter.Seq2[int, resume.Session]) error {
				calls = append(calls, "commit")
				if !failed {
					failed = true
					return errors.New("not this time")
				}
				return nil
			},
			Open: func(context.Context) error { calls = append(calls, "open"); return nil },
		})
		if want := strings.Fields("switch switch commit switch commit open"); err != nil || !slices.Equal(calls, want) {
			t.Errorf("%v: %v, want %v", err, calls, want)
		}
		if n := e.Status().Shards; n != 4 {
			t.Errorf("%d shards", n)
		}
		stop()
		ran.Wait()
	})
}

// Another shard count is planned, begun and asked for by itself at the members of a fleet.
func TestReshardAskedInFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := fleetmemory.New(nil)
		ctx, stop := context.WithCancel(t.Context())
		var ran sync.WaitGroup
		defer ran.Wait()
		defer stop()
		var members []itself
		for _, name := range []string{"a", "b"} {
			log := slog.New(slog.DiscardHandler)
			m := &membership{log: log, fleet: fleet.New(fleet.Options{
				Coordinator: table, Member: fleet.Member{Name: name}, Plan: fleet.Plan{Shards: 4},
				Session: func(_ int, c resume.Checkpoint) resume.Session { return c.Session }, Log: log,
			})}
			m.queue = m.fleet.Queue()
			plan, err := m.fleet.Join(ctx)
			if err != nil {
				t.Fatal(err)
			}
			e := offline(t, engine.Options{Shards: plan.Shards, Generation: plan.Generation, Confirm: m.fleet.Confirm, Trusted: m.fleet.Trusted, Identify: m.queue})
			ran.Go(func() { e.Run(ctx) })
			ran.Go(func() { m.fleet.Run(ctx, fleetengine.Engine{Engine: e}) })
			ran.Go(func() { m.queue.Run(ctx) })
			members = append(members, itself{m, e})
		}
		time.Sleep(20 * time.Second) // they share the shards
		a, b := members[0], members[1]
		reshard := func(i itself, shards int) error { return i.Reshard(ctx, engine.ReshardOptions{Shards: shards}) }

		var budget *engine.BudgetError
		if err := reshard(a, 6); err == nil || errors.As(err, &budget) || !strings.Contains(err.Error(), "not known") {
			t.Errorf("without a budget: %v", err)
		}
		if _, err := a.m.planReshard(ctx, a.e, 6, false); err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("a plan without a budget: %v", err)
		}
		reset := time.Now().Add(time.Hour)
		if err := table.Budget(ctx, fleet.Budget{Total: 1000, Remaining: 1000, Reset: reset, Concurrency: 1}, a.m.fleet.Time()); err != nil {
			t.Fatal(err)
		}
		a.m.queue.Refresh()
		time.Sleep(10 * time.Second)
		if err := reshard(a, 2000); !errors.As(err, &budget) || budget.Needed != 2000 || !budget.Reset.Equal(reset) {
			t.Errorf("more than there are session starts for: %v", err)
		}
		plan, err := a.m.planReshard(ctx, a.e, 5, false)
		for _, want := range []string{"4 shards now, 5 to be", "one member runs up to 5 of the new shards", "2 shards move to other members", "for a multiple of 4 shards nothing moves"} {
			if text := strings.Join(plan, "\n"); err != nil || !strings.Contains(text, want) {
				t.Errorf("the plan lacks %q: %v\n%s", want, err, text)
			}
		}

		if err := reshard(a, 5); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if s := b.m.fleet.Resharding(); s.Stage != fleet.ReshardPending || s.To != 6 {
			t.Errorf("by itself to 5 with two members: %+v, want 6", s)
		}
		if a.Status().Reshard.Stage == engine.ReshardNone || b.Status().Reshard.Stage == engine.ReshardNone {
			t.Error("a member may ask again meanwhile")
		}
		if err := b.m.Rebalance(); !errors.Is(err, errResharded) {
			t.Errorf("rebalanced meanwhile: %v", err)
		}
		if err := b.m.fleet.CallOff(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if err := b.m.Rebalance(); err != nil {
			t.Errorf("rebalanced after it: %v", err)
		}
		if a.Status().Reshard.Stage != engine.ReshardNone {
			t.Errorf("it was called off: %+v", a.Status().Reshard)
		}
		if _, err := b.m.planReshard(ctx, b.e, 8, true); err != nil {
			t.Fatal(err)
		}
		if s := b.m.fleet.Resharding(); s.Stage != fleet.ReshardPending || s.To != 8 {
			t.Errorf("it is begun: %+v", s)
		}
		if _, err := a.m.planReshard(ctx, a.e, 12, true); !errors.Is(err, fleet.ErrResharding) {
			t.Errorf("another: %v", err)
		}
		asks := 0
		for _, i := range members { // there is no API to be asked
			if n, err := i.recommended(ctx); err != nil {
				asks++
			} else if n != 0 {
				t.Errorf("%d shards are recommended", n)
			}
		}
		if asks != 1 {
			t.Errorf("%d members ask Discord", asks)
		}
	})
}
