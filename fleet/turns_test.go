// This file tests how turns to identify come to the shards of a process.

package fleet_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/memory"
)

// slowTurns answers an Ask later than it takes its step.
type slowTurns struct {
	fleet.Coordinator
	answer time.Duration
}

func (s *slowTurns) Ask(ctx context.Context, incarnation string, number int64, waiting []int) (fleet.Grants, error) {
	g, err := s.Coordinator.Ask(ctx, incarnation, number, waiting)
	time.Sleep(s.answer)
	return g, err
}

// A turn that was used while an answer was in flight, which still has it, is no turn for the same shard when it
// waits again: its next Identify would follow at once.
func TestTurnUsedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		c := &slowTurns{Coordinator: memory.New(nil), answer: 100 * time.Millisecond}
		if err := c.Budget(t.Context(), fleet.Budget{Total: 10, Remaining: 10, Reset: time.Now().Add(time.Hour), Concurrency: 1}, time.Now()); err != nil {
			t.Fatal(err)
		}
		f := fleet.New(fleet.Options{Coordinator: c})
		q := f.Queue()
		ctx, stop := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { q.Run(ctx) })
		var last time.Time
		for range 4 {
			turn := make(chan struct{})
			q.Join(1, func() { close(turn) })
			<-turn
			time.Sleep(time.Until(q.NotBefore(1)))
			q.Join(2, func() {})              // so that it is asked again
			time.Sleep(50 * time.Millisecond) // and the answer is in flight
			if !q.Spend(1, time.Now()) {
				t.Error("no turn")
			}
			if since := time.Since(last); since < fleet.IdentifyPause {
				t.Errorf("an Identify %v after the one before", since)
			}
			last = time.Now()
			q.Leave(2)
		}
		stop()
		runs.Wait()
	})
}

// lossyTurns loses the first answers.
type lossyTurns struct {
	fleet.Coordinator
	left int
}

func (l *lossyTurns) Ask(ctx context.Context, incarnation string, number int64, waiting []int) (fleet.Grants, error) {
	g, err := l.Coordinator.Ask(ctx, incarnation, number, waiting)
	if l.left--; l.left >= 0 {
		<-ctx.Done()
		return fleet.Grants{}, ctx.Err()
	}
	return g, err
}

// A turn whose answer was lost is void as if it had come: who sees it later has less time for it.
func TestTurnSeenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		c := &lossyTurns{Coordinator: memory.New(nil), left: 1}
		if err := c.Budget(t.Context(), fleet.Budget{Total: 10, Remaining: 10, Reset: time.Now().Add(time.Hour), Concurrency: 1}, time.Now()); err != nil {
			t.Fatal(err)
		}
		q := fleet.New(fleet.Options{Coordinator: c}).Queue()
		ctx, stop := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { q.Run(ctx) })
		given, turn := time.Now(), make(chan struct{})
		q.Join(1, func() { close(turn) })
		<-turn
		time.Sleep(time.Until(given.Add(fleet.TurnFor - fleet.IdentifyPause))) // another's Identify may follow as soon as the turn is void
		if q.Spend(1, time.Now()) {
			t.Errorf("a turn is used %v after it was given", time.Since(given))
		}
		stop()
		runs.Wait()
	})
}

// A turn for a process that is no member is out until its Identify has been sent: the next of the bucket waits
// from then. The same shard of a member has its own turns, and a late one of the other is no turn.
func TestTurnsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		const travel = time.Second
		c := memory.New(nil)
		if err := c.Budget(t.Context(), fleet.Budget{Total: 20, Remaining: 20, Reset: time.Now().Add(time.Hour), Concurrency: 1}, time.Now()); err != nil {
			t.Fatal(err)
		}
		f := fleet.New(fleet.Options{Coordinator: c})
		ours, others := f.Queue(), f.QueueForOthers(travel)
		ctx, stop := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { ours.Run(ctx) })
		runs.Go(func() { others.Run(ctx) })
		var last time.Time // when an Identify was sent, at the latest
		use := func(q *fleet.Queue, shard int, sent time.Duration) {
			turn := make(chan struct{})
			q.Join(shard, func() { close(turn) })
			<-turn
			time.Sleep(time.Until(q.NotBefore(shard)))
			if since := time.Since(last); since < fleet.IdentifyPause {
				t.Errorf("an Identify %v after the one before", since)
			}
			if !q.Spend(shard, time.Now()) {
				t.Error("no turn")
			}
			last = time.Now().Add(sent)
		}
		for range 3 {
			use(others, 1, travel)
			use(ours, 1, 0)
			use(others, 1, travel)
			use(others, 1, travel) // while the one before is sent
			use(others, 2, travel)
		}
		turn := make(chan struct{})
		others.Join(1, func() { close(turn) })
		<-turn
		time.Sleep(time.Until(others.NotBefore(1).Add(fleet.TurnFor - fleet.IdentifyPause - travel)))
		if others.Spend(1, time.Now()) {
			t.Error("a turn is used so late that the Identify would be sent less than a pause before the next")
		}
		others.Leave(1)
		time.Sleep(time.Minute)
		if b, _, _ := others.Budget(); b.Remaining != 20-16 {
			t.Errorf("of 20 there remain %d", b.Remaining)
		}
		stop()
		runs.Wait()
	})
}

// A queue in which nobody waits sees another budget after Refresh.
func TestQueueRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(nil)
		q := fleet.New(fleet.Options{Coordinator: c}).Queue()
		ctx, stop := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { q.Run(ctx) })
		for _, remaining := range []int{10, 20} {
			if err := c.Budget(t.Context(), fleet.Budget{Total: 100, Remaining: remaining, Concurrency: 1}, time.Now()); err != nil {
				t.Fatal(err)
			}
			q.Refresh()
			synctest.Wait()
			if b, known, _ := q.Budget(); !known || b.Remaining != remaining {
				t.Errorf("of %d it sees %d", remaining, b.Remaining)
			}
		}
		stop()
		runs.Wait()
	})
}
