//go:build linux

// This file tests the program with RabbitMQ as its broker.

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/rabbitmq"
)

// amqpTest is a part of TestAMQP or TestAMQPOutages.
type amqpTest struct {
	name string
	run  func(t *testing.T, node *rabbitmq.Node, gateway string)
}

// TestAMQP runs the program with a RabbitMQ that is there.
func TestAMQP(t *testing.T) {
	t.Parallel()
	node := sharedRabbitMQ(t)
	name := buildGateway(t)
	for _, tt := range []amqpTest{
		{"mistakes", testAMQPMistakes},
		{"commands", testAMQPCommands},
		{"hostile commands", testAMQPHostileCommands},
		{"head of line", testAMQPHeadOfLine},
		{"reload", testAMQPReload},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, node, name) })
	}
}

// TestAMQPOutages runs the program and the consumers of docs/consumers with a RabbitMQ that blocks and restarts.
func TestAMQPOutages(t *testing.T) {
	t.Parallel()
	node := rabbitmq.Start(t, "")
	name := buildGateway(t)
	for _, tt := range []amqpTest{
		{"blocked", testAMQPBlocked},
		{"restarts", testAMQPRestarts},
		{"late", testAMQPLate},
		{"consumers", testConsumersAMQPRestart},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, node, name) })
	}
}

