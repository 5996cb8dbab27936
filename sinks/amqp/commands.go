// This file reads the bots' commands, answers them, and publishes those that are
// for another process.

package amqp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
)

// Command is a message from a bot. Its methods may be called by any goroutine.
type Command struct {
	Key  string // SEND, or the number of a shard
	Body []byte // as the bot sent it; the handler's own

	sink     *Sink
	delivery amqp091.Delivery
}

// Done tells the broker that the command is dealt with, whether it was a good one
// or not. It must be called once. If the connection that brought the command is gone
// by then, the broker hands it out again.
func (c *Command) Done() { c.delivery.Ack(false) }

// WantsReply reports whether the bot waits for a reply.
func (c *Command) WantsReply() bool {
	return c.delivery.ReplyTo != "" && c.delivery.CorrelationId != ""
}

// Reply sends the bot a reply, and does nothing if it wants none. Its errors are
// Forward's.
func (c *Command) Reply(ctx context.Context, body []byte) error {
	if !c.WantsReply() {
		return nil
	}
	return c.sink.say(ctx, "", c.delivery.ReplyTo, amqp091.Publishing{CorrelationId: c.delivery.CorrelationId, Body: body})
}

// Commands calls handle, on one goroutine at a time, for each message in the
// queues <exchange>:SEND and <exchange>:<shard>, until ctx ends or the sink is
// closed, and through whatever happens to the broker. Within a queue the order is
// kept. The queues are durable, and bound to the exchange with SEND and the shard's
// number.
//
// handle must see to it that Command.Done is called, then or later; until it is,
// the command counts against Options.Prefetch. Commands have a connection of their
// own: they are read while the broker takes no events.
func (s *Sink) Commands(ctx context.Context, shards []int, handle func(*Command)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	keys := []string{"SEND"}
	for _, id := range shards {
		keys = append(keys, strconv.Itoa(id))
	}
	outage := sinks.Outage{Log: s.o.Log, Broker: "amqp, for commands,"}
	b := &brokers{o: &s.o, addresses: s.addresses}
	for ctx.Err() == nil {
		err := s.consume(ctx, b, keys, handle, outage.Over)
		if ctx.Err() == nil {
			pause(ctx, outage.Failed(err, remedyFor(err)))
		}
	}
}

// consume reads commands over one connection until it fails or ctx ends.
func (s *Sink) consume(ctx context.Context, b *brokers, keys []string, handle func(*Command), connected func(...any)) error {
	var queues []<-chan amqp091.Delivery
	conn, t, err := b.connect(ctx, func(a *address, conn *amqp091.Connection, _ *tap) error {
		queues = queues[:0]
		ch, err := declareExchange(b.o, a, conn)
		if err != nil {
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
				d, err = ch.Consume(queue, "", false, false, false, false, nil)
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
	var handling sync.Mutex
	var readers sync.WaitGroup
	ended := make(chan string, len(queues))
	for i, q := range queues {
		readers.Go(func() {
			for d := range q {
				handling.Lock()
				if ctx.Err() == nil {
					handle(&Command{Key: keys[i], Body: d.Body, sink: s, delivery: d})
				}
				handling.Unlock()
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
	hangUp(conn, t)
	readers.Wait()
	return err
}

// ErrUnroutable is what Forward and Command.Reply return when no queue takes the
// message.
var ErrUnroutable = errors.New("amqp: no queue takes the message")

// Forward publishes a command with the routing key key: the number of a shard that
// another process runs. body is what the bot sent, and is copied. Forward returns
// once the broker has confirmed the command, and so waits while there is no
// connection; after a failure it sends it again. It fails with ErrUnroutable, with
// ErrClosed, and at the end of ctx, when the command may still be on its way.
func (s *Sink) Forward(ctx context.Context, key string, body []byte) error {
	return s.say(ctx, s.o.Exchange, key, amqp091.Publishing{Body: body})
}

// say publishes a message that is no event until it is confirmed. It takes the
// connection of the events, through amqp091-go.
func (s *Sink) say(ctx context.Context, exchange, key string, p amqp091.Publishing) error {
	p.Body = bytes.Clone(p.Body)
	p.Expiration = s.o.expiration()
	if s.o.Persistent {
		p.DeliveryMode = amqp091.Persistent
	}
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
			go func() { said <- l.say(ctx, exchange, key, p) }()
		}
		select {
		case err := <-said:
			if err == nil || errors.Is(err, ErrUnroutable) {
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
			return ErrUnroutable
		}
	default:
	}
	if !confirmed {
		return errors.New("amqp: the broker did not confirm the message")
	}
	return nil
}
