// The program amqp is a bot's consumer for RabbitMQ: it prints each event of the names that
// it is given.
//
//	AMQP_URL=amqp://localhost go run ./amqp MESSAGE_CREATE INTERACTION_CREATE
package main

import (
	"cmp"
	"fmt"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	consumers "sluice/docs/consumers/go"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(events []string) error {
	conn, err := amqp.Dial(cmp.Or(os.Getenv("AMQP_URL"), "amqp://localhost"))
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	const exchange = "gateway" // broker.group
	if err := ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.Qos(100, 0, false); err != nil {
		return err
	}
	// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
	if command := os.Getenv("COMMAND"); command != "" {
		if err := ch.Publish(exchange, "SEND", false, false, amqp.Publishing{Body: []byte(command)}); err != nil {
			return err
		}
	}
	// One queue for all: a consumer that wants the events of a kind apart makes one for each.
	queue := exchange + ":bots:all"
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	for _, event := range events {
		if err := ch.QueueBind(queue, event, exchange, false, nil); err != nil {
			return err
		}
	}
	messages, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	log.Print("bound")
	seen := make(consumers.Seen)
	for m := range messages {
		text := func(header string) string {
			if v, ok := m.Headers[header]; ok {
				return fmt.Sprint(v)
			}
			return ""
		}
		if !seen.Has(queue, text("shard"), text("session"), text("seq")) {
			if err := consumers.Print(m.RoutingKey, m.Body); err != nil {
				return err
			}
		}
		// After the work: what was not acknowledged is not lost.
		if err := m.Ack(false); err != nil {
			return err
		}
	}
	return amqp.ErrClosed
}
