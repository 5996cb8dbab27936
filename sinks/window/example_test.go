package window_test

import (
	"fmt"

	"sluice/sinks"
	"sluice/sinks/window"
)

// A sink whose broker confirms messages one by one, in any order, as NATS JetStream and Kafka do.
func Example() {
	w := window.New(1024)

	// Publish: the engine's batch, and its acked. What does not fit waits for Headroom.
	batch := []sinks.Event{{Seq: 1}, {Seq: 2}, {Seq: 3}}
	n := w.Add(batch, func(n int) { fmt.Println("acknowledged", n) })
	fmt.Println("added", n)

	// The sender, on a new connection. Each message has a number, counted from 1, which the broker's reply
	// is to bring back: as AMQP's delivery tag, or as part of the subject that NATS replies to.
	send := func(conn string) {
		w.Begin(conn)
		for _, ev := range w.Next(nil, 512) {
			w.Sending(1)
			fmt.Println(conn, "sends", ev.Seq)
		}
	}
	send("A")

	// The reader of the connection. The second is taken, and waits for the first.
	w.Confirm("A", []window.Reply{{Number: 2}})
	w.Confirm("A", []window.Reply{{Number: 1}})

	// The connection is lost. What was not acknowledged is sent again; a late reply means nothing.
	send("B")
	w.Confirm("A", []window.Reply{{Number: 3}})
	w.Confirm("B", []window.Reply{{Number: 1}})

	// Output:
	// added 3
	// A sends 1
	// A sends 2
	// A sends 3
	// acknowledged 2
	// B sends 3
	// acknowledged 1
}
