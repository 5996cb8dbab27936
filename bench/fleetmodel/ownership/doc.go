// Package ownership is a model of how the members of a fleet own shards, as package fleet does it:
// takeover, handover, what the coordinator and the sink refuse, and a failover of Redis that forgets writes.
//
// Each step is atomic: one of the coordinator (fleet/memory has the same as code), of the sink, or of a
// process between two of them. A member may stop for ever between any two of its steps, which is
// a pause, a slow call, and a cut from Redis at once. Deposing needs no clock here:
// any member may be deposed at any time. Faults have a budget, so that the states are finite.
//
// The invariants:
//
//	I1  a consumer gets each seq of a session once, in order
//	I2  nothing is written under an ownership once a later one of the shard is claimed
//	I3  nothing is lost: no seq is left out, no session is left that Discord has not refused
//	    or whose gap was not published, and no checkpoint is beyond what the sink has
//	I4  a checkpoint never goes back to an older session
//	I5  a state in which each shard has one live owner that has delivered everything stays
//	    within reach
//	I6  no event of a session comes after the first of a later one
//
// It leaves out turns to identify, commands, another shard count (see package reshard) and clocks: they delay steps, and here
// every step may be delayed for ever. The share is left out, since it decides who wants a shard,
// and here everyone may want any. The sink's writer compares its own copy of a position, and reads
// Redis' if that is another; since its script writes nothing then, both are one step here.
package ownership
