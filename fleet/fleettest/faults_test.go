package fleettest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
	"sluice/fleet/memory"
)

func TestFaulty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := memory.New(nil)
		var fault fleettest.Fault
		f := &fleettest.Faulty{Coordinator: c, Choose: func(string) fleettest.Fault { return fault }}
		if _, err := f.Join(ctx, fleet.Member{Incarnation: "a", Weight: 1}, fleet.Plan{Shards: 1}); err != nil {
			t.Fatal(err)
		}
		// acquire makes the shard the member's under a higher epoch, and returns how often that was done.
		acquire := func(ctx context.Context, want error) int64 {
			t.Helper()
			before, err := c.Look(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			w := fleet.Want{Shard: 0}
			if len(before.Shards) > 0 {
				w.From = before.Shards[0].Owner
			}
			if _, err := f.Acquire(ctx, "a", []fleet.Want{w}); !errors.Is(err, want) {
				t.Errorf("with %+v: %v", fault, err)
			}
			after, err := c.Look(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return after.Revision - before.Revision
		}
		is := func(got, want any) {
			t.Helper()
			if got != want {
				t.Errorf("with %+v: %v, not %v", fault, got, want)
			}
		}
		is(acquire(ctx, nil), int64(1))
		fault = fleettest.Fault{Lose: true}
		is(acquire(ctx, fleettest.ErrFault), int64(0))
		fault = fleettest.Fault{LoseAnswer: true}
		is(acquire(ctx, fleettest.ErrFault), int64(1))
		start := time.Now()
		fault = fleettest.Fault{Delay: time.Second}
		is(acquire(ctx, nil), int64(1))
		is(time.Since(start), time.Second)
		short, cancel := context.WithTimeout(ctx, time.Second/2)
		is(acquire(short, context.DeadlineExceeded), int64(0))
		cancel()
		fault = fleettest.Fault{LoseAnswer: true, Late: time.Second}
		is(acquire(ctx, fleettest.ErrFault), int64(0))
		before, _ := c.Look(ctx, 0)
		time.Sleep(2 * time.Second)
		after, _ := c.Look(ctx, 0)
		is(after.Revision-before.Revision, int64(1))

		fault = fleettest.Fault{}
		watching, cancel := context.WithCancel(ctx)
		told := 0
		go f.Watch(watching, func() { told++ })
		notice := func() int {
			synctest.Wait()
			told = 0
			if err := c.Leave(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return told
		}
		is(notice(), 1)
		fault = fleettest.Fault{Lose: true}
		is(notice(), 0)
		cancel()
		synctest.Wait()
	})
}
