//go:build linux

// This file is a RabbitMQ of the run's own.

package load

import (
	"context"
	"fmt"
	"os"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/bench/sim"
	"sluice/sinks/sinktest/rabbitmq"
)

// rabbitMQ is a broker.
type rabbitMQ struct {
	*rabbitmq.Node
}

// startRabbitMQ starts a node, with a queue that all events of the exchange go to. It keeps
// the last maxEntries, should its consumer not keep up.
func startRabbitMQ() (broker, error) {
	dir, err := os.MkdirTemp("", "gateway-bench-rabbitmq-")
	if err != nil {
		return nil, err
	}
	node, err := rabbitmq.Launch(dir, "")
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("load: this scenario needs RabbitMQ: %w", err)
	}
	b := &rabbitMQ{node}
	err = b.channel(func(ch *amqp091.Channel) error {
		err := ch.ExchangeDeclare("gateway", "direct", true, false, false, false, nil)
		if err == nil {
			_, err = ch.QueueDeclare(allEvents, true, false, false, false, amqp091.Table{"x-max-length": int64(maxEntries)})
		}
		for _, event := range sim.EventNames() {
			if err == nil {
				err = ch.QueueBind(allEvents, event, "gateway", false, nil)
			}
		}
		return err
	})
	if err != nil {
		b.stop()
		return nil, fmt.Errorf("load: RabbitMQ: %w", err)
	}
	return b, nil
}

func (b *rabbitMQ) pid() int        { return b.Pid() }
func (b *rabbitMQ) address() string { return b.Addr }
func (b *rabbitMQ) env(bool) []string {
	return []string{"BROKER_TYPE=amqp", "AMQP_URL=" + b.URL(), "AMQP_HEADERS=true"}
}
func (b *rabbitMQ) stop() { b.Close(); os.RemoveAll(b.Dir) }

// channel calls f with a channel, which ends with it.
func (b *rabbitMQ) channel(f func(*amqp091.Channel) error) error {
	conn, err := amqp091.Dial(b.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return f(ch)
}

// consume reads the queue, without acknowledgements.
func (b *rabbitMQ) consume(ctx context.Context, p *process, _ bool) error {
	ready := make(chan error, 1)
	go func() {
		err := b.channel(func(ch *amqp091.Channel) error {
			messages, err := ch.Consume(allEvents, "", true, false, false, false, nil)
			ready <- err
			for err == nil {
				select {
				case m, ok := <-messages:
					if !ok {
						return nil
					}
					shard, _ := m.Headers["shard"].(int64)
					seq, _ := m.Headers["seq"].(int64)
					p.mu.Lock()
					p.event(int(shard), seq, time.Now())
					p.mu.Unlock()
				case <-ctx.Done():
					return nil
				}
			}
			return nil
		})
		if err != nil {
			ready <- err
		}
	}()
	return <-ready
}

// amqpInFlight bounds what AMQPLoop has not had confirmed, as the gateway does.
const amqpInFlight = 4096

// AMQPLoop publishes messages like the gateway's to RabbitMQ at the address, with nothing
// but amqp091-go: confirms are waited for while others are on their way.
func AMQPLoop(address string) error {
	conn, err := amqp091.Dial("amqp://guest:guest@" + address + "/")
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	message := amqp091.Publishing{
		Expiration: "120000", Body: make([]byte, baselineValue),
		Headers: amqp091.Table{"shard": int64(0), "session": "0123456789abcdef0123456789abcdef", "seq": int64(1)},
	}
	confirms := make(chan *amqp091.DeferredConfirmation, amqpInFlight)
	failed := make(chan error, 1)
	go func() {
		defer close(confirms)
		for range amqpEvents {
			c, err := ch.PublishWithDeferredConfirm("gateway", "MESSAGE_CREATE", false, false, message)
			if err != nil {
				failed <- err
				return
			}
			confirms <- c
		}
	}()
	for c := range confirms {
		if !c.Wait() {
			return fmt.Errorf("load: RabbitMQ refused message %d", c.DeliveryTag)
		}
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
