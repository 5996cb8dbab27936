// This file answers the bots that wait for a reply to a command.

package amqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

const (
	// maxReplies bounds the replies that wait to be published.
	maxReplies = 1024
	// replyTimeout bounds the wait for the confirm of one.
	replyTimeout = 5 * time.Second
)

// reply has a bot told what became of its command. It does not wait.
func (s *Sink) reply(d *amqp091.Delivery, err error) {
	if d.ReplyTo == "" || d.CorrelationId == "" {
		return
	}
	select {
	case s.replies <- botReply{d.ReplyTo, d.CorrelationId, err}:
	default:
		s.lines.warn("amqp: replies to commands are dropped, for too many wait", "waiting", maxReplies)
	}
}

// botReply is what a bot is told about its command.
type botReply struct {
	to, correlation string
	err             error
}

// answer publishes replies until ctx ends, and then, for a moment, those that wait. They go
// over the connection of the events: a broker that is short of memory reads nothing
// more from a connection that publishes, and commands have to be acknowledged then. One at a
// time, so that one which closes the channel is the only one lost.
func (s *Sink) answer(ctx context.Context) {
	var last context.Context // the moment; nil before ctx ends
	for {
		var r botReply
		select {
		case r = <-s.replies:
		default:
			if last != nil {
				return
			}
			select {
			case r = <-s.replies:
			case <-ctx.Done():
			}
		}
		if last == nil && ctx.Err() != nil {
			var cancel context.CancelFunc
			last, cancel = context.WithTimeout(s.ctx, closeTimeout)
			defer cancel()
		}
		if r.to == "" {
			continue
		}
		publishing := last
		if last == nil {
			publishing = s.ctx
		} else if last.Err() != nil {
			return
		}
		err := s.publishReply(publishing, r)
		var broker *amqp091.Error
		switch {
		case err == nil:
		case errors.As(err, &broker) && broker.Server && broker.Code == amqp091.AccessRefused:
			s.lines.warn("amqp: a reply to a command is refused", "reply_to", r.to, "error", err,
				"remedy", "grant the user write on amq.default, the default exchange, with rabbitmqctl set_permissions")
		default:
			s.lines.warn("amqp: a reply to a command is lost", "reply_to", r.to, "error", err)
		}
	}
}

// publishReply publishes a reply to the default exchange, over the present connection or
// the next.
func (s *Sink) publishReply(ctx context.Context, r botReply) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	p := amqp091.Publishing{CorrelationId: r.correlation, Body: appendReply(nil, r.err)}
	s.mu.Lock()
	s.start()
	s.mu.Unlock()
	for {
		s.mu.Lock()
		l, changed := s.link, s.changed
		s.mu.Unlock()
		if l == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return fmt.Errorf("amqp: publish a reply: there is no connection: %w", context.Cause(ctx))
			}
		}
		if l.blocked.Load() || l.stopped.Load() {
			return errors.New("amqp: publish a reply: the broker takes nothing")
		}
		said := make(chan error, 1)
		// amqp091-go's calls know no contexts; they end with the connection.
		go func() { said <- l.replies.say(ctx, l.conn, "", r.to, p) }()
		select {
		case err := <-said:
			if errors.Is(err, errUnroutable) {
				err = nil // the bot has gone, or names a queue that does not exist: its own affair
			}
			return err
		case <-ctx.Done():
			return fmt.Errorf("amqp: publish a reply: the broker does not answer: %w", context.Cause(ctx))
		}
	}
}
