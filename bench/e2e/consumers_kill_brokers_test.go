//go:build linux

// This file has the brokers of the runs with kills, and the consumers' stores.

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/rueidis"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/redistest"
)

// claimAfter is CLAIM_AFTER of the consumers, in seconds.
const claimAfter = 1

// eventNames are those of all events, the gateway's own among them.
func eventNames() []string { return append(sim.EventNames(), "GATEWAY_GAP") }

// gapData is what the data of a GATEWAY_GAP says.
type gapData struct {
	Session string
	Seq     int64
}

// killRedis is a Redis with two consumers of one group, whose store it is.
type killRedis struct {
	t   *testing.T
	srv *redistest.Server
	c   rueidis.Client
	one bool
}

func newKillRedis(t *testing.T, one bool) killBroker {
	srv := redistest.Start(t)
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{srv.Addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &killRedis{t, srv, c, one}
}

func (b *killRedis) gateway() []string {
	env := []string{"BROKER_TYPE=redis", "REDIS_URL=" + b.srv.Addr, "BROKER_ENCODING=json", "REDIS_FIELDS=shard,session,seq", "REDIS_RETENTION=0s", "REDIS_MAX_LENGTH=2000000000"}
	if b.one {
		env = append(env, "REDIS_STREAM=events", "REDIS_FIELDS=event,shard,session,seq")
	}
	return env
}

func (b *killRedis) consumer(n int) []string {
	return []string{"REDIS_URL=" + b.srv.Addr, fmt.Sprintf("BOT_NAME=bot-%d", n), "CLAIM_AFTER=" + strconv.Itoa(claimAfter)}
}

func (b *killRedis) consumers() int { return 2 }

func (b *killRedis) arguments() []string {
	if b.one {
		return []string{"events"}
	}
	return eventNames()
}

func (b *killRedis) bound(string) bool { return true } // its group begins at 0

func (b *killRedis) disturb() {
	for _, stream := range b.arguments() {
		// There may be no group yet.
		b.c.Do(b.t.Context(), b.c.B().Xreadgroup().Group("bots", "gone").Count(20).Streams().Key(stream).Id(">").Build())
	}
}

// entries returns those of a stream.
func (b *killRedis) entries(stream string) []rueidis.XRangeEntry {
	all, err := b.c.Do(b.t.Context(), b.c.B().Xrange().Key(stream).Start("-").End("+").Build()).AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		b.t.Fatal(err)
	}
	return all
}

func eventOf(fields map[string]string, name string) doneEvent {
	e := doneEvent{event: name, session: fields["session"]}
	if fields["event"] != "" {
		e.event = fields["event"]
	}
	e.shard, _ = strconv.Atoi(fields["shard"])
	e.seq, _ = strconv.ParseInt(fields["seq"], 10, 64)
	return e
}

func (b *killRedis) arrived() (map[doneEvent]bool, map[string]int64) {
	events, ends := make(map[doneEvent]bool), make(map[string]int64)
	for _, stream := range b.arguments() {
		for _, entry := range b.entries(stream) {
			e := eventOf(entry.FieldValues, stream)
			if events[e] {
				b.t.Errorf("%+v is in Redis twice", e)
			}
			events[e] = true
			if e.event == "GATEWAY_GAP" {
				noteGap(b.t, ends, []byte(entry.FieldValues["data"]))
			}
		}
	}
	return events, ends
}

// noteGap notes where a session has ended. Another gap of it may say less after a crash.
func noteGap(t *testing.T, ends map[string]int64, data []byte) {
	var d gapData
	if err := json.Unmarshal(data, &d); err != nil {
		t.Errorf("the gap %s: %v", data, err)
	}
	if seq, ok := ends[d.Session]; !ok || d.Seq < seq {
		ends[d.Session] = d.Seq
	}
}

func (b *killRedis) done() (all []doneEvent) {
	for _, entry := range b.entries("bots:log") {
		all = append(all, eventOf(entry.FieldValues, ""))
	}
	return all
}

// killAMQP is a RabbitMQ with one consumer, whose store is a file, and a queue beside its own that
// has every event.
type killAMQP struct {
	t       *testing.T
	url     string
	journal string
	one     bool

	mu     sync.Mutex
	events map[doneEvent]bool
	ends   map[string]int64
}

func newKillAMQP(t *testing.T, one bool) killBroker {
	b := &killAMQP{t: t, url: sharedVhost(t), journal: filepath.Join(t.TempDir(), "journal"), one: one, events: make(map[doneEvent]bool), ends: make(map[string]int64)}
	ch := amqpChannel(t, b.url)
	if err := ch.ExchangeDeclare("gateway", "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("tap", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range eventNames() {
		if err := ch.QueueBind("tap", name, "gateway", false, nil); err != nil {
			t.Fatal(err)
		}
	}
	messages, err := ch.Consume("tap", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for m := range messages {
			e := doneEvent{event: m.RoutingKey}
			shard, _ := m.Headers["shard"].(int64)
			e.shard = int(shard)
			e.session, _ = m.Headers["session"].(string)
			e.seq, _ = m.Headers["seq"].(int64)
			b.mu.Lock()
			b.events[e] = true
			if e.event == "GATEWAY_GAP" {
				noteGap(t, b.ends, m.Body)
			}
			b.mu.Unlock()
		}
	}()
	return b
}

func (b *killAMQP) gateway() []string {
	return []string{"BROKER_TYPE=amqp", "AMQP_URL=" + b.url, "BROKER_ENCODING=json", "BROKER_MESSAGE_TIMEOUT=24h"}
}

func (b *killAMQP) consumer(int) []string {
	env := []string{"AMQP_URL=" + b.url, "JOURNAL=" + b.journal}
	if b.one {
		env = append(env, "QUEUE=bots")
	}
	return env
}

func (b *killAMQP) bound(log string) bool { return strings.Contains(log, "bound") }
func (b *killAMQP) consumers() int        { return 1 }
func (b *killAMQP) arguments() []string   { return eventNames() }
func (b *killAMQP) disturb()              {}

func (b *killAMQP) arrived() (map[doneEvent]bool, map[string]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	events, ends := make(map[doneEvent]bool), make(map[string]int64)
	for e := range b.events {
		events[e] = true
	}
	for s, seq := range b.ends {
		ends[s] = seq
	}
	return events, ends
}

func (b *killAMQP) done() (all []doneEvent) {
	text, err := os.ReadFile(b.journal)
	if err != nil {
		b.t.Fatal(err)
	}
	for lines := bufio.NewReader(bytes.NewReader(text)); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return all // one that is being written does not count
		}
		var r struct{ Done [][]any }
		if err := json.Unmarshal(line, &r); err != nil {
			b.t.Fatalf("the journal has %.100q: %v", line, err)
		}
		for _, d := range r.Done {
			all = append(all, doneEvent{d[0].(string), int(d[1].(float64)), d[2].(string), int64(d[3].(float64))})
		}
	}
}
