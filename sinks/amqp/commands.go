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

	"sluice/sinks/broker"
	"sluice/sinks/commands"
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
	at       time.Time       // when it came
}

// lost returns why a command for which there is no room is not carried out: the connection that brought
// it is gone, or the gateway stops.
func (c *command) lost() string {
	select {
	case <-c.gone:
		return commands.ConnectionLost
	default:
		return commands.Stopped
	}
}

// done has the command acknowledged, and the bot, if it waits for a reply, answered that
// the command is in flight to Discord, or why it is not. It must be
// called once, by any goroutine, and does not wait. If the connection that brought the
// command is gone by then, the broker hands it out again.
func (c *command) done(err error) {
	c.answers.add(answer{delivery: c.delivery, err: err})
}

// answers are the acknowledgements and replies for commands of one connection: those who are done
// with a command, the engine's readers among them, must not wait for the broker.
type answers struct {
	sink    *Sink
	mu      sync.Mutex
	waiting []answer
	wake    chan struct{} // holds one
}

type answer struct {
	delivery amqp091.Delivery
	err      error
	written  func() // called after the acknowledgement; nil: nobody waits for it
}

// add has a command acknowledged. It does not wait.
func (a *answers) add(an answer) {
	a.mu.Lock()
	a.waiting = append(a.waiting, an)
	a.mu.Unlock()
	signal(a.wake)
}

