// This file tests turns that are shared with other processes, or need their permission.

package engine_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

// identified is when a bucket was used.
type identified struct {
	bucket int
	at     time.Time
}

// apart reports Identifies of a bucket that are less than 5 s apart.
func apart(t *testing.T, w *world, others []identified, concurrency int) (ours int) {
	t.Helper()
	all := slices.Clone(others)
	for _, id := range w.srv.Ledger().Identifies() {
		all = append(all, identified{id.Shard % concurrency, id.Time})
		ours++
	}
	slices.SortFunc(all, func(a, b identified) int { return a.at.Compare(b.at) })
	last := make(map[int]time.Time)
	for _, id := range all {
		if at, any := last[id.bucket]; any && id.at.Sub(at) < 5*time.Second {
			t.Errorf("bucket %d identifies again after %v", id.bucket, id.at.Sub(at))
		}
		last[id.bucket] = id.at
	}
	return ours
}

// Shards of other processes, some with the ids of the engine's own and some in buckets that it has no shard of, share
// its buckets and its budget.
func TestQueueForOthers(t *testing.T) {
	const travel = time.Second
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 3, MaxConcurrency: 4, IdentifyTotal: 40}, engine.Options{})
		q, err := w.engine.QueueForOthers(t.Context(), travel)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var others []identified
		given := func() int { mu.Lock(); defer mu.Unlock(); return len(others) }
		for _, shard := range []int{0, 1, 2, 3, 4, 5, 7, 8, 16, 19, 20, 21, 24, 28, 32, 36} {
			q.Join(shard, func() {
				time.AfterFunc(time.Until(q.NotBefore(shard)), func() {
					now := time.Now()
					if !q.Spend(shard, now) {
						t.Errorf("the turn of shard %d is lost", shard)
					}
					mu.Lock()
					defer mu.Unlock()
					others = append(others, identified{shard % 4, now.Add(time.Duration(rand.Int64N(int64(travel))))})
				})
			})
		}
		w.ready(3)
		w.wait("turns", func() bool { return given() >= 16 })
		if left := w.engine.Status().Identify.Left; left != 40-3-16 {
			t.Errorf("%d of 40 are left", left)
		}
		time.Sleep(travel)
		mu.Lock()
		defer mu.Unlock()
		if ours := apart(t, w, others, 4); ours != 3 {
			t.Errorf("%d Identifies", ours)
		}
		if q.Spend(1000, time.Now()) {
			t.Error("a shard that has no turn uses one")
		}
		w.end()
	})
}

// Each Identify needs a permission, which is asked for by one shard of a bucket at a time, when it is connected. One that
// came before the engine's own window had passed is too old by then. A shard that does not wait any more asks no longer.
func TestPermit(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		type asked struct {
			shard  int
			answer chan struct{}
		}
		asks := make(chan asked, 16)
		var gone atomic.Int32
		w := newWorld(t, reader, sim.Options{Shards: 4, MaxConcurrency: 2}, engine.Options{Permit: func(ctx context.Context, shard int) error {
			answer := make(chan struct{})
			asks <- asked{shard, answer}
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				gone.Add(1)
				return ctx.Err()
			}
		}})
		time.Sleep(30 * time.Minute)
		if n := w.srv.Ledger().Summary(); n.Identifies > 0 || n.Connects != 2 || len(asks) != 2 || !w.engine.Status().Identify.Permitted || w.shard(0).State != engine.IdentifyWait {
			t.Fatalf("%d shards ask: %v", len(asks), n)
		}
		next := func() asked {
			t.Helper()
			w.wait("question", func() bool { return len(asks) > 0 })
			return <-asks
		}
		one, two := next(), next()
		if one.shard+two.shard != 1 {
			t.Errorf("shards %d and %d ask", one.shard, two.shard)
		}
		if one.shard == 1 {
			one, two = two, one
		}
		w.remove(1)
		if third := next(); third.shard != 3 || gone.Load() != 1 {
			t.Errorf("shard %d asks; %d do not any more", third.shard, gone.Load())
		} else {
			defer close(third.answer)
		}
		close(one.answer)
		w.ready(1)
		early := next()
		close(early.answer) // at once, and again when the window has passed
		if again := next(); early.shard != 2 || again.shard != 2 {
			t.Errorf("shards %d and %d ask", early.shard, again.shard)
		} else {
			close(again.answer)
		}
		w.ready(2)
		if ours := apart(t, w, nil, 2); ours != 2 {
			t.Errorf("%d Identifies", ours)
		}
		w.end()
		if gone.Load() != 2 {
			t.Errorf("%d do not ask any more", gone.Load())
		}
	})
}
