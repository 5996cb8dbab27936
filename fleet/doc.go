// Package fleet lets any number of processes share one bot: they divide its shards, hand them to
// each other, and take over from one that has died.
//
// # The argument
//
// Ownership is for liveness; safety rests on no lease and no clock. A process may be stopped for a
// minute between a check and the write behind it, clocks run at different rates, and a failover
// may forget. So each effect is fenced where it takes effect: the coordinator takes a checkpoint of
// nobody but the shard's owner, and a sink that can refuse (sinks.Claimer) writes an event only
// under the ownership that was claimed for its shard last, both in the step of the write. Where
// the broker cannot refuse, the owner stops publishing by itself, and each event carries its epoch.
//
// # Words
//
// A member is a process of the fleet. Its incarnation is random, and new at each start. It raises
// its beat once a second, which is one write for all of its shards. A shard is owned by an
// incarnation under an epoch, which never falls and never expires: owners are compared for
// equality, (incarnation, epoch) with (incarnation, epoch).
//
// Who has not seen a beat change for the time of death, on its own monotonic clock, may depose that
// incarnation, which then may be taken over from. A process that finds itself deposed drops its
// shards with all that they have read, and joins with a new incarnation. To take over is to
// acquire, to claim at the sink, then to load the checkpoint, then to connect. A handover is a
// shard that a live owner gives to another: it is drained and its checkpoint saved first, and the
// target dials once it has taken it; until then the giver may take it back, which raises the epoch.
//
// # Parts
//
// A Coordinator keeps the table of members and owners, the checkpoints and the turns to identify,
// and changes them in single steps. Package fleet/redis has it in Redis; fleet/memory, for tests,
// says what each step does. What a member does with the table is decided by pure functions (share.go,
// observer.go), and carried out by Fleet, which drives an engine, and knows nothing of sockets.
package fleet
