//go:build linux

// This file throws commands at the program that are none, or that Discord would close
// the connection over, in every form and from every source.

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/msgpack"
	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
	"sluice/wire"
)

const (
	hostileShards = 4
	goodShard     = 3 // gets good commands alone
	goodCommands  = 60
)

// hostile generates bad commands, the same for a seed.
type hostile struct{ *rand.Rand }

func newHostile(seed uint64) hostile { return hostile{rand.New(rand.NewPCG(seed, 0))} }

func (h hostile) pick(from ...string) string { return from[h.IntN(len(from))] }

// guild returns the id of a guild of one of the shards but goodShard, or another id.
func (h hostile) guild() string {
	switch h.IntN(8) {
	case 0:
		return h.pick("0", "-1", "x", "18446744073709551616", "٧", "1e3", "", "007")
	case 1:
		return h.pick("9007199254740993", "18446744073709551615")
	}
	return strconv.Itoa((h.IntN(1000)*hostileShards + h.IntN(goodShard)) << 22)
}

// str returns the inside of a JSON string.
func (h hostile) str() string {
	return h.pick("", "a", `\ud83d`, `\udc00x`, `\ud83d\ud83d`, `\u0000`, "\xff", "\xed\xa0\xbd", "\xc0\x80", `\ud83d\ude00`, "é", `\"`, `\\ud83d`,
		"\u2028", `\x`, "\x01", strings.Repeat("x", 5000))
}

// number returns what stands where JSON has a number.
func (h hostile) number() string {
	return h.pick("0", "1", "-1", "1e999", "-1e999", "1e400", "1.5", "18446744073709551616", "-9223372036854775809", strings.Repeat("9", 400),
		"NaN", "01", "+1", "0x1", "1e", "null", `"1"`, "[]", "true", "-0", "1e-999")
}

// value returns a JSON value.
func (h hostile) value() string {
	switch h.IntN(6) {
	case 0:
		return h.number()
	case 1:
		depth := h.IntN(1000)
		return strings.Repeat("[", depth) + strings.Repeat("]", depth)
	case 2:
		depth := h.IntN(300)
		return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	case 3:
		return `{"k":1,"` + h.pick("k", `\u006b`, "l") + `":2}`
	default:
		return `"` + h.str() + `"`
	}
}

// packet returns the JSON of a packet.
func (h hostile) packet() string {
	op := h.pick("3", "4", "8", "8", "31", "43", "0", "1", "2", "6", "-3", "3.0", `"3"`, "1e999", "99")
	var d string
	switch op {
	case "3":
		d = fmt.Sprintf(`{"since":%s,"activities":[{"name":"%s","type":%s}],"status":"%s","afk":false}`,
			h.number(), h.str(), h.pick("0", "1e999", h.number()), h.pick("online", "idle", "away", h.str()))
	case "4":
		d = fmt.Sprintf(`{"guild_id":"%s","channel_id":%s,"self_mute":%s}`, h.guild(), h.pick("null", `"5"`, "5", h.value()), h.pick("true", "1"))
	case "31":
		d = fmt.Sprintf(`{"guild_ids":["%s","%s"]}`, h.guild(), h.guild())
	case "43":
		d = fmt.Sprintf(`{"guild_id":"%s","fields":["%s"]}`, h.guild(), h.str())
	default:
		d = fmt.Sprintf(`{"guild_id":"%s","query":"%s","limit":%s,"nonce":"%s"}`, h.guild(), h.str(), h.pick("0", "1", h.number()), h.str())
	}
	switch h.IntN(10) {
	case 0:
		d = strings.TrimSuffix(d, "}") + `,"` + h.str() + `":` + h.value() + "}"
	case 1:
		d = h.value()
	case 2:
		d = strings.TrimSuffix(d, "}") + `,"guild_id":"` + h.guild() + `"}`
	}
	p := fmt.Sprintf(`{"op":%s,"d":%s}`, op, d)
	if h.IntN(10) == 0 {
		p = fmt.Sprintf(`{"op":%s,"%s":%s,"d":%s}`, op, h.pick("op", "d", "x", h.str()), h.value(), d)
	}
	return p
}

