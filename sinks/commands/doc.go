// Package commands brings what bots write to the shards that send it. It parses commands, finds
// their shards, bounds what a shard holds, and decides what follows a shard that takes no
// more, one of another process, and a command that is none. Who reads the bots' messages, from
// standard input or a broker, is left with what is its own: where a message begins and ends, how it
// is acknowledged, and how it is answered.
package commands
