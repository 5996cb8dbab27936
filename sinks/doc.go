// Package sinks holds what the sinks for brokers share. Each broker has a package
// of its own below this one.
//
// # Adding a broker
//
// A sink implements engine.Sink: it is given batches of events, in the order that
// each shard's events must keep, and acknowledges them in that order, as late as
// its broker has confirmed them. The bytes of an event are lent until then, and
// the slice of the batch is too.
//
// What a broker does not take for now is the sink's to send again, for as long as
// it takes: Outage says how long to wait and tells of it. Meanwhile the sink holds
// what it was given, Publish waits, and the engine reads no more from Discord when
// its own bound is reached. An error of Publish ends the process, so it is for
// what no waiting mends.
//
// An event that the broker will never take is tried a few times, put among the
// DeadLetters, and acknowledged: those behind it must not wait for it.
//
// Encoding makes the values, Template the names of streams and routing keys.
//
// Package sinktest has the tests that every sink must pass: its conformance_test.go
// says how the broker is started, looked into, cut off and taken away.
package sinks