// send acknowledges commands until ctx ends, and then what is left.
func (a *answers) send(ctx context.Context) {
	var sending []answer
	for {
		ended := ctx.Err() != nil
		a.mu.Lock()
		sending, a.waiting = a.waiting, sending[:0]
		a.mu.Unlock()
		for _, an := range sending {
			// What can't be sent is of a connection that is gone, whose end is seen elsewhere.
			an.delivery.Ack(false)
			if an.written != nil {
				an.written()
			}
			a.sink.reply(&an.delivery, an.err)
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

// commands calls handle, on one goroutine for each queue, for each message in the
// queues <exchange>:SEND and <exchange>:<shard>, until ctx ends, and through whatever
// happens to the broker. Within a queue the order is kept. The queues are durable, and bound to the exchange with SEND and the shard's
// number.
//
// handle must see to it that command.done is called, then or later; until it is,
// the command counts against Options.Prefetch. Commands have a connection of their
// own: they are read while the broker is blocked and events are buffered.
func (s *Sink) commands(ctx context.Context, shards []int, handle func(*command)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := []string{commands.Send}
	for _, id := range shards {
		keys = append(keys, strconv.Itoa(id))
	}
	var replying sync.WaitGroup
	defer replying.Wait()
	answering, stop := context.WithCancel(context.Background())
	defer stop()
	replying.Go(func() { s.answer(answering) })
	outage := recovery{Outage: broker.Outage{Log: s.o.Log, Broker: "RabbitMQ", Commands: true}}
	b := &brokers{o: &s.o, addresses: s.addresses}
	for ctx.Err() == nil {
		err := s.consume(ctx, b, keys, handle, outage.up)
		if ctx.Err() == nil {
			pause(ctx, outage.Failed(explain(err)))
		}
	}
}

// consume reads commands over one connection until it fails or ctx ends.
func (s *Sink) consume(ctx context.Context, b *brokers, keys []string, handle func(*command), up func(context.Context)) error {
	var queues []<-chan amqp091.Delivery
	var ch *amqp091.Channel
	topology := &topology{sink: s, keys: func() []string { return keys }, unread: make(map[string]time.Time), lost: make(chan error, 1)}
	conn, t, err := b.connect(ctx, func(a *address, conn *amqp091.Connection, t *tap) (err error) {
		queues = queues[:0]
		topology.at, topology.conn = a, conn
		t.guard.allow(2*s.o.Prefetch*len(keys), maxCommand) // a queue that is declared again has a second consumer
		if ch, err = declareExchange(b.o, a, conn); err != nil {
			return err
		}
		if err := ch.Qos(s.o.Prefetch, 0, false); err != nil {
			return explainOpen(a, s.o.External, err)
		}
		for _, key := range keys {
			q, err := declareQueue(b.o, a, ch, key)
			if err != nil {
				return err
			}
			d, err := ch.Consume(q.Name, "", false, false, false, false, amqp091.Table{"x-consumer-timeout": consumerTimeout})
			if err != nil {
				return explainDeclare(a, "queue", q.Name, err)
			}
			queues = append(queues, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	closes := conn.NotifyClose(make(chan *amqp091.Error, 1))
	an := &answers{sink: s, wake: make(chan struct{}, 1)}
	answering, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var answerer sync.WaitGroup
	answerer.Go(func() { an.send(answering) })
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	var readers sync.WaitGroup
	readers.Go(func() { topology.watch(watching) })
	readers.Go(func() { up(watching) })
	ended := make(chan error, len(queues))
	for i, q := range queues {
		readers.Go(func() {
			retry, repaired := firstRetry, time.Time{}
			for {
				for d := range q {
					if size := t.guard.tooLarge(d.ConsumerTag, d.DeliveryTag); size > 0 {
						err := commands.TooLong(int(size), maxCommand)
						s.lines.warn("command refused", "queue", s.o.Exchange+":"+keys[i], "error", err)
						s.counts.Received(keys[i])
						s.counts.Refused(keys[i], commands.TooLarge)
						(&command{keys[i], nil, d, an, answering.Done(), time.Now()}).done(err)
					} else if answering.Err() == nil && ctx.Err() == nil {
						handle(&command{keys[i], d.Body, d, an, answering.Done(), time.Now()})
					}
				}
				if ch.IsClosed() || watching.Err() != nil {
					ended <- fmt.Errorf("amqp: the channel that reads %q was closed", s.o.Exchange+":"+keys[i])
					return
				}
				// The queue was deleted. The commands of the others are not disturbed.
				if time.Since(repaired) > logEvery {
					retry = firstRetry
				}
				pause(watching, retry)
				retry, repaired = min(2*retry, lastRetry), time.Now()
				var err error
				if q, err = topology.repair(ch, keys[i]); err != nil {
					ended <- err
					return
				}
			}
		})
	}
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case e := <-closes:
		err = fmt.Errorf("amqp: the connection for commands: %w", withDefault(e, amqp091.ErrClosed))
	case err = <-ended:
	case err = <-topology.lost:
	}
	// What is done is still acknowledged, by a broker that listens.
	late := time.AfterFunc(settleTimeout, func() { t.Close() })
	unwatch()
	stop()
	answerer.Wait()
	late.Stop()
	hangUp(conn, t, settleTimeout)
	readers.Wait()
	if fault := t.guard.failed(); fault != nil {
		err = fmt.Errorf("amqp: the connection for commands: %w", fault)
	}
	return err
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
// it sends it again. It fails with errUnroutable, with errNacked if gives, which may be nil, returns true then, with ErrClosed, and at the
// end of ctx, when the message may still be in flight.
func (s *Sink) publish(ctx context.Context, key string, p amqp091.Publishing, gives func() bool) error {
	s.mu.Lock()
	if s.closes() {
		s.mu.Unlock()
		return ErrClosed
	}
	s.forwarding.Add(1)
	defer s.forwarding.Done()
	s.start()
	s.mu.Unlock()
	said := make(chan error, 1)
	retry := s.retry
	waits := time.NewTicker(logEvery)
	defer waits.Stop()
	for {
		s.mu.Lock()
		l, changed := s.link, s.changed
		s.mu.Unlock()
		closing := s.closing
		if l != nil {
			closing = nil // what the broker says of it is still heard
			// amqp091-go's calls know no contexts; they end with the connection.
			go func() { said <- l.forward(key).say(ctx, l.conn, s.o.Exchange, key, p) }()
		}
		for waiting := true; waiting; {
			waiting = false
			select {
			case err := <-said:
				if err == nil || errors.Is(err, errUnroutable) || errors.Is(err, errNacked) && gives != nil && gives() {
					return err
				}
				if ctx.Err() == nil {
					s.lines.warn("command not forwarded; retrying", "shard", key, "error", err)
				}
				select {
				case <-time.After(retry):
				case <-s.closing:
				case <-ctx.Done():
				}
				retry = min(2*retry, lastRetry)
			case <-changed:
				if l != nil {
					<-said // its connection is gone
				}
			case <-waits.C:
				s.lines.warn("RabbitMQ confirms no forwarded command; waiting", "shard", key)
				waiting = true
			case <-ctx.Done():
			case <-closing:
			case <-s.ctx.Done():
			}
		}
		if s.closes() {
			return ErrClosed
		}
		if ctx.Err() != nil {
			return fmt.Errorf("amqp: publish to %q: %w", key, context.Cause(ctx))
		}
	}
}