// next returns a command as a broker has it: the name of the stream or queue, and the value.
// framed says that value must be a whole MessagePack value or JSON in one line.
func (h hostile) next(framed bool) (name string, value []byte) {
	name = h.pick("SEND", "SEND", "0", "1", "2", "gateway_send")
	text := h.packet()
	switch name {
	case "SEND":
		route := h.pick(`"guild_id":"`+h.guild()+`"`, `"shard":`+strconv.Itoa(h.IntN(goodShard)), `"shard":`+h.number(), `"guild_id":`+h.value())
		text = "{" + route + h.pick(",", ",", ","+route+",") + `"packet":` + text + "}"
	case "gateway_send":
		text = fmt.Sprintf(`{"shardId":%s,"payload":%s}`, h.pick("0", "1", "2", "99", h.number()), text)
	}
	if h.IntN(200) == 0 {
		text = strings.TrimSuffix(text, "}") + `,"pad":"` + strings.Repeat("x", h.IntN(1<<20)) + `"}`
	}
	value = []byte(strings.ReplaceAll(text, "\n", ""))
	if packed, err := msgpack.AppendFromJSON(nil, value); err == nil && h.IntN(2) == 0 {
		value = packed
	} else if h.IntN(3) == 0 {
		value = append(msgpack.AppendRawHeader(nil, len(value)), value...)
	} else if framed {
		return name, value
	}
	if !framed {
		switch h.IntN(8) {
		case 0:
			value = value[:h.IntN(len(value))]
		case 1:
			value[h.IntN(len(value))] = byte(h.Uint32())
		case 2:
			value = []byte(h.pick("", "\xc1", "\xdf\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff\x01", "\xdb\x7f\xff\xff\xffx", "\xc7\xff", "[1]", "null", "\x00"))
		case 3:
			value = bytes.Repeat([]byte(h.pick("\x91", "[", `{"a":`, "\x81\xa1a")), h.IntN(20_000))
		}
	}
	return name, value
}

// good returns good command i, which must arrive.
func good(i int) (guild, packet string) {
	guild = strconv.Itoa((i*hostileShards + goodShard) << 22)
	return guild, fmt.Sprintf(`{"op":8,"d":{"guild_id":"%s","query":"good","limit":1,"nonce":"%d"}}`, guild, i)
}

// checkHostile waits for the good commands, and checks what Discord was sent and what it
// cost.
func checkHostile(t *testing.T, srv *sim.Server, p *program, before int) {
	t.Helper()
	arrived := func() (n int) {
		for _, c := range srv.Ledger().Commands() {
			if bytes.Contains(c.Raw, []byte(`"query":"good"`)) {
				n++
			}
		}
		return n
	}
	waitFor(t, "the good commands", func() bool { return arrived() >= goodCommands })
	next := 0
	sent := 0
	for _, c := range srv.Ledger().Commands() {
		if c.Op == wire.OpIdentify || c.Op == wire.OpResume || c.Op == wire.OpHeartbeat {
			continue
		}
		sent++
		if bytes.Contains(c.Raw, []byte(`"query":"good"`)) {
			if _, want := good(next); string(c.Raw) != want {
				t.Errorf("shard %d was sent %s, want %s", c.Shard, c.Raw, want)
			}
			next++
		}
		if err := strict(c.Raw, c.Shard); err != nil {
			t.Errorf("shard %d was sent %.200q: %v", c.Shard, c.Raw, err)
		}
	}
	if n := srv.Ledger().Summary(); n.Connects != hostileShards || n.Identifies != hostileShards {
		t.Errorf("connections were lost: %v", n)
	}
	peak := p.peakMemory()
	t.Logf("%d commands were sent, %d refused; peak memory %d MiB, %d MiB before", sent,
		strings.Count(p.stderr.String(), "command refused"), peak>>20, before>>20)
	if peak-before > memoryFactor*64<<20 {
		t.Errorf("%d MiB of memory, %d MiB before", peak>>20, before>>20)
	}
	p.terminate()
	p.exit(0)
}

