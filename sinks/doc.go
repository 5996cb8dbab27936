// Package sinks is the contract between the engine, which makes events and takes commands, and
// the sinks, which take events to bots. It imports nothing of the project.
//
// # Adding a broker
//
// A broker is a package below this one, and a line in the list of cmd/gateway/cli/brokers.go. Its
// sink implements Opener: New checks the options, Open connects. It is given batches of events,
// in the order that each shard's events must keep, and acknowledges them in that order, not before
// its broker has confirmed them. The bytes of an event are borrowed until then, and
// the slice of the batch is too.
//
// What a broker does not take for now is the sink's to send again, for as long as
// it takes: broker.Outage says how long to wait and logs it. Meanwhile the sink holds
// what it was given, Publish waits, and the engine reads no more from Discord when
// its own bound is reached. An error of Publish stops the process, so it is for
// what no waiting mends.
//
// An event that the broker will never take is tried a few times, put among the
// broker.DeadLetters, and acknowledged: those behind it must not wait for it.
//
// Package broker has what all sinks for brokers share: broker.Format makes the values,
// broker.Template the names of streams and routing keys. Package window keeps the order of
// acknowledgements for a broker that confirms out of order. Package commands takes what bots write back:
// commands.Router brings it to the engine, and the broker's package reads, acknowledges
// and replies. Package sinktest has the tests that
// every sink must pass: its conformance_test.go says how the broker is started, looked into, cut
// off and taken away.
package sinks
