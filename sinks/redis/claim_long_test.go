//go:build long && unix

// This file tests claims through connections that end all the time.

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	c := newCutter(t, server.Addr, 20_000)
	const shards, steps = 4, 2000
	rng := rand.New(rand.NewPCG(3, 4))
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
		if h, has := holds[i][shard]; has {
			holds[i][shard] = owners[i].some(1+rng.IntN(3), shard, h, &acked)
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