// amqpChannel returns a channel of a connection that ends with the test.
func amqpChannel(t *testing.T, url string) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// eventQueue declares the exchange, as a consumer of the old gateway does, and a
// durable queue of the same name that all events go to.
func eventQueue(t *testing.T, node *rabbitmq.Node, exchange string) {
	t.Helper()
	ch := amqpChannel(t, node.URL())
	if err := ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(exchange, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, event := range sim.EventNames() {
		if err := ch.QueueBind(exchange, event, exchange, false, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// readQueue reads the messages of a queue, through restarts of RabbitMQ, until want
// different ones have come. It returns them in the order of their first coming, and how many
// came again. It calls progress with their number, if it is not nil.
func readQueue(ctx context.Context, t *testing.T, node *rabbitmq.Node, queue string, want int, progress func(n int)) (received []sim.Received, repeated int) {
	type key struct {
		shard   int
		session string
		seq     int64
	}
	seen := make(map[key]bool)
	read := func() error {
		conn, err := amqp091.Dial(node.URL())
		if err != nil {
			return err
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		if err := ch.Qos(1000, 0, false); err != nil {
			return err
		}
		messages, err := ch.Consume(queue, "", false, false, false, false, nil)
		if err != nil {
			return err
		}
		for len(seen) < want {
			select {
			case m, ok := <-messages:
				if !ok {
					return amqp091.ErrClosed
				}
				shard, _ := m.Headers["shard"].(int64)
				session, _ := m.Headers["session"].(string)
				seq, _ := m.Headers["seq"].(int64)
				if k := (key{int(shard), session, seq}); !seen[k] {
					seen[k] = true
					received = append(received, sim.Received{Shard: k.shard, Session: k.session, Seq: k.seq, Type: m.RoutingKey, Hash: sim.Hash(m.Body)})
				} else if !m.Redelivered { // what is, we had not acknowledged
					repeated++
				}
				if progress != nil {
					progress(len(seen))
				}
				if m.DeliveryTag%500 == 0 || len(seen) == want {
					if err := m.Ack(true); err != nil {
						return err
					}
				}
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	}
	for len(seen) < want && ctx.Err() == nil {
		if err := read(); err != nil {
			select {
			case <-time.After(50 * time.Millisecond): // it is being restarted
			case <-ctx.Done():
			}
		}
	}
	if ctx.Err() != nil {
		t.Errorf("%d of %d events have come", len(seen), want)
	}
	return received, repeated
}

// amqpEnv is the environment of a gateway with RabbitMQ whose consumer checks all.
func amqpEnv(node *rabbitmq.Node, exchange string, more ...string) []string {
	return append([]string{"BROKER_TYPE=amqp", "AMQP_URL=" + node.URL(), "BROKER_GROUP=" + exchange, "BROKER_ENCODING=json",
		"AMQP_HEADERS=true", "AMQP_PERSISTENT=true", "BROKER_MESSAGE_TIMEOUT=1h", "BROKER_BUFFER=8MiB"}, more...)
}

// All events arrive at RabbitMQ, in order, while it is killed and started again. Those
// whose confirm was cut off come twice.
func testAMQPRestarts(t *testing.T, node *rabbitmq.Node, gateway string) {
	rec, err := sim.Record(*brokerEvents, "zstd-stream")
	if err != nil {
		t.Fatal(err)
	}
	eventQueue(t, node, "restarts")
	node.Settle()
	srv := startSim(t, sim.Options{TLS: true, Shards: floodShards, IdentifyWindow: time.Millisecond, Recording: rec, Rate: -1, Seed: 1})
	p := startGateway(t, setup{name: gateway}, srv, amqpEnv(node, "restarts")...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	want, restarts := floodShards*(*brokerEvents+1), (*brokerRestarts+1)/2 // with READY; each takes seconds
	restarted := 0
	received, repeated := readQueue(ctx, t, node, "restarts", want, func(n int) {
		if restarted < restarts && n > want*(restarted+1)/(restarts+2) {
			restarted++
			node.Kill()
			node.Restart()
		}
	})
	if restarted < restarts {
		t.Errorf("it was restarted %d times", restarted)
	}
	r := srv.Ledger().Check(received)
	if r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 {
		t.Errorf("%v", r)
	}
	// What was not confirmed when a connection ended, which is what the window held.
	if repeated > restarts*4096 {
		t.Errorf("%d came twice, more than were on their way at %d cuts", repeated, restarts)
	}
	if s := srv.Ledger().Summary(); s.Connects != floodShards {
		t.Errorf("%v", s)
	}
	t.Logf("%v; %d came twice over %d restarts", r, repeated, restarts)
	p.terminate()
	p.exit(0)
}

// A broker that blocks, for it is short of memory: the gateway holds what it may,
// reads no further, and keeps its shards alive.
func testAMQPBlocked(t *testing.T, node *rabbitmq.Node, gateway string) {
	const shards, heartbeat = 4, stallHeartbeat
	eventQueue(t, node, "blocked")
	srv := startSim(t, sim.Options{TLS: true, Shards: shards, IdentifyWindow: time.Millisecond, Guilds: -1, Rate: 250, ReplayLimit: 1 << 20,
		HeartbeatInterval: heartbeat, HeartbeatGrace: 30 * time.Second, Seed: 1})
	p := startGateway(t, setup{name: gateway}, srv, amqpEnv(node, "blocked", "BROKER_BUFFER=1MiB")...)
	waitFor(t, "sessions", func() bool { return srv.Ledger().Summary().Sessions == shards })
	node.Block(true)
	waitFor(t, "the alarm to be told", func() bool { return strings.Contains(p.stderr.String(), "RabbitMQ blocked; buffering events") })
	waitBeats(t, srv, shards)
	want := silence(srv)
	node.Block(false)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	received, repeated := readQueue(ctx, t, node, "blocked", want, nil)
	r := srv.Ledger().Check(received)
	if r.Received != want || r.Lost+r.Repeated+r.OutOfOrder+r.Unknown+r.Abandoned+r.Pending > 0 || repeated > 0 {
		t.Errorf("%v; %d came twice", r, repeated)
	}
	if s := srv.Ledger().Summary(); s.Connects != shards {
		t.Errorf("a shard that waits is cut: %v", s)
	}
	peak := p.peakMemory()
	t.Logf("%v; %d heartbeats; peak memory %d MiB", r, len(srv.Ledger().Heartbeats()), peak>>20)
	if peak > memoryFactor*100<<20 {
		t.Errorf("%d MiB of memory with a buffer of 1 MiB", peak>>20)
	}
	p.terminate()
	p.exit(0)
}

// A broker that is away at the start is waited for.
func testAMQPLate(t *testing.T, node *rabbitmq.Node, gateway string) {
	eventQueue(t, node, "late")
	node.Stop()
	srv := startSim(t, sim.Options{TLS: true, Shards: 1, Guilds: -1}) // or more might come than is counted below
	p := startGateway(t, setup{name: gateway}, srv, amqpEnv(node, "late")...)
	waitFor(t, "a session", func() bool { return srv.Ledger().Summary().Sessions == 1 })
	srv.Burst(0, 1000)
	srv.Silence()
	waitFor(t, "the outage to be told", func() bool { return strings.Contains(p.stderr.String(), "unavailable; buffering events") })
	node.Restart()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	received, _ := readQueue(ctx, t, node, "late", int(srv.Ledger().Summary().Events), nil)
	if r := srv.Ledger().Check(received); r.Lost+r.OutOfOrder+r.Unknown+r.Repeated > 0 {
		t.Errorf("%v", r)
	}
	p.terminate()
	p.exit(0)
}

// What is wrong with the broker at the start is told in a line.
func testAMQPMistakes(t *testing.T, node *rabbitmq.Node, gateway string) {
	srv := startSim(t, sim.Options{TLS: true, Shards: 1})
	if err := amqpChannel(t, node.URL()).ExchangeDeclare("news", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  []string
		code int
		text []string
	}{
		{[]string{"AMQP_URL=amqp://guest:wrong-password@" + node.Addr}, 2, []string{`refuses the user "guest" or the password`}},
		{[]string{"AMQP_URL=" + node.URL() + "nowhere"}, 2, []string{`"nowhere"`, "add_vhost"}},
		{[]string{"AMQP_URL=" + node.URL(), "BROKER_GROUP=news"}, 2, []string{`exchange "news"`, "another type"}},
		{[]string{"AMQP_URL=amqp://127.0.0.1:1", "BROKER_REQUIRED=true"}, 1, []string{"broker.required is set"}},
	} {
		p := startGateway(t, setup{name: gateway}, srv, append(tt.env, "BROKER_TYPE=amqp")...)
		p.exit(tt.code)
		log := strings.ReplaceAll(p.stderr.String(), `\"`, `"`)
		for _, text := range tt.text {
			if !strings.Contains(log, text) {
				t.Errorf("%v: want %q in\n%s", tt.env, text, log)
			}
		}
		if strings.Contains(log, "wrong-password") || strings.Contains(log, "panic") {
			t.Errorf("%v:\n%s", tt.env, log)
		}
	}
}
