// This file declares what events and commands need at the broker, and notices when
// somebody has removed a part of it.

package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// checkEvery is how often the exchange and the bindings are declared again, which changes
// nothing where they are. RabbitMQ notifies consumers of a queue that is deleted, and publishers
// of an exchange that is; nobody is notified of a binding.
const checkEvery = 30 * time.Second

// declareExchange declares the exchange on a new channel, which it returns.
func declareExchange(o *Options, a *address, conn *amqp091.Connection) (*amqp091.Channel, error) {
	ch, err := conn.Channel()
	if err == nil {
		err = ch.ExchangeDeclare(o.Exchange, o.Kind, true, false, false, false, nil)
	}
	if err == nil {
		return ch, nil
	}
	if isCode(err, amqp091.AccessRefused) {
		// Who may not declare it may still use one that exists.
		again, e := conn.Channel()
		if e == nil && again.ExchangeDeclarePassive(o.Exchange, o.Kind, true, false, false, false, nil) == nil {
			return again, nil
		}
	}
	return nil, explainDeclare(a, "exchange", o.Exchange, err)
}

// declareQueue declares the queue for commands with the routing key key, and binds it.
func declareQueue(o *Options, a *address, ch *amqp091.Channel, key string) (q amqp091.Queue, err error) {
	queue := o.Exchange + ":" + key
	if q, err = ch.QueueDeclare(queue, true, false, false, false, nil); err == nil {
		err = ch.QueueBind(queue, key, o.Exchange, false, nil)
	}
	if err != nil {
		return q, explainDeclare(a, "queue", queue, err)
	}
	return q, nil
}

// isCode reports whether err is a refusal by the broker with that code.
func isCode(err error, code int) bool {
	var broker *amqp091.Error
	return errors.As(err, &broker) && broker.Server && broker.Code == code
}

// topology keeps what the commands of one connection need.
type topology struct {
	sink *Sink
	at   *address
	conn *amqp091.Connection
	keys func() []string

	mu sync.Mutex // held by repair: amqp091-go's channels answer one request at a time

	// Queues without a consumer, and since when; owned by watch. RabbitMQ may notify nobody of a
	// queue that is deleted and declared again at once: the connection is then made anew.
	unread map[string]time.Time
	lost   chan error // holds one
}

// unreadFor is how long a queue may be without a consumer, for its reader to consume again.
const unreadFor = 5 * time.Second

// watch declares everything again each s.every, and when the publisher has connected
// again, until ctx ends.
func (t *topology) watch(ctx context.Context) {
	tick := time.NewTicker(t.sink.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.sink.rebind:
		case <-ctx.Done():
			return
		}
		if err := t.check(); err != nil && ctx.Err() == nil && !t.conn.IsClosed() {
			t.sink.lines.warn("RabbitMQ exchange and command queues not declared; retrying", "error", explain(err))
		}
	}
}

// check declares everything again, on a channel of its own: what is refused closes it.
func (t *topology) check() error {
	o := &t.sink.o
	ch, err := t.conn.Channel()
	if err != nil {
		return err
	}
	err = ch.ExchangeDeclarePassive(o.Exchange, o.Kind, true, false, false, false, nil)
	if isCode(err, amqp091.NotFound) {
		t.sink.lines.warn("RabbitMQ: the exchange was deleted; declaring it and its bindings again",
			"exchange", o.Exchange)
	}
	if err == nil {
		ch.Close()
	}
	if ch, err = declareExchange(o, t.at, t.conn); err != nil {
		// An exchange of another type takes events, and gives them to the wrong queues or to none.
		if isCode(err, amqp091.PreconditionFailed) {
			t.sink.mu.Lock()
			l := t.sink.link
			t.sink.mu.Unlock()
			if l != nil {
				l.fail(err)
			}
		}
		return err
	}
	defer ch.Close()
	for _, key := range t.keys() {
		q, err := declareQueue(o, t.at, ch, key)
		if err != nil {
			return err
		}
		since, unread := t.unread[key]
		switch {
		case q.Consumers > 0:
			delete(t.unread, key)
		case !unread:
			t.unread[key] = time.Now()
		case time.Since(since) >= unreadFor:
			select {
			case t.lost <- fmt.Errorf("amqp: nobody reads the queue %q any more: it was deleted and declared again", q.Name):
			default:
			}
		}
	}
	return nil
}

// repair declares the queue for a key again, which was deleted, and consumes from it on
// reader.
func (t *topology) repair(reader *amqp091.Channel, key string) (<-chan amqp091.Delivery, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := &t.sink.o
	ch, err := declareExchange(o, t.at, t.conn)
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	q, err := declareQueue(o, t.at, ch, key)
	if err != nil {
		return nil, err
	}
	from, err := reader.Consume(q.Name, "", false, false, false, false, amqp091.Table{"x-consumer-timeout": consumerTimeout})
	if err != nil {
		return nil, fmt.Errorf("amqp: the queue %q was deleted: %w", q.Name, err)
	}
	t.sink.lines.warn("RabbitMQ: a queue of commands was deleted, with the commands in it; declaring it again", "queue", q.Name)
	return from, nil
}
