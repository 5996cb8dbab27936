// This file tests the last snapshots of shards that are removed together.

package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// The last snapshots of shards that are removed while one is being saved are saved together. One that is refused is
// dropped, and does not keep the others. A Remove whose time is over waits as long as any of the others.
func TestRemoveTogether(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		const shards = 16
		c := new(checkpoints)
		w := newWorld(t, reader, sim.Options{Shards: shards, MaxConcurrency: 16, Rate: 5, ReplayLimit: 50_000, SessionTTL: time.Hour}, engine.Options{
			Checkpoints: c, CheckpointEvery: time.Hour,
		})
		w.ready(shards)
		time.Sleep(10 * time.Second)
		_, before := c.state()
		free := c.stall()
		var all sync.WaitGroup
		sessions, errs := make([]resume.Session, shards), make([]error, shards)
		remove := func(ctx context.Context, id int) {
			all.Go(func() { sessions[id], errs[id] = w.engine.Remove(ctx, id) })
			time.Sleep(time.Second) // it is drained
		}
		remove(t.Context(), 0)
		soon, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		remove(soon, 1)
		for id := 2; id < shards; id++ {
			remove(t.Context(), id)
		}
		c.fail(&resume.RefusedError{Shards: []int{3}})
		free()
		all.Wait()
		if _, n := c.state(); n != before+2 {
			t.Errorf("%d saves for %d shards", n-before, shards)
		}
		for id, err := range errs {
			if id == 3 {
				if !errors.As(err, new(*sinks.NotLocalError)) {
					t.Errorf("the shard that is refused: %v", err)
				}
				continue
			}
			if err != nil || sessions[id].Seq == 0 || sessions[id].Seq != w.sink.last(id) {
				t.Errorf("shard %d: %+v, %v; the sink has %d", id, sessions[id], err, w.sink.last(id))
			}
		}
		// When nobody waits any more, the Save ends.
		c.fail(nil)
		w.add(0, sessions[0])
		w.add(1, sessions[1])
		w.ready(2)
		defer c.stall()()
		soon, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		remove(soon, 0)
		remove(soon, 1)
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("after %v", took)
		}
		w.wait("the end of both", func() bool { return w.engine.Status().Running == 0 })
		w.stop()
	})
}
