//go:build unix

// This file tests the coordinator against a real Redis.

package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/fleet"
	"sluice/sinks/redis"
	"sluice/sinks/sinktest/redistest"
)

// open returns a coordinator on the server, as the next process opens it.
func open(t testing.TB, address, bot string) *Coordinator {
	t.Helper()
	o, err := redis.NewClientOption([]string{address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.ForceSingleClient = true
	c := &Coordinator{Bot: bot, Log: slog.New(slog.DiscardHandler), Connect: func(ctx context.Context) (rueidis.Client, error) { return redis.Connect(ctx, o) }}
	t.Cleanup(func() { c.Close() })
	return c
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wait waits for a condition.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func member(incarnation string) fleet.Member {
	return fleet.Member{Incarnation: incarnation, Name: "host of " + incarnation, Zone: "z 1", Weight: 2, Beat: 1, Address: "127.0.0.1:80", Version: "v1 é"}
}

func join(t testing.TB, c *Coordinator, incarnations ...string) {
	t.Helper()
	for _, i := range incarnations {
		must[fleet.Plan](t)(c.Join(t.Context(), member(i), plan(16)))
	}
}

func plan(shards int) fleet.Plan {
	return fleet.Plan{Shards: shards, Intents: 1<<63 + 1, Format: "redis json"}
}

// acquire makes an incarnation the owner of shards that nobody has owned.
func acquire(t testing.TB, c *Coordinator, incarnation string, shards ...int) []fleet.Shard {
	t.Helper()
	var want []fleet.Want
	for _, shard := range shards {
		want = append(want, fleet.Want{Shard: shard})
	}
	got := must[[]fleet.Shard](t)(c.Acquire(t.Context(), incarnation, want))
	if len(got) != len(shards) {
		t.Fatalf("%s got %d of %d shards", incarnation, len(got), len(shards))
	}
	return got
}

func TestSmoke(t *testing.T) {
	srv := redistest.Start(t)
	c := open(t, srv.Addr, "bot")
	ctx := t.Context()
	join(t, c, "a", "b")
	got := acquire(t, c, "a", 0, 1, 2)
	view := must[fleet.View](t)(c.Look(ctx, 0))
	t.Logf("%+v", view)
	o := must[fleet.Owner](t)(c.Give(ctx, 1, got[1].Owner, "b"))
	fmt.Println(o, c.Take(ctx, 1, o))
	view = must[fleet.View](t)(c.Beat(ctx, member("a"), view.Revision))
	t.Logf("%+v", view)
	fmt.Println(c.Depose(ctx, "a", 1))
	view = must[fleet.View](t)(c.Look(ctx, view.Revision))
	t.Logf("%+v", view)
	fmt.Println(c.Acquire(ctx, "b", []fleet.Want{{Shard: 0, From: got[0].Owner}, {Shard: 2, From: got[2].Owner, Above: 5e15}}))
	view = must[fleet.View](t)(c.Look(ctx, view.Revision))
	t.Logf("%+v", view)
	fmt.Println(c.Save(ctx, "b", []fleet.Record{{Shard: 1, Epoch: o.Epoch, Number: 1, Data: []byte("x y")}, {Shard: 3}}))
	fmt.Println(c.Load(ctx, []int{1, 2}))
	fmt.Println(c.Ask(ctx, "b", []int{1, 2}))
	fmt.Println(c.Budget(ctx, fleet.Budget{Total: 1000, Remaining: 5, Concurrency: 2, Reset: time.Now().Add(time.Hour)}, view.Now))
	fmt.Println(c.Ask(ctx, "b", []int{1, 2, 3}))
	fmt.Println(c.Sent(ctx, "b", 1))
	fmt.Println(c.Sent(ctx, "b", 1))
	fmt.Println(c.Ask(ctx, "b", []int{2, 3}))
	fmt.Println(c.Leave(ctx, "b"))
	view = must[fleet.View](t)(c.Look(ctx, 0))
	t.Logf("%+v", view)
	_, err := c.Beat(ctx, member("a"), 0)
	fmt.Println(err, errors.Is(err, fleet.ErrDeposed), strings.TrimSpace(srv.CLI("KEYS", "*")))
}
