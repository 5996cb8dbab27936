//go:build long && unix

// This file tests the commands of a fleet.

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
	"sluice/wire"
)

// Commands reach Discord once and in order per shard while members of a fleet come and go, and while one
// is dead, or stopped for a while, that had some to send.
func TestFleetCommands(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	bot, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redis.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bot.Close()
	testFleetCommands(t, []string{"BROKER_TYPE=redis", "REDIS_URL=" + redis.Addr,
		"BROKER_MESSAGE_TIMEOUT=24h"}, // so that what a dead member had comes only if it is known to be dead
		func(name, value string) error {
			return bot.Do(context.Background(), bot.B().Xadd().Key(name).Id("*").FieldValue().FieldValue("data", value).Build()).Error()
		}, func(shards int) bool {
			return !slices.ContainsFunc(streamsOf(shards), func(s string) bool { return !strings.HasPrefix(redis.CLI("XPENDING", s, "gateway"), "0") })
		})
}

// testFleetCommands runs members with env. add adds a command, and done reports whether all are acknowledged.
func testFleetCommands(t *testing.T, env []string, add func(name, value string) error, done func(shards int) bool) {
	const shards, each = 12, 10
	srv := startSim(t, sim.Options{Shards: shards, MaxConcurrency: shards, IdentifyWindow: time.Millisecond})
	gateway := buildGateway(t)
	member := func(name string) *program {
		return startGateway(t, setup{name: gateway}, srv, append(env, "DISCORD_SHARD_IDS=auto",
			"DISCORD_SHARD_COUNT="+fmt.Sprint(shards), "FLEET_MEMBER="+name, "FLEET_SETTLE=1s")...)
	}
	added := 0
	publish := func(n int, pause time.Duration) {
		t.Helper()
		for range n {
			for shard := range shards {
				packet := fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"a","limit":1,"nonce":"%d"}}`, (shards+shard)<<22, added)
				name, value := "SEND", fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shards+shard)<<22, packet)
				if shard%3 == 1 {
					name, value = fmt.Sprint(shard), packet
				}
				if err := add(name, value); err != nil {
					t.Fatal(err)
				}
			}
			added++
			time.Sleep(pause)
		}
	}
	arrived := func() []sim.Command {
		return slices.DeleteFunc(srv.Ledger().Commands(), func(c sim.Command) bool { return c.Op != wire.OpRequestGuildMembers })
	}
	all := func() {
		t.Helper()
		waitFor(t, "commands", func() bool { return len(arrived()) >= shards*added })
		waitFor(t, "acknowledgements", func() bool { return done(shards) })
	}
	a := member("a")
	publish(each, 0)
	all()
	b, c := member("b"), member("c")
	publish(each, 500*time.Millisecond) // shards move to them meanwhile
	a.terminate()
	publish(each, 100*time.Millisecond)
	a.exit(0)
	a = member("a")
	publish(each, 500*time.Millisecond)
	all()
	flood := func() {
		t.Helper()
		publish(100, 0) // more than a shard may send in a minute
		sent, looks := 0, 0
		waitFor(t, "shards that wait", func() bool {
			if n := len(arrived()); n != sent {
				sent, looks = n, 0
			}
			looks++
			return looks == 50 && sent > 0
		})
		if sent == shards*added {
			t.Error("nothing waits")
		}
	}
	flood()
	b.cmd.Process.Kill()
	b.cmd.Wait()
	publish(each, 200*time.Millisecond)
	all()
	flood()
	c.cmd.Process.Signal(syscall.SIGSTOP)
	all()
	c.cmd.Process.Signal(syscall.SIGCONT) // with commands that others have sent
	waitFor(t, "word that it was deposed", func() bool { return strings.Contains(c.stderr.String(), "deposed by the others") })
	publish(each, 500*time.Millisecond)
	all()
	c.terminate()
	a.terminate()
	publish(each, 0) // for whoever comes next
	c.exit(0)
	a.exit(0)
	last := member("d")
	all()
	last.terminate()
	last.exit(0)
	for _, m := range []*program{b, c} {
		if !strings.Contains(m.stderr.String(), "shard added") {
			t.Error("no shard has moved to a member that came later")
		}
	}
	next := make(map[int]int)
	for _, c := range arrived() {
		if want := fmt.Sprintf(`"nonce":"%d"`, next[c.Shard]); !bytes.Contains(c.Raw, []byte(want)) {
			t.Fatalf("shard %d got %s, want %s", c.Shard, c.Raw, want)
		}
		next[c.Shard]++
	}
	if n := len(arrived()); n != shards*added {
		t.Errorf("%d commands, want %d", n, shards*added)
	}
}

// streamsOf returns the streams of commands.
func streamsOf(shards int) (names []string) {
	for s := range shards {
		names = append(names, fmt.Sprint(s))
	}
	return append(names, "SEND")
}
