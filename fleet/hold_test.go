// This file tests that nothing of a former owner is published.

package fleet_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/sinks"
)

// late is a sink that acknowledges when it is asked to.
type late struct {
	mu    sync.Mutex
	got   []sinks.Event
	acked func(n int)
}

func (l *late) Publish(_ context.Context, batch []sinks.Event, acked func(n int)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got, l.acked = append(l.got, batch...), acked
	return nil
}

func (l *late) Close() error { return nil }

func (l *late) seqs() (all []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.got {
		all = append(all, l.got[i].Seq)
	}
	return all
}

// What is owned goes on in its order, what is not is left out, and nothing is acknowledged before what stands
// before it is, whenever the inner sink does so.
func TestHoldAcknowledges(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		inner, lost := new(late), make(map[int]bool)
		s := fleet.Hold(inner, func() bool { return true }, func(shard int, _ int64) bool { return !lost[shard] }, log)
		var given []sinks.Event // in order
		var kept []bool         // of them: was to be published
		acked, confirmed := 0, 0
		check := func(when string) {
			t.Helper()
			// So many may be acknowledged: up to the first that was published and is not confirmed.
			most, n := len(given), 0
			for i, k := range kept {
				if k {
					if n++; n > confirmed {
						most = i
						break
					}
				}
			}
			if acked != most {
				t.Fatalf("seed %d, %s: %d are acknowledged, want %d of %d", seed, when, acked, most, len(given))
			}
		}
		for range 40 {
			shard := rng.IntN(4)
			lost[shard] = rng.IntN(2) == 0
			batch := make([]sinks.Event, rng.IntN(6))
			for i := range batch {
				batch[i] = sinks.Event{Shard: rng.IntN(4), Epoch: 1, Seq: int64(len(given) + 1)}
				given, kept = append(given, batch[i]), append(kept, !lost[batch[i].Shard])
			}
			if err := s.Publish(t.Context(), batch, func(n int) { acked += n }); err != nil {
				t.Fatal(err)
			}
			check("published")
			if n := rng.IntN(len(inner.got) - confirmed + 1); n > 0 {
				confirmed += n
				inner.acked(n)
				check("confirmed")
			}
		}
		if n := len(inner.got) - confirmed; n > 0 {
			confirmed += n
			inner.acked(n)
		}
		if check("at the end"); acked != len(given) {
			t.Fatalf("seed %d: %d of %d", seed, acked, len(given))
		}
		var want []int64
		for i, k := range kept {
			if k {
				want = append(want, given[i].Seq)
			}
		}
		if got := inner.seqs(); !slices.Equal(got, want) {
			t.Fatalf("seed %d: published %v, want %v", seed, got, want)
		}
	}
}

// On the way of an event nothing is allocated.
func TestHoldAllocates(t *testing.T) {
	inner := new(late)
	s := fleet.Hold(inner, func() bool { return true }, func(int, int64) bool { return true }, slog.New(slog.DiscardHandler))
	batch := make([]sinks.Event, 1000)
	for i := range batch {
		batch[i].Shard = i % 7
	}
	acked := func(int) {}
	inner.got = make([]sinks.Event, 0, len(batch))
	n := testing.AllocsPerRun(100, func() {
		inner.got = inner.got[:0]
		if err := s.Publish(context.Background(), batch, acked); err != nil {
			t.Fatal(err)
		}
		inner.acked(len(batch))
	})
	if n > 0 {
		t.Errorf("%v allocations for %d events", n, len(batch))
	}
}

// A batch waits until the member is trusted, or until nobody waits for it.
func TestHoldWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, trusted := new(late), false
		var mu sync.Mutex
		s := fleet.Hold(inner, func() bool { mu.Lock(); defer mu.Unlock(); return trusted }, func(int, int64) bool { return true }, slog.New(slog.NewTextHandler(t.Output(), nil)))
		batch := []sinks.Event{{Seq: 1, Epoch: 1}, {Seq: 2, Epoch: 1}}
		gone, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Publish(gone, batch, func(int) { t.Error("acknowledged") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without trust: %v", err)
		}
		done := make(chan error)
		go func() { done <- s.Publish(t.Context(), batch, func(int) {}) }()
		time.Sleep(time.Hour)
		if got := inner.seqs(); len(got) > 0 {
			t.Errorf("without trust %v are published", got)
		}
		mu.Lock()
		trusted = true
		mu.Unlock()
		if err := <-done; err != nil || len(inner.seqs()) != 2 {
			t.Errorf("%v are published, %v", inner.seqs(), err)
		}
	})
}

