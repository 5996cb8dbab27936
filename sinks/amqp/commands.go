// This file reads the bots' commands, answers them, and publishes those that are for
// another process.

package amqp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/msgpack"
)

// consumerTimeout is how long, in milliseconds, RabbitMQ lets a command be unacknowledged:
// one that waits for its shard may take longer than the 30 minutes after which it
// closes a channel by default. Before 3.11.15 it does not look at it.
const consumerTimeout = int64(24 * time.Hour / time.Millisecond)

// command is a message from a bot.
type command struct {
	key      string // SEND, or the number of a shard
	body     []byte // as the bot sent it; the handler's own
	delivery amqp091.Delivery
	answers  *answers
	gone     <-chan struct{} // closed with the connection
}

// done has the broker told that the command is dealt with, and the bot, if it waits
// for a reply, that the command is on its way to Discord, or why it is not. It must be
// called once, by any goroutine, and does not wait. If the connection that brought the
// command is gone by then, the broker hands it out again.
func (c *command) done(err error) {
	c.answers.mu.Lock()
	c.answers.waiting = append(c.answers.waiting, answer{c.delivery, err})
	c.answers.mu.Unlock()
	signal(c.answers.wake)
}

// answers are what is to be said about commands of one connection: those who are done
// with a command, the engine's readers among them, must not wait for the broker.
type answers struct {
	mu      sync.Mutex
	waiting []answer
	wake    chan struct{} // holds one
}

type answer struct {
	delivery amqp091.Delivery
	err      error
}

// send sends answers until ctx ends, and then what is left.
func (a *answers) send(ctx context.Context, ch *amqp091.Channel) {
	var sending []answer
	for {
		ended := ctx.Err() != nil
		a.mu.Lock()
		sending, a.waiting = a.waiting, sending[:0]
		a.mu.Unlock()
		for _, an := range sending {
			// What can't be sent is of a connection that is gone, whose end is seen elsewhere.
			an.delivery.Ack(false)
			if to := an.delivery.ReplyTo; to != "" && an.delivery.CorrelationId != "" {
				ch.Publish("", to, false, false, amqp091.Publishing{CorrelationId: an.delivery.CorrelationId, Body: appendReply(nil, an.err)})
			}
		}
		clear(sending)
		if len(sending) > 0 {
			continue
		}
		if ended {
			return
		}
		select {
		case <-a.wake:
		case <-ctx.Done():
		}
	}
}

// appendReply appends what a bot is told about its command, in MessagePack: {"ok":true},
// or {"ok":false,"error":"…"}.
func appendReply(dst []byte, err error) []byte {
	if err == nil {
		return append(dst, "\x81\xa2ok\xc3"...)
	}
	return msgpack.AppendString(append(dst, "\x82\xa2ok\xc2\xa5error"...), []byte(err.Error()))
}

// commands calls handle, on one goroutine for each queue, for each message in the
// queues <exchange>:SEND and <exchange>:<shard>, until ctx ends or the sink is
// closed, and through whatever happens to the broker. Within a queue the order is
// kept. The queues are durable, and bound to the exchange with SEND and the shard's
// number.
//
// handle must see to it that command.done is called, then or later; until it is,
// the command counts against Options.Prefetch. Commands have a connection of their
// own: they are read while the broker takes no events.
func (s *Sink) commands(ctx context.Context, shards []int, handle func(*command)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	keys := []string{"SEND"}
	for _, id := range shards {
		keys = append(keys, strconv.Itoa(id))
	}
	outage := sinks.Outage{Log: s.o.Log, Broker: "amqp", Commands: true}
	b := &brokers{o: &s.o, addresses: s.addresses}
	for ctx.Err() == nil {
		err := s.consume(ctx, b, keys, handle, outage.Over)
		if ctx.Err() == nil {
			pause(ctx, outage.Failed(err, remedyFor(err)))
		}
	}
}