// strict says what is wrong with a payload by encoding/json's reading.
func strict(raw []byte, shard int) error {
	if len(raw) > 4096 || !utf8.Valid(raw) {
		return fmt.Errorf("%d bytes, or not UTF-8", len(raw))
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	again, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if bytes.ContainsRune(again, utf8.RuneError) && !bytes.ContainsRune(raw, utf8.RuneError) {
		return fmt.Errorf("half of a surrogate pair")
	}
	var keys func(d *json.Decoder) error
	keys = func(d *json.Decoder) error {
		token, err := d.Token()
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for token == json.Delim('{') && d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if seen[key.(string)] {
				return fmt.Errorf("the key %q stands twice", key)
			}
			seen[key.(string)] = true
			if err := keys(d); err != nil {
				return err
			}
		}
		for token == json.Delim('[') && d.More() {
			if err := keys(d); err != nil {
				return err
			}
		}
		if _, ok := token.(json.Delim); ok {
			_, err = d.Token()
		}
		return err
	}
	if err := keys(json.NewDecoder(bytes.NewReader(raw))); err != nil {
		return err
	}
	d, ok := v["d"].(map[string]any)
	if !ok {
		return fmt.Errorf("d is %T", v["d"])
	}
	guilds := []any{d["guild_id"]}
	if list, ok := d["guild_ids"].([]any); ok {
		guilds = list
	}
	if v["op"] == 3.0 {
		return nil
	}
	served := func(id any) bool {
		n, err := strconv.ParseUint(fmt.Sprint(id), 10, 64)
		return err == nil && int(n>>22%hostileShards) == shard
	}
	if !slices.ContainsFunc(guilds, served) {
		return fmt.Errorf("it is about guilds of other shards")
	}
	return nil
}

// startHostile starts the program, waits until it is ready and returns its memory then.
func startHostile(t *testing.T, gateway string, env ...string) (*sim.Server, *program, int) {
	srv := startSim(t, sim.Options{TLS: true, Shards: hostileShards, IdentifyWindow: time.Millisecond})
	p := startGateway(t, setup{name: gateway}, srv, append(env, "DISCORD_EVENTS=READY")...)
	waitFor(t, "readiness", func() bool { return srv.Ledger().Summary().Identifies == hostileShards })
	return srv, p, p.peakMemory()
}

const hostileSeed = 11

