// This file tests what a store does that knows the owners of shards: it refuses, and its failures keep events back.

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// ownedStore refuses the snapshots of epochs that are another's.
type ownedStore struct {
	checkpoints
	ownedMu sync.Mutex
	lost    map[int64]bool // epochs
	rest    error          // of the others
}

func (c *ownedStore) lose(epoch int64) {
	c.ownedMu.Lock()
	defer c.ownedMu.Unlock()
	c.lost[epoch] = true
}

func (c *ownedStore) Save(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error {
	var refused []int
	c.ownedMu.Lock()
	lost, rest := c.lost, c.rest
	c.ownedMu.Unlock()
	err := c.checkpoints.Save(ctx, func(yield func(int, resume.Session) bool) {
		refused = nil
		for id, s := range snapshots {
			c.ownedMu.Lock()
			is := lost[s.Epoch]
			c.ownedMu.Unlock()
			if is {
				refused = append(refused, id)
			} else if !yield(id, s) {
				return
			}
		}
	}, starts)
	if len(refused) > 0 {
		return fmt.Errorf("fleet: %w", &resume.RefusedError{Shards: refused, Err: errors.Join(err, rest)})
	}
	return errors.Join(err, rest)
}

// The events of a shard with an epoch wait for as long as its session is not persisted, though saving
// fails; those of others do not.
func TestHoldOfOwned(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := &checkpoints{err: errors.New("connection refused")}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c, IDs: none})
		w.add(0, resume.Session{Epoch: 1})
		w.add(1, resume.Session{})
		w.ready(2)
		time.Sleep(time.Minute)
		if w.sink.last(1) < 100 || w.sink.last(0) != 0 {
			t.Errorf("%d events of a session that is not persisted, %d of one that need not be", w.sink.last(0), w.sink.last(1))
		}
		w.srv.Cut(0, true)
		time.Sleep(time.Minute)
		if n := w.sink.last(0); n != 0 {
			t.Errorf("%d events behind a resume", n)
		}
		c.fail(nil)
		w.wait("events", func() bool { return w.sink.last(0) > 100 })
		w.srv.Silence()
		whole(t, w.quiet())
		w.wantSummary(2, 1)
		sound(t, w)
		whole(t, w.end())
	})
}

// Shards that the store refuses are deposed, and the others count as saved if they are; so in a Remove.
func TestRefused(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := &ownedStore{lost: make(map[int64]bool)}
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 4, Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c, IDs: none})
		for id := range 3 {
			w.add(id, resume.Session{Epoch: int64(id + 1)})
		}
		w.wait("events", func() bool { return w.sink.count("READY") == 3 })
		c.lose(1)
		w.wait("the end of the shard", func() bool { return w.engine.Status().Running == 2 })
		if _, ids, _ := w.engine.Shards(t.Context()); !slices.Equal(ids, []int{1, 2}) {
			t.Errorf("the engine runs %v", ids)
		}
		// If the others were not saved they do not count as that.
		c.ownedMu.Lock()
		c.rest = errors.New("connection refused")
		c.ownedMu.Unlock()
		w.add(0, resume.Session{Epoch: 5})
		w.ready(3)
		c.lose(3)
		before := w.sink.last(0)
		w.wait("the end of the shard", func() bool { return w.engine.Status().Running == 2 })
		time.Sleep(time.Minute)
		if n := w.sink.last(0); n != before {
			t.Errorf("%d events of a session that is not persisted", n)
		}
		c.ownedMu.Lock()
		c.rest = nil
		c.ownedMu.Unlock()
		w.wait("its events", func() bool { return w.sink.last(0) > 10 })
		w.end()
	})
}

// One save that refuses a shard has persisted the others. The last save of a shard may be the one that is refused.
func TestRefusedOnce(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := &ownedStore{lost: make(map[int64]bool)}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20}, engine.Options{Checkpoints: c, IDs: none, CheckpointEvery: time.Hour})
		w.add(0, resume.Session{Epoch: 1})
		w.wait("events", func() bool { return w.sink.last(0) > 0 })
		c.lose(1)
		w.add(1, resume.Session{Epoch: 2})
		w.wait("events of the other", func() bool { return w.sink.last(1) > 0 })
		if _, saves := c.state(); saves != 2 || w.engine.Status().Running != 1 {
			t.Errorf("%d run after %d saves", w.engine.Status().Running, saves)
		}
		c.lose(2)
		var elsewhere *sinks.NotLocalError
		if s, err := w.engine.Remove(t.Context(), 1); !errors.As(err, &elsewhere) || w.engine.Status().Running != 0 {
			t.Errorf("Remove: %+v, %v", s, err)
		}
		w.end()
	})
}

// A refusal is of the shard whose snapshot was given, not of that which has its id by now.
func TestRefusedTooLate(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c, log := &ownedStore{lost: make(map[int64]bool)}, new(logLines)
		w := newWorld(t, reader, sim.Options{Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c, IDs: none, Log: log.logger()})
		w.add(0, resume.Session{Epoch: 1})
		w.wait("events", func() bool { return w.sink.count("READY") == 1 })
		session := w.sessions()[0]
		persist := c.stall()
		c.lose(1)
		w.wait("a save", c.saving)
		w.engine.Depose(0)
		session.Epoch = 2
		w.add(0, session)
		w.ready(1)
		persist()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if w.engine.Status().Ready != 1 || c.last(0).Epoch != 2 {
			t.Errorf("%d ready, saved %+v", w.engine.Status().Ready, c.last(0))
		}
		if lines := log.lines("shard deposed"); len(lines) != 1 {
			t.Errorf("logged %q", lines)
		}
		w.end()
	})
}
