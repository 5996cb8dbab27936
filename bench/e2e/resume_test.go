//go:build linux

// This file tests the program across its own ends: what the next process resumes.

package e2e

import (
	"context"
	"flag"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

var kills = flag.Int("kills", killsOfGateway, "how often the gateway is killed, and as often ended well")

// A gateway with a file of sessions is killed at random moments, and ended well at others.
// The next process resumes every shard: nothing is lost, no shard identifies again, and
// nothing is in Redis twice.
func TestResumedByFile(t *testing.T) {
	const shards = 4
	gateway := buildGateway(t)
	for _, tt := range []struct {
		name string
		end  func(p *program)
	}{
		{"killed", func(p *program) { p.cmd.Process.Kill(); p.cmd.Wait() }},
		{"ended", func(p *program) { p.terminate(); p.exit(0) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Guilds: -1, Rate: 500, ReplayLimit: 1 << 20, Seed: 1})
			redis := redistest.Start(t)
			dir := t.TempDir()
			start := func() *program {
				return startGateway(t, setup{name: gateway}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "BROKER_ENCODING=json", "REDIS_STREAM=events",
					"REDIS_FIELDS=event,shard,session,seq", "SHARD_STORE_TYPE=file", "SHARD_STORE_DIRECTORY="+dir)
			}
			p := start()
			waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards })
			// Connected they are in the eyes of a busy Discord also when the process has just been killed.
			back := func(kills int) {
				waitFor(t, "the shards", func() bool { return srv.Ledger().Summary().Resumed >= kills*shards && srv.Connected() == shards })
			}
			for i := range *kills {
				back(i)
				until := srv.Ledger().Summary().Events + 300 + rand.Int64N(1000)
				waitFor(t, "events", func() bool { return srv.Ledger().Summary().Events >= until })
				if i == 0 {
					second := start()
					second.exit(2)
					if log := second.stderr.String(); !strings.Contains(log, dir+" is in use by process") {
						t.Errorf("the second process in the directory says\n%s", log)
					}
				}
				tt.end(p)
				p = start()
			}
			back(*kills)
			want := silence(srv)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			type key struct {
				session string
				seq     int64
			}
			seen := make(map[key]bool)
			var first []sim.Received
			repeated := 0
			for n := want; len(first) < want && ctx.Err() == nil; n = len(seen) + repeated + want - len(first) {
				first, repeated = first[:0], 0
				clear(seen)
				for _, r := range streamReader(ctx, t, redis.Addr, n, nil) {
					if k := (key{r.Session, r.Seq}); seen[k] {
						repeated++
					} else {
						seen[k] = true
						first = append(first, r)
					}
				}
			}
			r := srv.Ledger().Check(first)
			s := srv.Ledger().Summary()
			t.Logf("%v; %d came twice; %d identifies, %d connections", r, repeated, s.Identifies, s.Connects)
			if r.Received != want || r.Lost+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
				t.Errorf("%v", r)
			}
			if s.Identifies != shards {
				t.Errorf("%d identifies for %d shards", s.Identifies, shards)
			}
			if repeated > 0 {
				t.Errorf("%d events came twice", repeated)
			}
			p.terminate()
			p.exit(0)
		})
	}
}

// What the old gateway has left in Redis is resumed: a session that lives goes on, one that
// Discord refuses becomes a new one, and a gap, once.
func TestResumedFromOldGateway(t *testing.T) {
	// With the longer one, the store never sees the shard between the two sessions.
	for _, interval := range []string{"100ms", "2s"} {
		t.Run(interval, func(t *testing.T) {
			t.Parallel()
			testResumedFromOldGateway(t, interval)
		})
	}
}

func testResumedFromOldGateway(t *testing.T, interval string) {
	const shards = 2
	gateway := buildGateway(t)
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, ReadyDelay: 10 * time.Millisecond, Rate: 50, ReplayLimit: 1 << 20, Seed: 1})
	redis := redistest.Start(t)
	start := func(env ...string) *program {
		return startGateway(t, setup{name: gateway}, srv, append([]string{"BROKER_TYPE=redis", "REDIS_URL=" + redis.Addr, "BROKER_ENCODING=json", "REDIS_STREAM=events",
			"REDIS_FIELDS=event,shard,session,seq", "SHARD_STORE_TYPE=redis", "SHARD_STORE_PREFIX=gateway", "SHARD_STORE_INTERVAL=" + interval}, env...)...)
	}
	// A process that keeps the old keys stands in for the old gateway: of its own there is
	// nothing left.
	p := start("SHARD_STORE_COMPAT=true")
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards && srv.Connected() == shards })
	waitFor(t, "the old keys", func() bool { // and some events, with a seq above that of READY
		for _, shard := range []string{"0", "1"} {
			if n, err := strconv.Atoi(strings.TrimSpace(redis.CLI("GET", "gateway"+shard+"seq"))); err != nil || n < 10 {
				return false
			}
		}
		return true
	})
	p.cmd.Process.Kill()
	p.cmd.Wait()
	redis.CLI("DEL", "{gatewaysluice}:shards", "{gatewaysluice}:shard:0", "{gatewaysluice}:shard:1", "{gatewaysluice}:starts")
	before := make(map[int]string) // by shard
	for _, s := range srv.Ledger().Sessions() {
		before[s.Shard] = s.ID
	}
	redis.CLI("SET", "gateway1seq", "999999999") // higher than the session ever reached: Discord refuses it

	p = start()
	waitFor(t, "both shards", func() bool {
		s := srv.Ledger().Summary()
		return s.Sessions == shards+1 && s.Resumed == 1 && srv.Connected() == shards
	})
	gaps := func() int { return strings.Count(redis.CLI("XRANGE", "events", "-", "+"), "GATEWAY_GAP") }
	waitFor(t, "the gap", func() bool { return gaps() > 0 })
	p.terminate()
	p.exit(0)
	s := srv.Ledger().Summary()
	if s.Identifies != shards+1 || s.Resumed != 1 {
		t.Errorf("%v", s)
	}
	for _, r := range srv.Ledger().Resumes() {
		if r.Shard == 0 && (r.Session != before[0] || r.Host != "gateway") {
			t.Errorf("resumed %s through the %s host, want %s through the general one", r.Session, r.Host, before[0])
		}
	}
	if n := gaps(); n != 1 {
		t.Errorf("%d gaps, want that of shard 1", n)
	}
	if out := redis.CLI("GET", "gateway1session"); strings.Contains(out, before[1]) {
		t.Error("the session that Discord refused is still there")
	}
}
