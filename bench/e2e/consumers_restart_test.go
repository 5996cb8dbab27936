//go:build linux

// This file tests what the consumers of docs/consumers do when their broker restarts, when another of their group
// has died, and with what they do not know.

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
)

// Redis restarts, and has lost the groups: the consumer goes on. What a member of its group
// has left, it takes over; what cannot be read, it skips.
func TestConsumersRedisRestart(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for _, l := range consumerLanguages(t) {
		t.Run(l.name, func(t *testing.T) {
			dir := l.prepare(t)
			redis.CLI("FLUSHALL")
			add := func(n int) {
				redis.CLI("XADD", "A", "*", "data", fmt.Sprintf(`{"n":%d}`, n), "shard", "0", "session", "s", "seq", fmt.Sprint(n))
			}
			redis.CLI("XGROUP", "CREATE", "A", "bots", "0", "MKSTREAM")
			add(1)
			redis.CLI("XREADGROUP", "GROUP", "bots", "gone", "COUNT", "1", "STREAMS", "A", ">")
			redis.CLI("XADD", "A", "*", "data", `{"n":`, "shard", "0", "session", "s", "seq", "2")
			redis.CLI("XADD", "A", "*", "other", "1")
			add(3)
			c := startConsumer(t, dir, append(l.redis[:len(l.redis):len(l.redis)], "A", "B"), "REDIS_URL=redis://"+redis.Addr, "CLAIM_AFTER=0.5", "BOT_NAME=bot")
			printed := func(n int) int { return printed(c, fmt.Sprintf(`{"n":%d}`, n)) }
			waitFor(t, "what another has left, and what is new", func() bool { return printed(1) == 1 && printed(3) == 1 })
			waitFor(t, "acknowledgements", func() bool { return strings.HasPrefix(redis.CLI("XPENDING", "A", "bots"), "0\n") })
			redis.Kill()
			redis.Restart() // it keeps nothing
			add(4)
			waitFor(t, "an event after the restart", func() bool { return printed(4) == 1 })
			add(4) // again, under another entry
			add(5)
			waitFor(t, "an event behind a repeat", func() bool { return printed(5) == 1 })
			if n := printed(4); n != 1 {
				t.Errorf("a repeat was processed %d times", n)
			}
			if t.Failed() {
				t.Log(c.out.String())
			}
		})
	}
}

// TestConsumersAMQP runs the consumers with a RabbitMQ that is there; TestAMQPOutages restarts it. Each test has queues
// of its own.
func TestConsumersAMQP(t *testing.T) {
	t.Parallel()
	url := sharedVhost(t)
	t.Run("queue deleted", func(t *testing.T) { testConsumersAMQPQueueDeleted(t, url) })
	t.Run("former owner", func(t *testing.T) { testConsumersAMQPFormerOwner(t, url) })
}

