// Package amqp hands events to RabbitMQ, and takes the bots' commands from it.
//
// Connections are set up and kept alive by amqp091-go. The frames of published
// events are this package's own: a batch of events is encoded into one buffer and
// written at once, and the broker's confirms are read before amqp091-go sees them
// (tap.go). Published through amqp091-go, an event would cost several times the
// processor's time.
//
// The parts, from the engine to the broker:
//
//   - Sink.Publish puts events into a window (package window), which has what was
//     sent, what is confirmed, and what must be sent again. Its numbers are delivery tags.
//   - One goroutine, Sink.run (run.go), connects, sends what the window holds
//     (send.go), and starts again after a failure.
//   - A link (link.go) is one connection; its goroutine, amqp091-go's reader,
//     brings the broker's confirms to the window.
//   - The tap (tap.go) stands between a connection and amqp091-go, and its guard
//     (guard.go) refuses what that library would take for true.
//   - Exchange, queues and bindings are declared, and again when somebody has removed
//     them, in topology.go.
//
// An event is acknowledged to the engine when the broker has confirmed it and all
// before it. Whatever goes wrong, what was not acknowledged is sent again in
// order: consumers may see an event twice but miss none, and whoever looks at the
// first time each is seen finds each shard's events in order. One thing alone breaks
// that order: a queue that refuses messages (overflow reject-publish) may refuse one
// and take the next.
package amqp
