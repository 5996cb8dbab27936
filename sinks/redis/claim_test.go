//go:build unix

// This file tests claims: what a former owner of a shard writes.

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
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

// hold is what an owner may write of a shard: from a seq on, under an epoch.
type hold struct{ epoch, next int64 }

// some publishes n events of a shard, and returns what follows. acked is what is not acknowledged.
func (w *owner) some(n, shard int, h hold, acked *sync.WaitGroup) hold {
	w.t.Helper()
	var batch []sinks.Event
	for range n {
		batch = append(batch, event(shard, "s", h.next, 1, h.epoch))
		h.next++
	}
	acked.Add(n)
	if err := w.Publish(w.t.Context(), batch, func(n int) { acked.Add(-n) }); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// Three owners, whose claims and writes come in any order: each shard's epochs never fall in the stream,
// no event comes twice, and none out of order.
func TestClaimsAtRandom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const shards, steps = 4, 600
	rng := rand.New(rand.NewPCG(1, 2))
	owners := []*owner{newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "B"), newOwner(t, server.Addr, "C")}
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
		if h, has := holds[i][shard]; has {
			holds[i][shard] = owners[i].some(1+rng.IntN(3), shard, h, &acked)
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

// What is excluded is acknowledged when Deposed has returned, and not before; an event without a seq is
// its owner's to write, too.
func TestDeposedBeforeAcknowledged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "B")
	var mu sync.Mutex
	var said []string
	say := func(what string) { mu.Lock(); said = append(said, what); mu.Unlock() }
	a.o.Deposed = func(shard int, epoch int64) { say(fmt.Sprintf("deposed %d@%d", shard, epoch)) }
	a.mustClaim(map[int]int64{0: 10, 1: 10})
	a.write(event(0, "", 0, 0, 10), event(0, "s", 1, 100, 10), event(0, "s", 0, 100, 10), event(1, "r", 1, 100, 10))
	b.mustClaim(map[int]int64{0: 20})
	done := make(chan struct{})
	left := 2
	err := a.Publish(t.Context(), []sinks.Event{event(0, "s", 0, 100, 10), event(1, "r", 2, 100, 10)}, func(n int) {
		say("acknowledged")
		if left -= n; left == 0 {
			close(done)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("not acknowledged")
	}
	if want := []string{"deposed 0@10", "acknowledged"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
	b.write(event(0, "s", 2, 100, 20))
	want := []string{"0//0", "0/s/1", "0/s/0", "1/r/1", "1/r/2", "0/s/2"}
	if got := entries(t, server.Addr, "E"); !slices.Equal(got, want) {
		t.Errorf("written %q\nwant    %q", got, want)
	}
}

// A server that is emptied has forgotten the claims. The owner goes on, and what a former one writes after it is refused.
func TestClaimsForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "B")
	a.mustClaim(map[int]int64{0: 10})
	a.write(event(0, "s", 1, 100, 10))
	b.mustClaim(map[int]int64{0: 20})
	b.write(event(0, "s", 2, 100, 20))
	server.CLI("FLUSHALL")
	b.write(event(0, "s", 3, 100, 20))
	a.write(event(0, "s", 2, 100, 10), event(0, "s", 4, 100, 10))
	b.write(event(0, "s", 4, 100, 20))
	if got, want := entries(t, server.Addr, "E"), []string{"0/s/3", "0/s/4"}; !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
	if got := a.told(); !slices.Equal(got, []string{"0@10"}) {
		t.Errorf("told %q", got)
	}
}

// A key of positions that somebody has made something else is mended by whoever claims: nobody writes before.
func TestClaimMends(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.CLI("SET", positionsKey("claims", ""), "no hash")
	a := newOwner(t, server.Addr, "A")
	a.mustClaim(map[int]int64{0: 10})
	a.write(event(0, "s", 1, 100, 10))
	if got, want := entries(t, server.Addr, "E"), []string{"0/s/1"}; !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
}

// A process in no fleet goes on from what one has written, and the reverse.
func TestFleetAndNone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, none := newOwner(t, server.Addr, "A"), newOwner(t, server.Addr, "")
	a.mustClaim(map[int]int64{0: 10})
	a.write(event(0, "s", 1, 100, 10))
	none.write(event(0, "s", 1, 0, 0), event(0, "s", 2, 0, 0))
	if got := strings.TrimSpace(server.CLI("HGET", "sluice:seen:claims", "0")); got != "s:2::2s" {
		t.Errorf("the position is %q", got)
	}
	a.write(event(0, "s", 2, 100, 10), event(0, "s", 3, 100, 10))
	if got, want := entries(t, server.Addr, "E"), []string{"0/s/1", "0/s/2", "0/s/3"}; !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
}

