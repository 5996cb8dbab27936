//go:build linux

// This file tests a cluster that loses the node which the sink is connected to.

package amqp

import (
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks/sinktest/rabbitmq"
)

// The node that the sink publishes to is killed in the middle of a stream. The queue lives
// on the other one.
func testCluster(t *testing.T, first *rabbitmq.Node) {
	second := first.Join(t)
	tr := try(t, second, Options{URLs: []string{first.URL(), second.URL()}, Exchange: "events", Persistent: true})
	if err := tr.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ch := channel(t, dial(t, second.URL()))
	if _, err := ch.QueueDeclare("queue", true, false, false, false, amqp091.Table{"x-queue-master-locator": "client-local"}); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("queue", "MESSAGE_CREATE", "events", false, nil); err != nil {
		t.Fatal(err)
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		tr.publish(tr.events(clusterEvents, 4, 100))
	}()
	until(t, "a stream under way", func() bool { return tr.acked.Load() > 5_000 })
	first.Kill()
	<-published
	tr.untilAcked(clusterEvents)
	repeated := tr.check("queue")
	t.Logf("%d came twice, %d connections after the first", repeated, tr.Status().Connections-1)
	if tr.Status().Connections < 2 {
		t.Error("the sink was not connected to the node that was killed")
	}
}