// consume reads commands over one connection until it fails or ctx ends.
func (s *Sink) consume(ctx context.Context, b *brokers, keys []string, handle func(*command), connected func(...any)) error {
	var queues []<-chan amqp091.Delivery
	var ch *amqp091.Channel
	conn, t, err := b.connect(ctx, func(a *address, conn *amqp091.Connection, _ *tap) (err error) {
		queues = queues[:0]
		if ch, err = declareExchange(b.o, a, conn); err != nil {
			return err
		}
		if err := ch.Qos(s.o.Prefetch, 0, false); err != nil {
			return explainOpen(a, s.o.External, err)
		}
		for _, key := range keys {
			queue := s.o.Exchange + ":" + key
			_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
			if err == nil {
				err = ch.QueueBind(queue, key, s.o.Exchange, false, nil)
			}
			if err == nil {
				var d <-chan amqp091.Delivery
				d, err = ch.Consume(queue, "", false, false, false, false, amqp091.Table{"x-consumer-timeout": consumerTimeout})
				queues = append(queues, d)
			}
			if err != nil {
				return explainDeclare(a, "queue", queue, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	connected()
	closes := conn.NotifyClose(make(chan *amqp091.Error, 1))
	an := &answers{wake: make(chan struct{}, 1)}
	answering, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var answerer sync.WaitGroup
	answerer.Go(func() { an.send(answering, ch) })
	var readers sync.WaitGroup
	ended := make(chan string, len(queues))
	for i, q := range queues {
		readers.Go(func() {
			for d := range q {
				if answering.Err() == nil && ctx.Err() == nil {
					handle(&command{keys[i], d.Body, d, an, answering.Done()})
				}
			}
			ended <- keys[i]
		})
	}
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case e := <-closes:
		err = fmt.Errorf("amqp: the connection for commands: %w", withDefault(e, amqp091.ErrClosed))
	case key := <-ended:
		err = fmt.Errorf("amqp: the queue %q was deleted, or its channel closed", s.o.Exchange+":"+key)
	}
	// What is done is still acknowledged, by a broker that listens.
	late := time.AfterFunc(closeTimeout, func() { t.Close() })
	stop()
	answerer.Wait()
	late.Stop()
	hangUp(conn, t)
	readers.Wait()
	return err
}

// errUnroutable is what forward returns when no queue takes the message.
var errUnroutable = errors.New("amqp: no queue takes the message")

// forward publishes a command with the routing key key: the number of a shard that
// another process runs. body is what the bot sent, and may be kept.
func (s *Sink) forward(ctx context.Context, key string, body []byte) error {
	return s.publish(ctx, key, s.forwarded(body))
}

// forwarded returns the message of a command that is forwarded.
func (s *Sink) forwarded(body []byte) amqp091.Publishing {
	p := amqp091.Publishing{Body: body, Expiration: s.o.expiration()}
	if s.o.Persistent {
		p.DeliveryMode = amqp091.Persistent
	}
	return p
}

// publish publishes a message that is no event. It takes the
// connection of the events, through amqp091-go. It returns once the broker has
// confirmed the message, and so waits while there is no connection; after a failure
// it sends it again. It fails with errUnroutable, with ErrClosed, and at the end of
// ctx, when the message may still be on its way.
func (s *Sink) publish(ctx context.Context, key string, p amqp091.Publishing) error {
	s.mu.Lock()
	s.start()
	s.mu.Unlock()
	said := make(chan error, 1)
	for {
		s.mu.Lock()
		l, changed := s.link, s.changed
		s.mu.Unlock()
		if l != nil {
			// amqp091-go's calls know no contexts; they end with the connection.
			go func() { said <- l.say(ctx, s.o.Exchange, key, p) }()
		}
		select {
		case err := <-said:
			if err == nil || errors.Is(err, errUnroutable) {
				return err
			}
			pause(ctx, firstRetry)
		case <-changed:
			if l != nil {
				<-said // its connection is gone
			}
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
		if s.ctx.Err() != nil {
			return ErrClosed
		}
		if ctx.Err() != nil {
			return fmt.Errorf("amqp: publish to %q: %w", key, context.Cause(ctx))
		}
	}
}

// say publishes a message and waits for its confirm, unless ctx ends before it is
// its turn.
func (l *link) say(ctx context.Context, exchange, key string, p amqp091.Publishing) error {
	l.saying.Lock()
	defer l.saying.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.side == nil || l.side.IsClosed() {
		side, err := l.conn.Channel()
		if err != nil {
			return err
		}
		if err := side.Confirm(false); err != nil {
			return err
		}
		l.side, l.returns = side, side.NotifyReturn(make(chan amqp091.Return, 1))
	}
	c, err := l.side.PublishWithDeferredConfirm(exchange, key, true, false, p)
	if err != nil {
		return err
	}
	confirmed := c.Wait() // false if the channel ends
	select {
	case _, ok := <-l.returns: // comes before the confirm; closed with the channel
		if ok {
			return errUnroutable
		}
	default:
	}
	if !confirmed {
		return errors.New("amqp: the broker did not confirm the message")
	}
	return nil
}
