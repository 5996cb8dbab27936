//go:build unix

// This file tests what `gateway check` says of a fleet.

package cli

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/cmd/gateway/config"
	"sluice/fleet"
	"sluice/sinks/sinktest/redistest"
)

// check -online looks at the fleet, and neither joins it nor leaves anything there: who runs, who does not beat, what this
// process would get, and that it would be refused.
func TestCheckFleet(t *testing.T) {
	t.Cleanup(func() { awaitClients(t) })
	server := redistest.Start(t)
	discord := httptest.NewServer(api(200, `{"url":"wss://gateway.discord.gg","shards":64,"session_start_limit":{"total":1000,"remaining":1000,"reset_after":1000,"max_concurrency":1}}`))
	defer discord.Close()
	env := []string{"DISCORD_TOKEN=very.secret.token", "DISCORD_API_PROTOCOL=http", "DISCORD_API_HOST=" + strings.TrimPrefix(discord.URL, "http://"), "DISCORD_SHARD_IDS=auto", "DISCORD_SHARD_COUNT=64", "DISCORD_RAW_INTENTS=513",
		"BROKER_TYPE=redis", "REDIS_URL=" + server.Addr, "FLEET_MEMBER=me", "FLEET_WEIGHT=2", "FLEET_ZONE=z1", "FLEET_RETURN=30s"}
	offline := runCommand(env, "check")
	for _, want := range []string{
		"; 64 shards, in a fleet; ",
		"\nfleet: it runs as member me with weight 2 in zone z1, with all processes that have the same token, shard_store.prefix \"\" and Redis; all need shards.count 64 (which may have been resharded since), intents 513 and format \"redis msgpack",
		"\nfleet: the others take its shards over after 6s without a beat; shards move to balance the fleet 10s after the last member has joined or left, 16 at a time; those of a member that is gone wait 30s for one of its name\n",
		"\nnot contacted: ", "redis at " + server.Addr + " (broker and fleet)",
	} {
		if offline.code != exitOK || !strings.Contains(offline.stdout, want) {
			t.Errorf("check: %+v\nwant %q", offline, want)
		}
	}
	expect := func(code int, want string, more ...string) {
		t.Helper()
		got := runCommand(append(env, more...), "check", "-online")
		if got.code != code || !strings.Contains(got.stdout+got.stderr, want) {
			t.Errorf("check -online %v: %+v\nwant %d %q", more, got, code, want)
		}
	}
	keys := func() string { return server.CLI("KEYS", "*sluice:*") }
	expect(exitOK, "\nfleet: ok: no member runs: this process would run all shards\n")
	if k := strings.TrimSpace(keys()); k != "" {
		t.Errorf("check has left the keys %s", k)
	}

	cfg, problems := config.Load(config.Sources{Environ: env})
	if problems.Failed() {
		t.Fatal(problems)
	}
	c, err := newCoordinator(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	plan := fleetPlan(cfg, registry(Brokers()).of(cfg))
	join := func(m fleet.Member) {
		if _, err := c.Join(t.Context(), m, plan); err != nil {
			t.Fatal(err)
		}
	}
	join(fleet.Member{Incarnation: "AAAA", Name: "a", Weight: 1})
	expect(exitOK, "\nfleet: ok: no member runs; without a beat: a, dead after 6s of it: this process would run all shards\n")

	var beating sync.WaitGroup
	defer beating.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	join(fleet.Member{Incarnation: "BBBB", Name: "b", Weight: 2})
	join(fleet.Member{Incarnation: "CCCC", Name: "c", Weight: 7, State: fleet.Draining})
	want := []fleet.Want{{Shard: 0}, {Shard: 1}, {Shard: 2}}
	if _, err := c.Acquire(t.Context(), "BBBB", want); err != nil {
		t.Fatal(err)
	}
	beating.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			c.Beat(ctx, fleet.Member{Incarnation: "BBBB", Name: "b", Weight: 2, Beat: n}, 0)
			c.Beat(ctx, fleet.Member{Incarnation: "CCCC", Name: "c", Weight: 7, Beat: n, State: fleet.Draining}, 0)
			time.Sleep(100 * time.Millisecond)
		}
	})
	expect(exitOK, "\nfleet: ok: 2 members (b with 3 shards; c with 0 shards, draining); without a beat: a, dead after 6s of it; the fleet has 64 shards, generation 1; this process would get about 32 of them\n")
	expect(exitUsage, "error: fleet: intents: 1 here, and 513 for member ", "DISCORD_RAW_INTENTS=1")
	expect(exitUsage, "; all members must have the same: set shards.count to 64, or remove it\n", "DISCORD_SHARD_COUNT=32")
	expect(exitUsage, "error: fleet: format: ", "BROKER_ENCODING=json")
	stop()
	beating.Wait()
	server.Kill()
	expect(exitFailure, "error: fleet: it cannot be looked at: ")
}

