// This file answers the bots that wait for a reply to a command.

package amqp

import (
	"context"
	"errors"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/commands"
)

const (
	// maxReplies bounds the replies that wait to be published.
	maxReplies = 1024
	// replyTimeout bounds the wait for the confirm of one.
	replyTimeout = 5 * time.Second
)

// reply has the bot answered that waits for it. It does not wait.
func (s *Sink) reply(d *amqp091.Delivery, err error) {
	if d.ReplyTo == "" || d.CorrelationId == "" {
		return
	}
	select {
	case s.replies <- botReply{d.ReplyTo, d.CorrelationId, err}:
	default:
		s.lines.warn("replies to commands dropped; too many pending", "pending", maxReplies)
	}
}

// botReply is what a bot reads about its command.
type botReply struct {
	to, correlation string
	err             error
}

// replier publishes replies over a connection of its own, which is there from the first
// reply on: RabbitMQ closes a connection with INTERNAL_ERROR for a reply_to that looks like
// one of its direct replies and is none, and it reads nothing more from a connection that
// publishes while it is blocked. One at a time, so that a reply which is refused
// is the only one lost.
type replier struct {
	*Sink
	brokers brokers
	conn    *amqp091.Connection // nil: there is none
	tap     *tap
	side    side
	retry   time.Duration
}

// answer publishes replies until ctx ends, and then, for a moment, those that wait.
func (s *Sink) answer(ctx context.Context) {
	r := &replier{Sink: s, brokers: brokers{o: &s.o, addresses: s.addresses}, retry: firstRetry}
	defer r.hangUp()
	for {
		select {
		case reply := <-s.replies:
			r.publish(s.ctx, reply)
			continue
		case <-ctx.Done():
		}
		break
	}
	last, cancel := context.WithTimeout(s.ctx, closeTimeout)
	defer cancel()
	for last.Err() == nil {
		select {
		case reply := <-s.replies:
			r.publish(last, reply)
		default:
			return
		}
	}
}

// publish publishes a reply, or logs why it is lost.
func (r *replier) publish(ctx context.Context, reply botReply) {
	if ctx.Err() != nil {
		return
	}
	err := r.try(ctx, reply)
	if err == nil || errors.Is(err, errUnroutable) { // the bot has gone, or names a queue that does not exist
		r.retry = firstRetry
		return
	}
	if isCode(err, amqp091.AccessRefused) && r.conn != nil && !r.conn.IsClosed() {
		r.lines.warn("reply to a command refused", "reply_to", reply.to, "error", &Error{NoReplies, err})
		return
	}
	r.lines.warn("reply to a command lost", "reply_to", reply.to, "error", err)
	r.hangUp()
	pause(ctx, r.retry)
	r.retry = min(2*r.retry, lastRetry)
}

// try publishes a reply to the default exchange.
func (r *replier) try(ctx context.Context, reply botReply) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	if r.conn == nil || r.conn.IsClosed() {
		r.hangUp()
		conn, t, err := r.brokers.connect(ctx, func(*address, *amqp091.Connection, *tap) error { return nil })
		if err != nil {
			return err
		}
		r.conn, r.tap, r.side = conn, t, side{busy: make(chan struct{}, 1)}
	}
	// amqp091-go's calls know no contexts; they end with the connection.
	defer context.AfterFunc(ctx, func() { r.tap.Close() })()
	return r.side.say(ctx, r.conn, "", reply.to, amqp091.Publishing{CorrelationId: reply.correlation, Body: commands.AppendReply(nil, reply.err)})
}

func (r *replier) hangUp() {
	if r.conn != nil {
		hangUp(r.conn, r.tap, closeTimeout)
		r.conn = nil
	}
}
