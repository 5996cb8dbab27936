// The program amqp is a bot's consumer for RabbitMQ: it prints each event of the names that
// it is given.
//
//	AMQP_URL=amqp://localhost JOURNAL=bot.jsonl go run ./amqp MESSAGE_CREATE INTERACTION_CREATE
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	consumers "sluice/docs/consumers/go"
)

const (
	exchange = "gateway" // broker.group
	prefetch = 100
)

func main() {
	events := consumers.Names()
	journal, err := consumers.OpenJournal(os.Getenv("JOURNAL"))
	if err != nil {
		log.Fatal(err)
	}
	command := os.Getenv("COMMAND")
	for {
		err := serve(events, journal, &command)
		log.Printf("again in a second: %v", err) // what was not acknowledged is delivered again
		time.Sleep(time.Second)
	}
}

// serve reads until the connection ends.
func serve(events []string, journal *consumers.Journal, command *string) error {
	conn, err := amqp.Dial(consumers.Setting("AMQP_URL", "amqp://localhost"))
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	// A command for the shard of a guild: {"guild_id":"…","packet":{"op":…,"d":…}}
	if *command != "" {
		if err := ch.Publish(exchange, "SEND", false, false, amqp.Publishing{Body: []byte(*command)}); err != nil {
			return err
		}
		*command = ""
	}
	// A queue for each event, or one for all, as QUEUE says.
	queues := map[string]bool{}
	messages := make(chan amqp.Delivery, prefetch*max(1, len(events))) // the prefetch of each queue
	for _, event := range events {
		queue := consumers.Setting("QUEUE", exchange+":bots:"+event)
		if !queues[queue] {
			if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
				return err
			}
		}
		queues[queue] = true
		if err := ch.QueueBind(queue, event, exchange, false, nil); err != nil {
			return err
		}
	}
	for queue := range queues {
		from, err := ch.Consume(queue, queue, false, false, false, false, nil)
		if err != nil {
			return err
		}
		go func() { // ends with the connection: messages has room for all that is not acknowledged
			for m := range from {
				messages <- m
			}
			ch.Close() // the queue was deleted, if it is still open
		}()
	}
	log.Print("bound")
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	for {
		var batch []amqp.Delivery
		select {
		case m := <-messages:
			batch = append(batch, m)
		case err := <-closed:
			if err == nil {
				return errors.New("the channel is closed: a queue was deleted")
			}
			return fmt.Errorf("the channel is closed: %w", err)
		}
		for len(messages) > 0 && len(batch) < prefetch {
			batch = append(batch, <-messages)
		}
		all := make([]consumers.Event, len(batch))
		for i, m := range batch {
			all[i] = consumers.Named(m.RoutingKey, m.Body, text(m, "shard"), text(m, "session"), text(m, "seq"))
			all[i].Queue, all[i].Redelivered = m.ConsumerTag, m.Redelivered
			all[i].Epoch, _ = m.Headers["epoch"].(int64) // of a gateway in a fleet
		}
		if err := journal.Process(all); err != nil {
			log.Fatal(err) // the broker delivers them to the next process
		}
		for _, m := range batch { // after the work: what was not acknowledged is not lost
			if err := m.Ack(false); err != nil {
				return err
			}
		}
	}
}

// text returns a header as text.
func text(m amqp.Delivery, header string) string {
	if v, ok := m.Headers[header]; ok {
		return fmt.Sprint(v)
	}
	return ""
}