// RabbitMQ restarts: the consumers go on, and process nothing again of what is redelivered. It is a part of TestAMQPOutages.
func testConsumersAMQPRestart(t *testing.T, node *rabbitmq.Node, _ string) {
	languages := consumerLanguages(t)
	consumers := make([]*consumer, len(languages))
	for i, l := range languages {
		consumers[i] = startConsumer(t, l.prepare(t), append(l.amqp[:len(l.amqp):len(l.amqp)], "A"), "AMQP_URL="+node.URL(), "QUEUE=restart-"+l.name)
	}
	event := func(n int) string { return fmt.Sprintf(`{"n":%d}`, n) }
	publish := func(n int, value string) {
		t.Helper()
		err := amqpChannel(t, node.URL()).PublishWithContext(context.Background(), "gateway", "A", false, false, amqp091.Publishing{
			DeliveryMode: 2, Body: []byte(value), Headers: amqp091.Table{"shard": int64(0), "session": "s", "seq": int64(n)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	// each waits until every consumer has printed the event, once.
	each := func(n int) {
		t.Helper()
		for i, c := range consumers {
			waitFor(t, fmt.Sprintf("event %d in %s", n, languages[i].name), func() bool { return printed(c, event(n)) == 1 })
		}
	}
	for _, c := range consumers {
		waitFor(t, "the queue", func() bool { return strings.Contains(c.out.String(), "bound") })
	}
	publish(1, event(1))
	publish(2, `{"n":`)
	publish(3, event(3))
	each(1)
	each(3)
	node.Settle()
	node.Kill()
	node.Restart()
	publish(3, event(3))
	publish(2, event(2)) // it was skipped: that is a repeat
	publish(4, event(4))
	each(4)
	for i, c := range consumers {
		if printed(c, event(3)) != 1 || printed(c, event(2)) != 0 {
			t.Errorf("%s has processed repeats:\n%s", languages[i].name, c.out.String())
		}
		c.kill()
	}
}

// A member of a fleet that has lost a shard, and does not know it yet, publishes events of it: the consumers drop them,
// after their own restart, too. What the successor repeats is processed once.
func testConsumersAMQPFormerOwner(t *testing.T, url string) {
	ch := amqpChannel(t, url)
	languages := consumerLanguages(t)
	journals := t.TempDir()
	start := func(l consumerLanguage) *consumer {
		c := startConsumer(t, l.prepare(t), append(l.amqp[:len(l.amqp):len(l.amqp)], "A", "B"), "AMQP_URL="+url,
			"QUEUE=former-"+l.name, "JOURNAL="+filepath.Join(journals, l.name))
		waitFor(t, "the queue", func() bool { return strings.Contains(c.out.String(), "bound") })
		return c
	}
	consumers := make([]*consumer, len(languages))
	for i, l := range languages {
		consumers[i] = start(l)
	}
	event := func(epoch int64, session string, seq int) string {
		return fmt.Sprintf(`{"epoch":%d,"event":"%s/%d"}`, epoch, session, seq)
	}
	publish := func(key string, epoch int64, session string, seq int) {
		t.Helper()
		err := ch.PublishWithContext(context.Background(), "gateway", key, false, false, amqp091.Publishing{Body: []byte(event(epoch, session, seq)),
			Headers: amqp091.Table{"shard": int64(3), "session": session, "seq": int64(seq), "epoch": epoch, "owner": "someone"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	// each waits until every consumer has printed the event, once.
	each := func(text string) {
		t.Helper()
		for i, c := range consumers {
			waitFor(t, text+" in "+languages[i].name, func() bool { return printed(c, text) == 1 })
		}
	}
	const former, owner = 1_764_000_000_000, 1_764_000_007_000
	publish("A", former, "s", 1)
	publish("A", owner, "s", 1) // the successor resumes from before it
	publish("B", owner, "s", 2)
	publish("A", former, "s", 3) // late
	publish("A", former, "t", 1) // late, of a session that the successor does not know
	publish("A", owner, "s", 3)
	each(event(owner, "s", 3))
	for i, c := range consumers {
		c.kill()
		consumers[i] = start(languages[i])
		for text, want := range map[string]int{event(former, "s", 1): 1, event(owner, "s", 1): 0, event(owner, "s", 2): 1, event(former, "s", 3): 0, event(former, "t", 1): 0} {
			if n := printed(c, text); n != want {
				t.Errorf("%s has processed %s %d times, want %d", languages[i].name, text, n, want)
			}
		}
	}
	publish("B", former, "t", 2)
	publish("B", owner, "s", 4)
	each(event(owner, "s", 4))
	for i, c := range consumers {
		if printed(c, event(former, "t", 2)) > 0 {
			t.Errorf("%s has processed an event of a former owner after its restart", languages[i].name)
		}
		c.kill()
	}
}

// A queue is deleted: the consumer makes it again, and goes on. RabbitMQ says so to the consumer alone, and
// leaves the connection as it is.
func testConsumersAMQPQueueDeleted(t *testing.T, url string) {
	ch := amqpChannel(t, url)
	for i, l := range consumerLanguages(t) {
		t.Run(l.name, func(t *testing.T) {
			// What the consumer of another language had not acknowledged is redelivered to this one.
			data := fmt.Sprintf(`{"n":%d}`, i)
			c := startConsumer(t, l.prepare(t), append(l.amqp[:len(l.amqp):len(l.amqp)], "A", "B"), "AMQP_URL="+url)
			bound := func(n int) func() bool { return func() bool { return strings.Count(c.out.String(), "bound") == n } }
			waitFor(t, "the queues", bound(1))
			if _, err := ch.QueueDelete("gateway:bots:A", false, false, false); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the queues again", bound(2))
			for _, key := range []string{"A", "B"} {
				if err := ch.PublishWithContext(context.Background(), "gateway", key, false, false, amqp091.Publishing{Body: []byte(data)}); err != nil {
					t.Fatal(err)
				}
			}
			waitFor(t, "events of both", func() bool { return printed(c, data) == 2 })
			c.kill()
		})
	}
}

// printed returns how often a consumer has printed what is in the data of an event.
func printed(c *consumer, data string) int {
	return strings.Count(strings.ReplaceAll(c.out.String(), " ", ""), data)
}