func TestHostileCommandsStdin(t *testing.T) {
	t.Parallel()
	srv, p, before := startHostile(t, buildGateway(t))
	const bad = badCommands
	h := newHostile(hostileSeed)
	for i := range bad {
		if i%(bad/goodCommands) == 0 && i/(bad/goodCommands) < goodCommands {
			guild, packet := good(i / (bad / goodCommands))
			fmt.Fprintf(p.stdin, `{"guild_id":"%s","packet":%s}`+"\n", guild, packet)
		}
		name, value := h.next(true)
		var item []byte
		if value[0] == '{' {
			item = fmt.Appendf(nil, `{"event":"%s","data":%s}`, name, value)
		} else {
			item = append([]byte("\x82\xa5event"), byte(0xa0+len(name)))
			item = append(append(append(item, name...), "\xa4data"...), value...)
		}
		if _, err := p.stdin.Write(append(item, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	checkHostile(t, srv, p, before)
}

func TestHostileCommandsRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	bot, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redis.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bot.Close()
	srv, p, before := startHostile(t, buildGateway(t), "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "BROKER_ENCODING=discordjs")
	add := func(name, value string) {
		if err := bot.Do(context.Background(), bot.B().Xadd().Key(name).Id("*").FieldValue().FieldValue("data", value).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	const bad = badCommands
	h := newHostile(hostileSeed)
	for i := range bad {
		if i%(bad/goodCommands) == 0 && i/(bad/goodCommands) < goodCommands {
			guild, packet := good(i / (bad / goodCommands))
			add("SEND", fmt.Sprintf(`{"guild_id":"%s","packet":%s}`, guild, packet))
		}
		name, value := h.next(false)
		add(name, string(value))
	}
	checkHostile(t, srv, p, before)
}

func testAMQPHostileCommands(t *testing.T, node *rabbitmq.Node, gateway string) {
	srv, p, before := startHostile(t, gateway, "BROKER_TYPE=amqp", "AMQP_URL="+node.URL(), "BROKER_GROUP=hostile")
	ch := amqpChannel(t, node.URL())
	waitFor(t, "the queues", func() bool {
		q, err := amqpChannel(t, node.URL()).QueueDeclarePassive("hostile:3", true, false, false, false, nil)
		return err == nil && q.Consumers == 1
	})
	publish := func(name string, value []byte) {
		if err := ch.Publish("hostile", name, false, false, amqp091.Publishing{Body: value}); err != nil {
			t.Fatal(err)
		}
	}
	const bad = badCommands
	h := newHostile(hostileSeed)
	for i := range bad {
		if i%(bad/goodCommands) == 0 && i/(bad/goodCommands) < goodCommands {
			guild, packet := good(i / (bad / goodCommands))
			publish("SEND", fmt.Appendf(nil, `{"guild_id":"%s","packet":%s}`, guild, packet))
		}
		publish(h.next(false))
	}
	checkHostile(t, srv, p, before)
}

// headOfLine publishes 300 equal requests for all members, of which Discord answers one in
// 30 s, 1,200 others for another shard, which sends 120 in a minute, and then a
// presence for a third: it does not wait.
func headOfLine(t *testing.T, srv *sim.Server, publish func(name, value string)) {
	t.Helper()
	for range 300 {
		publish("SEND", `{"guild_id":"16777216","packet":{"op":8,"d":{"guild_id":"16777216","query":"","limit":0}}}`)
	}
	for i := range 1200 {
		guild := (i*hostileShards + 1) << 22
		publish("SEND", fmt.Sprintf(`{"guild_id":"%d","packet":{"op":8,"d":{"guild_id":"%d","query":"a","limit":1}}}`, guild, guild))
	}
	publish("SEND", `{"shard":2,"packet":{"op":3,"d":{"since":null,"activities":[],"status":"idle","afk":false}}}`)
	count := func(shard int, op wire.Opcode) (n int) {
		for _, c := range srv.Ledger().Commands() {
			if c.Shard == shard && c.Op == op {
				n++
			}
		}
		return n
	}
	waitFor(t, "the presence", func() bool { return count(2, wire.OpPresenceUpdate) == 1 })
	waitFor(t, "the request", func() bool { return count(0, wire.OpRequestGuildMembers) >= 1 })
	if n := count(0, wire.OpRequestGuildMembers); n > 2 {
		t.Errorf("%d equal requests were sent, want at most 2", n)
	}
}

func TestHeadOfLineRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	bot, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redis.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bot.Close()
	srv, p, _ := startHostile(t, buildGateway(t), "BROKER_TYPE=redis", "REDIS_URL="+redis.Addr, "DISCORD_INTENTS=GUILDS,GUILD_MEMBERS")
	headOfLine(t, srv, func(name, value string) {
		if err := bot.Do(context.Background(), bot.B().Xadd().Key(name).Id("*").FieldValue().FieldValue("data", value).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	})
	p.terminate()
	p.exit(0)
	// What was not sent is pending.
	if left := redis.CLI("XPENDING", "SEND", "gateway"); strings.HasPrefix(left, "0") {
		t.Errorf("pending: %s", left)
	}
}

func testAMQPHeadOfLine(t *testing.T, node *rabbitmq.Node, gateway string) {
	srv, p, _ := startHostile(t, gateway, "BROKER_TYPE=amqp", "AMQP_URL="+node.URL(), "BROKER_GROUP=line", "DISCORD_INTENTS=GUILDS,GUILD_MEMBERS")
	ch := amqpChannel(t, node.URL())
	waitFor(t, "the queues", func() bool {
		q, err := amqpChannel(t, node.URL()).QueueDeclarePassive("line:3", true, false, false, false, nil)
		return err == nil && q.Consumers == 1
	})
	headOfLine(t, srv, func(name, value string) {
		if err := ch.Publish("line", name, false, false, amqp091.Publishing{Body: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	})
	p.terminate()
	p.exit(0)
	waitFor(t, "what was not sent, with the broker", func() bool {
		q, err := amqpChannel(t, node.URL()).QueueDeclarePassive("line:1", true, false, false, false, nil)
		return err == nil && q.Messages > 900
	})
}
