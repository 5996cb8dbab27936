//go:build linux

// This file tests commands that reach the program through a broker.

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
	"sluice/wire"
)

// brokerCommand is a command as a bot leaves it with a broker.
type brokerCommand struct {
	name  string // of the stream, or the routing key
	value string
}

// rawString returns the text as the old gateway's libraries encode a string.
func rawString(text string) string {
	return string([]byte{0xdb, byte(len(text) >> 24), byte(len(text) >> 16), byte(len(text) >> 8), byte(len(text))}) + text
}

// poison is what is no command, and what is told of it.
var poison = []struct{ name, text, told string }{
	{"SEND", `{"guild_id":"4194304","packet":{"op":8`, "JSON"},
	{"SEND", `{"guild_id":"4194304"}`, "packet"},
	{"SEND", `{"packet":{"op":8,"d":{}}}`, "guild_id"},
	{"SEND", `{"guild_id":4194304,"packet":{"op":8,"d":{}}}`, "guild_id"},
	{"SEND", `[1,2,3]`, "command refused"},
	{"1", `{"op":2,"d":{"token":"x"}}`, "command refused"},
	{"1", strings.Repeat("x", 1<<20), "command refused"},
}

// Commands reach Discord once and in order per shard, while the program is
// restarted twice, with others among them that are none.
func testBrokerCommands(t *testing.T, gateway string, env []string, publish func([]brokerCommand)) {
	const shards, each = 100, commandsOfShard // it may send 120 in a minute
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond})
	for i := range each {
		var all []brokerCommand
		for shard := range shards {
			packet := fmt.Sprintf(`{"op":8,"d":{"guild_id":"%d","query":"a","limit":1,"nonce":"%d"}}`, (shards+shard)<<22, i)
			c := brokerCommand{"SEND", fmt.Sprintf(`{"guild_id":"%d","packet":%s}`, (shards+shard)<<22, packet)}
			if shard%2 == 1 { // as another process hands them on
				c = brokerCommand{fmt.Sprint(shard), packet}
			}
			c.value = rawString(c.value)
			all = append(all, c)
		}
		if i == each/2 {
			for _, p := range poison {
				all = append(all, brokerCommand{p.name, rawString(p.text)})
			}
		}
		publish(all)
	}
	arrived := func() []sim.Command {
		return slices.DeleteFunc(srv.Ledger().Commands(), func(c sim.Command) bool { return c.Op != wire.OpRequestGuildMembers })
	}
	var logs strings.Builder
	for _, until := range []int{shards * each / 5, shards * each / 2, shards * each} {
		p := startGateway(t, setup{name: gateway}, srv, env...)
		// Before it has begun, it would be ended by the signal itself.
		waitFor(t, fmt.Sprintf("%d commands", until), func() bool {
			return len(arrived()) >= until && strings.Contains(p.stderr.String(), "msg=starting")
		})
		p.terminate()
		p.exit(0)
		logs.WriteString(p.stderr.String())
	}
	next := make(map[int]int)
	for _, c := range arrived() {
		if want := fmt.Sprintf(`"nonce":"%d"`, next[c.Shard]); !bytes.Contains(c.Raw, []byte(want)) {
			t.Fatalf("shard %d got %s, want %s", c.Shard, c.Raw, want)
		}
		next[c.Shard]++
	}
	if n := len(arrived()); n != shards*each {
		t.Errorf("%d commands, want %d", n, shards*each)
	}
	if n := strings.Count(logs.String(), "command refused"); n != len(poison) {
		t.Errorf("%d commands were refused, want %d", n, len(poison))
	}
	for _, p := range poison {
		if !strings.Contains(logs.String(), p.told) {
			t.Errorf("%.60s: %q is not told in\n%s", p.text, p.told, logs.String())
		}
	}
}

func TestRedisCommands(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	bot, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redis.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bot.Close()
	testBrokerCommands(t, buildGateway(t), []string{"BROKER_TYPE=redis", "REDIS_URL=" + redis.Addr}, func(all []brokerCommand) {
		var cmds []rueidis.Completed
		for _, c := range all {
			cmds = append(cmds, bot.B().Xadd().Key(c.name).Id("*").FieldValue().FieldValue("data", c.value).Build())
		}
		for _, r := range bot.DoMulti(context.Background(), cmds...) {
			if err := r.Error(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if pending := redis.CLI("XPENDING", "SEND", "gateway"); !strings.HasPrefix(pending, "0") {
		t.Errorf("not acknowledged: %s", pending)
	}
}

func testAMQPCommands(t *testing.T, node *rabbitmq.Node, gateway string) {
	ch := amqpChannel(t, node.URL())
	if err := ch.ExchangeDeclare("commands", "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	queues := make(map[string]bool)
	testBrokerCommands(t, gateway, []string{"BROKER_TYPE=amqp", "AMQP_URL=" + node.URL(), "BROKER_GROUP=commands"}, func(all []brokerCommand) {
		for _, c := range all {
			queue := "commands:" + c.name
			if !queues[queue] { // as the gateway declares it, which has not run yet
				if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
					t.Fatal(err)
				}
				if err := ch.QueueBind(queue, c.name, "commands", false, nil); err != nil {
					t.Fatal(err)
				}
				queues[queue] = true
			}
			if err := ch.Publish("commands", c.name, false, false, amqp091.Publishing{Body: []byte(c.value)}); err != nil {
				t.Fatal(err)
			}
		}
	})
	for queue := range queues {
		if q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil || q.Messages > 0 {
			t.Errorf("%s: %d messages are left, %v", queue, q.Messages, err)
		}
	}
}