// stepped is an owner whose writer works when it is asked to, so that several batches are sent together.
type stepped struct{ *owner }

func newStepped(t *testing.T, address, name string) stepped {
	t.Helper()
	w := newOwner(t, address, name)
	w.Sink.start.Do(func() {}) // it does not run by itself
	if err := w.writer.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.writer.disconnect)
	return stepped{w}
}

// batches publishes some, and has the writer send them until all are acknowledged.
func (w stepped) batches(batches ...[]sinks.Event) {
	w.t.Helper()
	left := 0
	for _, b := range batches {
		left += len(b)
		if err := w.Publish(w.t.Context(), b, func(n int) { left -= n }); err != nil {
			w.t.Fatal(err)
		}
	}
	for try := 0; left > 0; try++ {
		if try == 20 {
			w.t.Fatalf("%d are not acknowledged", left)
		}
		if len(w.writer.pending) == 0 {
			w.writer.collect(w.t.Context())
		} else {
			for len(w.filled) > 0 {
				w.writer.pending = append(w.writer.pending, <-w.filled)
			}
		}
		w.writer.send(w.t.Context())
	}
}

// An owner has lost a shard and got it back while what it had read before was not sent yet: that is refused, so
// it does not cover the same events under the new claim, wherever they lie.
func TestClaimOfOwnEvents(t *testing.T) {
	t.Parallel()
	for name, split := range map[string]bool{"two batches": true, "one batch": false} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			a, b := newStepped(t, server.Addr, "A"), newOwner(t, server.Addr, "B")
			a.mustClaim(map[int]int64{0: 10})
			a.batches([]sinks.Event{event(0, "s", 1, 100, 10)})
			b.mustClaim(map[int]int64{0: 20})
			a.mustClaim(map[int]int64{0: 30})
			old := []sinks.Event{event(0, "s", 2, 100, 10), event(0, "s", 3, 100, 10)}
			next := []sinks.Event{event(0, "s", 2, 100, 30), event(0, "s", 3, 100, 30), event(0, "s", 4, 100, 30)}
			if split {
				a.batches(old, next)
			} else {
				a.batches(append(old, next...))
			}
			// And without another's claim in between, where the old ones are written.
			a.mustClaim(map[int]int64{0: 40})
			a.batches([]sinks.Event{event(0, "s", 5, 100, 30)}, []sinks.Event{event(0, "s", 5, 100, 40), event(0, "s", 6, 100, 40)})
			a.batches([]sinks.Event{event(0, "s", 7, 100, 40)}, []sinks.Event{event(0, "s", 8, 100, 40), event(0, "s", 7, 100, 50), event(0, "s", 8, 100, 50), event(0, "s", 9, 100, 50)})
			want := []string{"0/s/1", "0/s/2", "0/s/3", "0/s/4", "0/s/5", "0/s/6", "0/s/7", "0/s/8", "0/s/9"}
			if got := entries(t, server.Addr, "E"); !slices.Equal(got, want) {
				t.Errorf("written %q\nwant    %q", got, want)
			}
		})
	}
}

// Claims that come together share a connection: none waits until one is made for it.
func TestClaimsShareConnection(t *testing.T) {
	server := redistest.Start(t)
	w := newOwner(t, server.Addr, "A")
	if _, err := w.Claim(t.Context(), nil); err != nil { // connects
		t.Fatal(err)
	}
	connections := func() (n int) {
		for line := range strings.Lines(server.CLI("info", "stats")) {
			fmt.Sscanf(line, "total_connections_received:%d", &n)
		}
		return n
	}
	before := connections()
	var claims sync.WaitGroup
	for shard := range 50 {
		claims.Go(func() {
			if _, err := w.Claim(t.Context(), map[int]int64{shard: 5}); err != nil {
				t.Error(err)
			}
		})
	}
	claims.Wait()
	if n := connections() - before; n > 2 { // that of the command line is one
		t.Errorf("%d connections for 50 claims", n)
	}
}
