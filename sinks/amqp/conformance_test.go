//go:build linux

// This file runs the tests that every sink must pass, with a real RabbitMQ.

package amqp

import (
	"log/slog"
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/rabbitmq"
)

// testContract takes the node down for moments by way of a proxy: starting it again takes
// seconds.
func testContract(t *testing.T, node *rabbitmq.Node) {
	sinktest.Run(t, func(t *testing.T) sinktest.Broker {
		p := newProxy(t, node.Addr)
		exchange := strings.ReplaceAll(t.Name(), "/", ".")
		ch := channel(t, dial(t, node.URL()))
		if err := ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.QueueDeclare(exchange, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(exchange, "MESSAGE_CREATE", exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		return sinktest.Broker{
			Sink: func(t *testing.T) sinks.Opener {
				s, err := New(Options{URLs: []string{p.url()}, Exchange: exchange, Persistent: true, Log: slog.New(slog.DiscardHandler),
					Body: broker.Format{Encoding: broker.JSON}.Append})
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Read: func(t *testing.T) (all [][]byte) {
				for _, d := range drain(t, node.URL(), exchange) {
					all = append(all, d.Body)
				}
				return all
			},
			Repeats: true,
			Largest: largest,
			Cut:     p.cut,
			Away:    p.away,
			Back:    p.back,
			Refused: func(t *testing.T) *sinks.Event {
				return &sinks.Event{Type: []byte("MESSAGE_CREATE"), Data: make([]byte, largest+1), Session: "s", Seq: 1}
			},
		}
	})
}
