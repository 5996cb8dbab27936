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

func (s *slowTurns) Ask(ctx context.Context, incarnation string, waiting []int) (fleet.Grants, error) {
	g, err := s.Coordinator.Ask(ctx, incarnation, waiting)
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
