// This file is the package's documentation: the way of an event, who owns
// what, and the invariants.

// Package engine runs Discord gateway shards and hands their events to a Sink.
//
// # The way of an event
//
// A reader drives the connections of its shards. It gives what it reads from a
// shard's socket to shard.read, or to shard.feed, which borrows it; they run
// to the end on the reader's goroutine: frame, decompression, envelope, then a
// copy of the event into a pooled buffer and a ring. The publisher's goroutine
// takes what waits in the ring, offers it to the Sink, notes for each
// acknowledged event how far its session is safe, and returns the buffers.
//
// # Who owns what
//
// A shard belongs to one goroutine of its reader, which alone calls its
// methods read, feed, step, connected, connectFailed and disconnected and alone
// touches its fields, except for three that other goroutines reach and that
// guard themselves: the wakeup flags (wakeups.go), the command queue (command_queue.go) and
// the acknowledged sequence number of a session (session.go). A shard does no
// I/O: it leaves bytes to be written in out and asks with hangup for the end of
// the connection, and the reader carries that out.
//
// # Invariants
//
//   - A shard's state is changed by shard.to alone, along the table in state.go.
//   - What follows the end of a connection is decided by decide alone.
//   - The token goes to the main URL, and to what a peer or a store names only if
//     wire.CheckURL lets it.
//   - Nothing is written to a socket that the send limiter has not counted.
//   - An Identify is sent only by the shard that holds its bucket's turn, after
//     the bucket's window has passed and the daily budget was counted down.
//   - The checkpoint of a session never passes an event that the Sink has not
//     acknowledged.
//   - What a peer sends costs no more than it is worth: before Identify or Resume a message has
//     64 KiB; what has not arrived whole counts against one budget for all shards, large messages
//     are inflated in turns (wire.Bounds), and a reader looks at the clock between messages.
//   - No wait is silent or for ever: watch.go, and warn in it, log them.
//   - No event of a session is published before the session is persisted (hold.go, checkpoints.go),
//     and the end of one is reported, and persisted until it is reported (gap.go).
package engine
