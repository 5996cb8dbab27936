// This file finds the queues of shards that there are no more.
//
// A bot that is resharded to fewer leaves queues in which commands wait, and some may still come: bots go by the count before
// until they are told. Whoever runs shard s of n reads those of s+n, s+2n and so on, too. There is nobody to ask up to
// which: a shard's queue was declared when the shard was first run.

package amqp

import (
	"context"
	"fmt"
	"strconv"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// keysOf returns the keys of the queues of shards, of total, and of the former ones up to most.
func keysOf(shards []int, total, most int) (keys []string) {
	for _, id := range shards {
		keys = append(keys, strconv.Itoa(id))
	}
	if most > total {
		for _, id := range shards {
			for former := id + total; former < most; former += total {
				keys = append(keys, strconv.Itoa(former))
			}
		}
	}
	return keys
}

// findFormer returns up to which id there are queues, from total on. RabbitMQ closes the channel then.
func (s *Sink) findFormer(ch *amqp091.Channel, total int) (most int, err error) {
	for id := total; ; id++ {
		queue := s.o.Exchange + ":" + strconv.Itoa(id)
		_, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		switch {
		case err == nil:
		case isCode(err, amqp091.NotFound), isCode(err, amqp091.AccessRefused), isCode(err, amqp091.ResourceLocked):
			return id, nil
		default:
			return 0, fmt.Errorf("amqp: look for the queue %q: %w", queue, err)
		}
	}
}

// findFormer finds what RelayFleet is to read of former shards.
func (r *fleetRelay) findFormer(ctx context.Context) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		c, ch, err := r.conns.channel(ctx)
		if err != nil {
			return
		}
		most, err := r.sink.findFormer(ch, r.total)
		ch.Close()
		r.conns.release(c)
		if err == nil {
			r.most.Store(int64(most))
			return
		}
		pause(ctx, retry)
	}
}
