// This file tests claims: what a former owner of a shard writes.

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// owner is a process that writes under its claims.
type owner struct {
	*Sink
	t *testing.T

	mu      sync.Mutex
	deposed []string // shard@epoch
	lost    int      // acknowledged after that
}

func newOwner(t *testing.T, address, name string) *owner {
	t.Helper()
	w := &owner{t: t}
	client, err := NewClientOption([]string{address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Client: client, Bot: "claims", Owner: name, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Body: func(dst []byte, ev *sinks.Event) ([]byte, error) {
		session, seq := ev.Identity()
		return fmt.Appendf(dst, "-----%d/%s/%d", ev.Shard, session, seq), nil
	}}
	o.Deposed = func(shard int, epoch int64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if d := fmt.Sprintf("%d@%d", shard, epoch); !slices.Contains(w.deposed, d) {
			w.deposed = append(w.deposed, d)
		}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.Sink = s
	return w
}

func (w *owner) claim(epochs map[int]int64) (map[int]sinks.Position, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	return w.Claim(ctx, epochs)
}

func (w *owner) mustClaim(epochs map[int]int64) map[int]sinks.Position {
	w.t.Helper()
	at, err := w.claim(epochs)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

// write publishes events and waits until they are acknowledged.
func (w *owner) write(events ...sinks.Event) {
	w.t.Helper()
	left := make(chan int, len(events))
	if err := w.Publish(w.t.Context(), events, func(n int) { left <- n }); err != nil {
		w.t.Fatal(err)
	}
	for n := 0; n < len(events); {
		select {
		case k := <-left:
			n += k
		case <-time.After(2 * time.Minute):
			w.t.Fatal("not acknowledged")
		}
	}
}

// told returns of which shards the owner was told that they are another's.
func (w *owner) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.deposed)
}

func event(shard int, session string, seq, began, epoch int64) sinks.Event {
	return sinks.Event{Shard: shard, Session: session, Seq: seq, Began: began, Epoch: epoch, Type: []byte("E"), Data: []byte(`{}`)}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "B")
	if at := a.mustClaim(map[int]int64{0: 10, 1: 10}); at[0] != (sinks.Position{}) || len(at) != 2 {
		t.Errorf("claimed at %v", at)
	}
	a.write(event(0, "s", 1, 101, 10), event(1, "r", 1, 102, 10))
	at := b.mustClaim(map[int]int64{0: 20})
	if want := (sinks.Position{Session: "s", Seq: 1, Began: 101}); at[0] != want {
		t.Errorf("claimed at %v, want %v", at, want)
	}
	// The former owner's are not written, those of its other shard are.
	a.write(event(0, "s", 2, 101, 10), event(1, "r", 2, 102, 10), event(0, "s", 3, 101, 10))
	if got := a.told(); !slices.Equal(got, []string{"0@10"}) {
		t.Errorf("told %q", got)
	}
	b.write(event(0, "s", 1, 101, 20), event(0, "s", 2, 101, 20))
	// It has the shard again, and what it had read before comes late.
	a.mustClaim(map[int]int64{0: 30})
	a.write(event(0, "s", 3, 101, 10), event(0, "s", 3, 101, 30))
	b.write(event(0, "s", 3, 101, 20), event(0, "s", 4, 101, 20))
	want := []string{"0/s/1", "1/r/1", "1/r/2", "0/s/2", "0/s/3"}
	if got := entries(t, server.Addr, "E"); !slices.Equal(got, want) {
		t.Errorf("written %q\nwant    %q", got, want)
	}
	if n := a.Status().Excluded; n != 3 {
		t.Errorf("%d excluded, want 3", n)
	}
	var claimed *sinks.ClaimedError
	at, err := b.claim(map[int]int64{0: 25, 1: 11, 2: 1})
	if !errors.As(err, &claimed) || len(claimed.Epochs) != 1 || claimed.Epochs[0] != 30 || len(at) != 2 || at[1].Seq != 2 {
		t.Errorf("a lower claim: %v, %v", at, err)
	}
	if _, err := b.claim(map[int]int64{0: 30}); !errors.As(err, &claimed) {
		t.Errorf("the same epoch: %v", err)
	}
	for range 2 { // again, as after a lost answer
		if at, err := b.claim(map[int]int64{1: 11}); err != nil || at[1].Seq != 2 {
			t.Errorf("again: %v, %v", at, err)
		}
	}
}

// An event of an older session never comes behind a newer one's, and a session's end is in the position.
func TestClaimSessions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "B")
	a.mustClaim(map[int]int64{0: 10})
	a.write(event(0, "old", 1, 100, 10))
	gap := event(0, "old", 1, 100, 10)
	gap.Gap = true
	a.write(gap)
	if at := b.mustClaim(map[int]int64{0: 20}); at[0] != (sinks.Position{Session: "old", Ended: true, Began: 100}) {
		t.Errorf("claimed at %v", at)
	}
	b.write(event(0, "new", 1, 200, 20), event(0, "old", 2, 100, 20))
	if got, want := entries(t, server.Addr, "E"), []string{"0/old/1", "0/old/gap/1", "0/new/1"}; !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
}

// Three owners, whose claims and writes come in any order: each shard's epochs never fall in the stream,
// no event comes twice, and none out of order.
func TestClaimsAtRandom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const shards, steps = 4, 600
	rng := rand.New(rand.NewPCG(1, 2))
	owners := []*owner{newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "B"), newOwner(t, server.Addr, "C")}
	type hold struct{ epoch, next int64 }
	holds := make([]map[int]hold, len(owners))
	for i := range holds {
		holds[i] = make(map[int]hold)
	}
	var acked sync.WaitGroup
	epoch := int64(1)
	for range steps {
		i, shard := rng.IntN(len(owners)), rng.IntN(shards)
		if rng.IntN(4) == 0 {
			epoch++
			at := owners[i].mustClaim(map[int]int64{shard: epoch})
			holds[i][shard] = hold{epoch, at[shard].Seq + 1}
			continue
		}
		h, has := holds[i][shard]
		if !has {
			continue
		}
		var batch []sinks.Event
		for range 1 + rng.IntN(3) {
			batch = append(batch, event(shard, "s", h.next, 1, h.epoch))
			h.next++
		}
		holds[i][shard] = h
		acked.Add(len(batch))
		if err := owners[i].Publish(t.Context(), batch, func(n int) { acked.Add(-n) }); err != nil {
			t.Fatal(err)
		}
	}
	acked.Wait()
	last := make(map[int]int)
	for _, e := range entries(t, server.Addr, "E") {
		var shard, seq int
		if _, err := fmt.Sscanf(e, "%d/s/%d", &shard, &seq); err != nil || seq != last[shard]+1 {
			t.Fatalf("%s after %d: %v", e, last[shard], err)
		}
		last[shard] = seq
	}
	if len(last) != shards {
		t.Errorf("written of %d shards", len(last))
	}
}