// A process whose setting is from before the bot was resharded joins, and says which count is in force; check -online says so
// before. With any other it does not, and the error names what the setting is to be.
func TestCheckResharded(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server := redistest.Start(t)
	discord := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"url":"wss://gateway.discord.gg","shards":3,"session_start_limit":{"total":1000,"remaining":1000,"reset_after":1000,"max_concurrency":1}}`)
	}))
	defer discord.Close()
	env := []string{"DISCORD_TOKEN=MTIzNDU2Nzg5MDEyMzQ1Njc4.AAAAAA.bbbbbbbbbbbbbbbbbbbbbbbbbbb", "DISCORD_API_PROTOCOL=http", "DISCORD_API_HOST=" + strings.TrimPrefix(discord.URL, "http://"),
		"DISCORD_SHARD_IDS=auto", "DISCORD_RAW_INTENTS=513", "BROKER_TYPE=redis", "REDIS_URL=" + server.Addr, "FLEET_DEATH=3s"}
	cfg, problems := config.Load(config.Sources{Environ: env})
	if problems.Failed() {
		t.Fatal(problems)
	}
	c, err := newCoordinator(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	plan := fleetPlan(cfg, registry(Brokers()).of(cfg))
	plan.Shards, plan.Resharded, plan.Instead = 3, true, 2
	if _, err := c.Join(t.Context(), fleet.Member{Incarnation: "BBBB", Name: "b", Weight: 1}, plan); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var beating sync.WaitGroup
	defer beating.Wait()
	defer stop()
	beating.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			c.Beat(ctx, fleet.Member{Incarnation: "BBBB", Name: "b", Weight: 1, Beat: n}, 0)
			time.Sleep(100 * time.Millisecond)
		}
	})
	const refused = "fleet: shard count: 4 here, and 3 for member b; all members must have the same: set shards.count to 3, or remove it"
	for _, tc := range []struct {
		count       string
		check, runs int
		says, logs  string
	}{
		{"2", exitOK, exitUsage, "\nfleet: ok: 1 member (b with 0 shards); the fleet has 3 shards, ", "fleet: the bot was resharded: that shard count is in force, and not that of the settings"},
		{"4", exitUsage, exitUsage, "error: " + refused + "\n", refused},
	} {
		env := append(env, "DISCORD_SHARD_COUNT="+tc.count)
		if got := runCommand(env, "check", "-online"); got.code != tc.check || !strings.Contains(got.stdout+got.stderr, tc.says) {
			t.Errorf("check -online with %s: %+v\nwant %d %q", tc.count, got, tc.check, tc.says)
		}
		// It ends behind Join, where it is let in.
		got := runCommand(append(env, "HTTP_ADDRESS="+taken.Addr().String()))
		if joins := tc.check == exitOK; got.code != tc.runs || !strings.Contains(got.stderr, tc.logs) || strings.Contains(got.stderr, "address already in use") != joins {
			t.Errorf("with %s: %d: %s\nwant %d %q", tc.count, got.code, got.stderr, tc.runs, tc.logs)
		}
	}
}
