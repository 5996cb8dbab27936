// This file is the package's documentation: the event path, who owns
// what, and the invariants.

// Package engine runs Discord gateway shards and publishes their events to a Sink.
//
// # The event path
//
// A reader drives the connections of its shards. It gives what it reads from a
// shard's socket to shard.read, or to shard.feed, which borrows it until it returns. They run
// to the end on the reader's goroutine: frame, decompression, envelope, queue (queue.go). An event travels in the
// buffer that it was inflated into, of which many have one; what is not compressed, or large, is copied there. The publisher's goroutine
// (publisher.go) takes what is in the queues and gives it to the Sink, which borrows it until it
// acknowledges, in order, on whatever goroutine it likes. The acknowledgement notes how far the
// session is safe, and gives back the buffers and the room in the queue. An event allocates nothing
// and, but for a queue that goroutines share, takes no lock.
//
// # Who owns what
//
// A shard belongs to one goroutine of its reader, which alone calls its
// methods read, feed, step, connected, connectFailed and disconnected and alone
// touches its fields, except for those that other goroutines reach and that
// guard themselves: the wakeup flags (wakeups.go), the command queue (command_queue.go), the
// counters with the state, the session that is current and how far it is acknowledged (session.go),
// the gaps (gap.go), what an operator asks for (control.go), and how the shard ends: leaving, deposed, released, drained. What lives for one
// connection is a value of its own (connection.go). A shard does no
// I/O: it leaves bytes to be written in out and asks with hangup for the end of
// the connection, and the reader carries that out.
//
// A checkpoint is read by any goroutine (session.checkpoint). What the owner has queued and received it shows
// when it has worked through what was read, queued first: reading in the reverse order finds no event as
// received that is not acknowledged, unless it was filtered out. A new session's first event is kept back by its owner until it is persisted
// (hold.go). Where a disk spool stands before the broker it is the Sink, and its acknowledgement counts.
//
// Commands are added by any goroutine (Engine.Send) and taken by the owner when the shard is ready and the send
// limits allow it. What was not written when a connection ended goes before the others on the next. What a
// shard that is removed or deposed has not written is given back (sinks.Command.Dropped).
//
// # What is counted, and by whom
//
// Whoever does a thing counts it, in a field of its own that other goroutines only read; nothing is looked up by
// name for an event, and nothing is locked. Reading (status.go) stops nobody, and is exact but for what goes on meanwhile.
//
//   - The owner counts what its shard receives in plain fields (tally), and shows them to others by atomic
//     stores once it has worked through a read: for many events that is one store. Bytes and the time of the
//     last event are shown more seldom (showBytes, showAge).
//   - The owner alone writes shardCounters, whose values are atomic, and shardNotes, which are behind a
//     mutex since several belong together: the end of a connection and the acknowledgement of a heartbeat, never an event.
//   - Events by name are counted by the producer of a queue (names.go): in plain fields if one goroutine has the
//     queue, else by atomic additions. Payloads by shard and name (packets.go) are counted by the owner, and only if
//     Options.PacketCounts asks for it.
//   - published is written by the publisher's goroutine; acked and the histogram lag by acknowledge, on whatever goroutine
//     the Sink calls it, one at a time; oldest by the former if nothing was in flight, else by the latter.
//   - engineCounts are those of all shards together: what is seldom, by any goroutine, with atomic additions; ends
//     of connections by cause behind a mutex.
//   - The counts of a shard that is removed are added to those of the set (currentShards.past) in the step that
//     takes it out, so that no sum falls.
//   - What the Sink counts is the Sink's (sinks.Reporter).
//
// # Shards that come and go
//
// Engine.Add, Remove and Depose (shards.go) change the set of shards, a sorted slice that is replaced. A shard that is
// removed, or stops, leaves a barrier behind its last event (barriers.go). When the Sink has acknowledged all before the
// barrier, the shard is drained; then its last snapshot is persisted, its connection closed, and it is released. What is taken of
// a deposed shard is dropped before it is given to the Sink, until its barrier is passed. The queues are those of the readers, not of the
// shards: one for each goroutine of the epoll reader, one that all goroutines of the other share.
//
// # Another shard count
//
// Engine.Reshard (reshard.go, resharding.go) runs the shards of the next count beside those in force: a generation each (generation.go). What
// both get goes through package overlap, between the publisher and the Sink, which lets nothing of the next generation
// out before the switch. Status, commands and snapshots are of the generation in force. The switch stops the old
// shards, waits until all that they have given is acknowledged and was shown by the new ones, too, has the snapshots of the
// new ones persisted in place of all others (Replacer), and makes them those in force. Whatever fails before
// that is taken back: the old ones resume.
//
// Where several engines run a bot, each has a part of it (Part, part.go): the shards of some classes, of both generations. Old ones come and
// go until the switch, new ones are begun beside those of their class and end with them; what is compared follows. Others say when all
// are to be switched, and then decide, when the old shards of all are drained, whether the new ones are in force: until then an
// engine can go back, and while it waits nothing goes out. Nothing of the new ones goes out before they are in force.
//
// # Invariants
//
//   - A shard's state is changed by shard.to alone, along the table in state.go.
//   - What follows the end of a connection is decided by decide alone.
//   - The token goes to the main URL, and to what a peer or a store names only if
//     wire.CheckURL lets it.
//   - Nothing is written to a socket that the send limiter has not counted.
//   - An Identify is sent only by the shard that holds its bucket's turn (IdentifyQueue), and a fresh permission if it needs one (permit.go), after
//     the bucket's window has passed and the daily budget was counted down.
//   - The checkpoint of a session never passes an event that the Sink has not
//     acknowledged.
//   - What a peer sends costs no more than it is worth: before Identify or Resume a message has
//     64 KiB; what has not arrived whole counts against one budget for all shards, large messages
//     are inflated in turns (wire.Bounds), and a reader looks at the clock between messages.
//   - No wait is silent or for ever: watch.go, and warn in it, log them.
//   - No event of a session is published before the session is persisted (hold.go, checkpoints.go), without an
//     epoch for 10 s at the most,
//     and the end of one is reported to consumers, and persisted until it is (gap.go).
//   - A shard with an epoch connects, resumes and identifies only while its ownership is confirmed, and keeps
//     a connection without that, unless the process was stopped (confirm.go).
//   - A shard that is removed is not read from, and its connection is closed when its last snapshot is persisted. Of one that was deposed no further batch is given to
//     the Sink and no further snapshot taken: what had begun goes on, and is theirs to refuse.
package engine
