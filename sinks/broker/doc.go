// Package broker holds what the sinks for brokers share: how long to wait for one and what to
// log of it, the values that consumers read, the names of streams and routing keys, and the file
// of what no broker takes.
package broker
