//go:build long && linux

// This file tests the commands of a fleet that come by RabbitMQ.

package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
)

// As TestFleetCommands, with RabbitMQ. A member that is stopped keeps its queues until RabbitMQ misses its heartbeats.
func TestFleetCommandsAMQP(t *testing.T) {
	t.Parallel()
	redis, node := redistest.Start(t), rabbitmq.Start(t, "")
	ch := amqpChannel(t, node.URL())
	err := ch.ExchangeDeclare("fleet", amqp091.ExchangeDirect, true, false, false, false, nil)
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	returns := ch.NotifyReturn(make(chan amqp091.Return, 1))
	env := []string{"BROKER_TYPE=amqp", "AMQP_URL=" + node.URL(), "AMQP_HEARTBEAT=2s", "BROKER_GROUP=fleet", "REDIS_URL=" + redis.Addr}
	testFleetCommands(t, env, func(name, value string) error {
		for { // until there is a queue
			c, err := ch.PublishWithDeferredConfirm("fleet", name, true, false, amqp091.Publishing{Body: []byte(value)})
			if err != nil {
				return err
			}
			if !c.Wait() {
				return errors.New("not confirmed")
			}
			select {
			case <-returns:
				time.Sleep(10 * time.Millisecond)
			default:
				return nil
			}
		}
	}, func(int) bool {
		for line := range strings.Lines(node.Ctl("list_queues", "--silent", "name", "messages")) {
			if !strings.HasSuffix(line, "\t0\n") {
				return false
			}
		}
		return true
	})
}
