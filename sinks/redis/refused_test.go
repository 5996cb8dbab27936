//go:build unix

// This file tests claims through lost answers, an emptied server and a replica that lags behind.

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// epochBody is a value that tells of what epoch the event is.
func epochBody(dst []byte, ev *sinks.Event) ([]byte, error) {
	session, seq := ev.Identity()
	return fmt.Appendf(dst, "-----%d/%d/%s/%d", ev.Shard, ev.Epoch, session, seq), nil
}

// Three owners claim and write four shards in any order, over connections that end all the time, one
// claim lower than the last now and then: in the stream no shard's epochs fall, and of its session each event
// comes once and in order.
func TestClaimsThroughCuts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newCutter(t, server.Addr, 400_000)
	const shards, steps = 4, 2000
	rng := rand.New(rand.NewPCG(3, 4))
	type hold struct{ epoch, next int64 }
	var owners []*owner
	holds := make([]map[int]hold, 3)
	for i, name := range []string{"A", "B", "C"} {
		holds[i] = make(map[int]hold)
		owners = append(owners, newOwner(t, c.Addr().String(), name))
		owners[i].o.Body = epochBody
	}
	insist := func(o *owner, epochs map[int]int64) (map[int]sinks.Position, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			at, err := o.Claim(ctx, epochs)
			if err == nil || errors.As(err, new(*sinks.ClaimedError)) {
				return at, err
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			pause(ctx, time.Millisecond)
		}
	}
	var acked sync.WaitGroup
	latest, lower := make(map[int]int64), 0
	for range steps {
		i, shard := rng.IntN(len(owners)), rng.IntN(shards)
		switch n := rng.IntN(12); {
		case n < 2:
			latest[shard]++
			at, err := insist(owners[i], map[int]int64{shard: latest[shard]})
			if err != nil {
				t.Fatal(err)
			}
			holds[i][shard] = hold{latest[shard], at[shard].Seq + 1}
			continue
		case n == 2 && latest[shard] > 1:
			var claimed *sinks.ClaimedError
			if _, err := insist(owners[i], map[int]int64{shard: latest[shard] - 1}); !errors.As(err, &claimed) || claimed.Epochs[shard] != latest[shard] {
				t.Fatalf("claimed below %d: %v", latest[shard], err)
			}
			lower++
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
	close(c.calm)
	acked.Wait()
	seqs, epochs := make(map[int]int64), make(map[int]int64)
	for _, e := range entries(t, server.Addr, "E") {
		var shard int
		var epoch, seq int64
		if _, err := fmt.Sscanf(e, "%d/%d/s/%d", &shard, &epoch, &seq); err != nil || seq != seqs[shard]+1 || epoch < epochs[shard] {
			t.Fatalf("%s after seq %d of epoch %d: %v", e, seqs[shard], epochs[shard], err)
		}
		seqs[shard], epochs[shard] = seq, epoch
	}
	var excluded, retried int64
	for _, o := range owners {
		excluded, retried = excluded+o.Status().Excluded, retried+o.Status().Retried
	}
	t.Logf("%v written, %d excluded, %d batches retried, %d lower claims", seqs, excluded, retried, lower)
	if len(seqs) != shards || excluded == 0 || retried == 0 || lower == 0 {
		t.Error("that is not what was to be tested")
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

// What the process before has written counts as written only when the replicas have it.
func TestCoveredWaitsForReplicas(t *testing.T) {
	t.Parallel()
	server, replica := redistest.Start(t), redistest.Start(t)
	host, port, _ := strings.Cut(server.Addr, ":")
	replica.CLI("REPLICAOF", host, port)
	first := start(t, Options{Bot: "claims"}, server.Addr)
	first.wait("replica", func() bool { return strings.Contains(replica.CLI("INFO", "replication"), "master_link_status:up") })
	first.publish(1, "E")
	first.settled()
	client, err := NewClientOption([]string{server.Addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(Options{Client: client, Bot: "claims", Replicas: 1, Body: rawBody, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The replica stands still: it is connected, and confirms nothing.
	slept := make(chan struct{})
	var awake time.Time
	go func() {
		defer close(slept)
		replica.TryCLI("DEBUG", "SLEEP", "3")
		awake = time.Now()
	}()
	first.wait("sleep", func() bool { n, _ := strconv.Atoi(strings.TrimSpace(server.CLI("WAIT", "1", "1"))); return n <= 1 })
	acked := make(chan time.Time, 1)
	time.Sleep(300 * time.Millisecond)
	if err := second.Publish(t.Context(), []sinks.Event{{Shard: 1, Session: "s", Seq: 1, Type: []byte("E"), Data: []byte("1")}}, func(int) { acked <- time.Now() }); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-acked:
		<-slept
		if at.Before(awake.Add(-time.Second)) {
			t.Error("acknowledged while the replica stood still")
		}
	case <-time.After(patience):
		t.Fatal("not acknowledged")
	}
	if n := second.Status().Repeated; n != 1 {
		t.Errorf("%d repeated, want 1", n)
	}
}
