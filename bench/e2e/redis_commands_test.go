//go:build linux

// This file tests commands that reach the program through Redis.

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
	"sluice/wire"
)

// 10,000 commands reach Discord once and in order per shard, while the program is
// restarted twice.
func TestRedisCommands(t *testing.T) {
	const shards, each = 100, 100 // a shard may send 120 in a minute
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond})
	redis := redistest.Start(t)
	bot, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redis.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bot.Close()
	for i := range each {
		var cmds []rueidis.Completed
		for shard := range shards {
			packet := fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"a","limit":1,"nonce":"%d"}}`, (shards+shard)<<22, i)
			stream, text := "SEND", fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shards+shard)<<22, packet)
			if shard%2 == 1 { // as another process hands them on
				stream, text = fmt.Sprint(shard), packet
			}
			value := append([]byte{0xda, byte(len(text) >> 8), byte(len(text))}, text...)
			cmds = append(cmds, bot.B().Xadd().Key(stream).Id("*").FieldValue().FieldValue("data", rueidis.BinaryString(value)).Build())
		}
		for _, r := range bot.DoMulti(context.Background(), cmds...) {
			if err := r.Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	name := buildGateway(t)
	arrived := func() []sim.Command {
		return slices.DeleteFunc(srv.Ledger().Commands(), func(c sim.Command) bool { return c.Op != wire.OpRequestGuildMembers })
	}
	count := func() int { return len(arrived()) }
	for _, until := range []int{2_000, 5_000, shards * each} {
		p := startGateway(t, setup{name: name}, srv, "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr)
		for end := time.Now().Add(time.Minute); count() < until; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				byShard := make(map[int]int)
				for _, c := range arrived() {
					byShard[c.Shard]++
				}
				t.Fatalf("%d commands have reached Discord, want %d; by shard: %v", count(), until, byShard)
			}
		}
		time.Sleep(300 * time.Millisecond) // were there more than all, they would come now
		p.terminate()
		p.exit(0)
	}
	next := make(map[int]int)
	for _, c := range arrived() {
		if want := fmt.Sprintf(`"nonce":"%d"`, next[c.Shard]); !bytes.Contains(c.Raw, []byte(want)) {
			t.Fatalf("shard %d got %s, want %s", c.Shard, c.Raw, want)
		}
		next[c.Shard]++
	}
	if count() != shards*each {
		t.Errorf("%d commands, want %d", count(), shards*each)
	}
	if pending := redis.CLI("XPENDING", "SEND", "gateway"); !strings.HasPrefix(pending, "0") {
		t.Errorf("not acknowledged: %s", pending)
	}
}
