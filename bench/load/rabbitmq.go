// This file is the broker of the scenarios with RabbitMQ, what arrives there, and what
// amqp091-go does by itself.

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/bench/sim"
)

// rabbitKind is RabbitMQ.
var rabbitKind = &brokerKind{missing: rabbitMissing, start: startRabbit, baselines: rabbitBaselines, events: 400_000, paced: true}

const (
	exchange = "gateway" // where the gateway publishes to
	// inFlight is how many messages the gateway has on their way to be confirmed, and
	// the baseline has as many.
	inFlight = 4096
	// expiration is that of the gateway's messages, by default, in milliseconds.
	expiration = "120000"
)

// rabbitServer is a node of RabbitMQ, with one durable queue that takes all events. It
// keeps the last maxEntries: in a flood nobody reads them.
type rabbitServer struct {
	url, addr string
	process   int
	end       func()
}

func (b *rabbitServer) address() string { return b.addr }

func (b *rabbitServer) pid() int { return b.process }

func (b *rabbitServer) stop() { b.end() }

// env has each message name its event.
func (b *rabbitServer) env(bool) []string {
	return []string{"BROKER_TYPE=amqp", "AMQP_URL=" + b.url, "AMQP_HEADERS=true"}
}

// open makes the exchange and the queue.
func (b *rabbitServer) open() error {
	conn, ch, err := dialRabbit(b.url)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := ch.QueueDeclare(allEvents, true, false, false, false, amqp091.Table{"x-max-length": maxEntries}); err != nil {
		return err
	}
	for _, name := range sim.EventNames() {
		if err := ch.QueueBind(allEvents, name, exchange, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// dialRabbit returns a channel, with the exchange.
func dialRabbit(url string) (*amqp091.Connection, *amqp091.Channel, error) {
	conn, err := amqp091.Dial(url)
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, ch, nil
}

func (b *rabbitServer) consume(ctx context.Context, p *process, count bool) error {
	conn, ch, err := dialRabbit(b.url)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if count {
		go p.countQueue(ctx, ch)
		return nil
	}
	messages, err := ch.Consume(allEvents, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		for m := range messages { // until conn is closed
			p.message(&m)
		}
	}()
	return nil
}

// message notes the event that a message is of.
func (p *process) message(m *amqp091.Delivery) {
	now := time.Now()
	shard, _ := m.Headers["shard"].(int64)
	seq, _ := m.Headers["seq"].(int64)
	p.mu.Lock()
	p.event(int(shard), seq, now)
	p.mu.Unlock()
}

// countQueue takes the oldest message of the queue now and then. As there is one shard,
// its number and the count of those behind it say how many have come.
func (p *process) countQueue(ctx context.Context, ch *amqp091.Channel) {
	for ctx.Err() == nil {
		m, ok, err := ch.Get(allEvents, true)
		if err == nil && ok {
			seq, _ := m.Headers["seq"].(int64)
			p.mu.Lock()
			p.shards[0] = &shardSeen{last: seq + int64(m.MessageCount)}
			p.mu.Unlock()
		}
		time.Sleep(pollPeriod)
	}
}

// rabbitBaselines is a loop that publishes and waits for confirms.
func rabbitBaselines(simulator []string) []Subject {
	return []Subject{{Name: "amqp091-go, " + strconv.Itoa(inFlight) + " in flight", Baseline: true, Compression: none,
		Command: []string{simulator[0], "amqp-loop", "ADDR", "EVENTS", "RATE"}}}
}

// AMQPLoop publishes so many messages like the gateway's, rate a second or, if it is 0,
// as many as RabbitMQ at the address takes, with nothing but amqp091-go. Each is
// confirmed by the broker, and up to inFlight wait for that.
func AMQPLoop(ctx context.Context, address string, events int, rate float64) error {
	conn, ch, err := dialRabbit("amqp://guest:guest@" + address + "/")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirms := make(chan *amqp091.DeferredConfirmation, inFlight)
	failed := make(chan error, 1)
	go func() {
		defer close(confirms)
		failed <- publishLoop(ctx, ch, events, rate, confirms)
	}()
	for c := range confirms {
		if ok, err := c.WaitContext(ctx); err != nil {
			return err
		} else if !ok {
			return errors.New("the broker refused a message")
		}
	}
	return <-failed
}

// loopPace is how often the loop publishes what the rate has made due.
const loopPace = 4 * time.Millisecond

// publishLoop publishes for AMQPLoop.
func publishLoop(ctx context.Context, ch *amqp091.Channel, events int, rate float64, confirms chan<- *amqp091.DeferredConfirmation) error {
	headers := amqp091.Table{"shard": int64(0), "session": "0123456789abcdef0123456789abcdef"}
	message := amqp091.Publishing{Headers: headers, Expiration: expiration, Body: bytes.Repeat([]byte("x"), baselineValue)}
	began := time.Now()
	for i := range events {
		for rate > 0 && float64(i) >= rate*time.Since(began).Seconds() {
			time.Sleep(loopPace)
		}
		headers["seq"] = int64(i + 1)
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, "MESSAGE_CREATE", false, false, message)
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		select {
		case confirms <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
