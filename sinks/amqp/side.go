// This file publishes messages that are no events, by way of amqp091-go.

package amqp

import (
	"context"
	"errors"
	"fmt"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// errUnroutable is what is returned when no queue takes a message.
var errUnroutable = errors.New("amqp: no queue takes the message")

// errNacked is what is returned when RabbitMQ refuses a message, as a queue that is full may have it do: it has
// not taken it.
var errNacked = errors.New("the broker refuses the message (basic.nack)")

// side is a channel beside the one that events are published on. What the broker closes it
// for costs the message alone that was published last: there is one at a time.
type side struct {
	busy    chan struct{} // holds one, for a message
	ch      *amqp091.Channel
	returns chan amqp091.Return
	closes  chan *amqp091.Error
}

// say publishes a message and waits for its confirm, or for the end of ctx.
func (s *side) say(ctx context.Context, conn *amqp091.Connection, exchange, key string, p amqp091.Publishing) error {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.ch == nil || s.ch.IsClosed() {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return err
		}
		s.ch = ch
		s.returns, s.closes = ch.NotifyReturn(make(chan amqp091.Return, 1)), ch.NotifyClose(make(chan *amqp091.Error, 1))
	}
	c, err := s.ch.PublishWithDeferredConfirm(exchange, key, true, false, p)
	if err != nil {
		return err
	}
	confirmed, err := c.WaitContext(ctx) // false if the channel ends
	if err != nil {
		// Its confirm must not be taken for that of the next one.
		go s.ch.Close() // which may wait for the broker
		s.ch = nil
		return err
	}
	if !confirmed {
		select {
		case err := <-s.closes:
			return fmt.Errorf("amqp: publish to %q: %w", key, withDefault(err, amqp091.ErrClosed))
		default:
			return fmt.Errorf("amqp: publish to %q: %w", key, errNacked)
		}
	}
	select {
	case _, ok := <-s.returns: // comes before the confirm; closed with the channel
		if ok {
			return errUnroutable
		}
	default:
	}
	return nil
}