// held publishes an event of each of the member's shards, in the order of the shards, and returns where they
// go, and what is acknowledged when that has ended.
func (p *party) held(m *member) (inner *late, ended chan int) {
	inner, ended = new(late), make(chan int, 1)
	s := fleet.Hold(inner, m.Trusted, m.Owns, slog.New(slog.NewTextHandler(p.t.Output(), nil)))
	var batch []sinks.Event
	m.engine.mu.Lock()
	for shard, epoch := range m.engine.runs {
		batch = append(batch, sinks.Event{Shard: shard, Epoch: epoch, Seq: int64(shard)})
	}
	m.engine.mu.Unlock()
	slices.SortFunc(batch, func(a, b sinks.Event) int { return a.Shard - b.Shard })
	go func() {
		acked := 0
		if err := s.Publish(context.Background(), batch, func(n int) { acked += n }); err != nil {
			p.t.Error(err)
		}
		ended <- acked
	}()
	return inner, ended
}

// A member that cannot reach the coordinator stops publishing before others take its shards. If they have, what has
// waited is dropped; if they have not, it is published.
func TestHoldsWhileSuspect(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cut     time.Duration
		publish int
	}{
		{"not deposed", 4200 * time.Millisecond, 32},
		{"deposed", 8 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(p *party) {
				a, b := p.add("a"), p.add("b")
				time.Sleep(19500 * time.Millisecond)
				inner, ended := p.held(b)
				if <-ended; len(inner.seqs()) != 32 {
					t.Errorf("%d events are published while it is trusted", len(inner.seqs()))
				}
				b.way.set(true)
				time.Sleep(3700 * time.Millisecond)
				inner, ended = p.held(b)
				time.Sleep(tt.cut - 3700*time.Millisecond)
				if n := len(inner.seqs()); n > 0 {
					t.Errorf("%d events are published while it is suspect", n)
				}
				if tt.publish == 0 {
					p.check("taken over", a)
				}
				b.way.set(false)
				acked := <-ended
				if n := len(inner.seqs()); n != tt.publish || acked != 32-tt.publish {
					t.Errorf("%d events are published and %d acknowledged, want %d and %d", n, acked, tt.publish, 32-tt.publish)
				}
			})
		})
	}
}

// barred is a way on which all is seen with beats alone, acquiring takes long, and joining again does not succeed.
type barred struct{ *way }

func (b barred) Look(ctx context.Context, since int64) (fleet.View, error) {
	if b.late() {
		return fleet.View{}, errCut
	}
	return b.way.Look(ctx, since) // to join
}

// late reports whether a second has passed since the bubble's clock began, and the hour that run sleeps.
func (b barred) late() bool { return time.Since(time.Unix(946684800, 0)) > time.Hour+time.Second }

func (b barred) Acquire(ctx context.Context, incarnation string, wants []fleet.Want) ([]fleet.Shard, error) {
	time.Sleep(time.Second)
	return b.way.Acquire(ctx, incarnation, wants)
}

func (b barred) Join(ctx context.Context, m fleet.Member, plan fleet.Plan) (fleet.Plan, error) {
	if b.late() {
		return fleet.Plan{}, errCut
	}
	return b.way.Join(ctx, m, plan)
}

// What is another's by the first answer that makes the member trusted is not published with that answer, however
// long it takes to act on it.
func TestHoldsWhatIsAnothers(t *testing.T) {
	run(t, func(p *party) {
		b := p.add("b", func(w *way) fleet.Coordinator { return barred{w} })
		time.Sleep(19500 * time.Millisecond)
		v, err := p.c.Look(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b.way.set(true)
		time.Sleep(4600 * time.Millisecond)
		inner, ended := p.held(b)
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"another", "leaving"} {
			_, err := p.c.Join(context.Background(), fleet.Member{Incarnation: name, Beat: 1}, v.Plan)
			ok(err)
		}
		for _, s := range v.Shards {
			to := "another"
			if s.ID%4 == 1 {
				to = "leaving" // which leaves shards to be acquired
			} else if s.ID%4 == 3 {
				continue
			}
			owner, err := p.c.Give(context.Background(), s.ID, s.Owner, to)
			ok(err)
			ok(p.c.Take(context.Background(), s.ID, owner))
		}
		ok(p.c.Leave(context.Background(), "leaving"))
		b.way.set(false)
		<-ended
		if got := inner.seqs(); len(got) != 16 || slices.ContainsFunc(got, func(shard int64) bool { return shard%4 != 3 }) {
			t.Errorf("published are those of %v", got)
		}
	})
}

// What has waited is dropped when the member is found to be deposed, whether it can join again or not.
func TestHoldDropsAtOnce(t *testing.T) {
	run(t, func(p *party) {
		a, b := p.add("a"), p.add("b", func(w *way) fleet.Coordinator { return barred{w} })
		time.Sleep(29500 * time.Millisecond)
		b.way.set(true)
		time.Sleep(8 * time.Second)
		inner, ended := p.held(b)
		b.way.set(false)
		if acked := <-ended; acked != 32 || len(inner.seqs()) > 0 || b.Trusted() {
			t.Errorf("%d are acknowledged and %d published, trusted %v", acked, len(inner.seqs()), b.Trusted())
		}
		p.check("without b", a)
	})
}
