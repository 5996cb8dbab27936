// Package ownership is a model of how the members of a fleet own shards: takeover, handover, what
// the store and the sink refuse, and a failover of Redis that forgets writes.
//
// Each step is atomic: a script of the coordinator, of the store or of the sink, or a step of a
// process between two of them. A member may stop for ever between any two of its steps, which is
// a pause, a slow call, a cut from Redis and a lost answer at once. Deposing needs no clock here:
// any member may be deposed at any time. Faults have a budget, so that the states are finite.
//
// The invariants:
//
//	I1  a consumer gets each seq of a session once, in order
//	I2  nothing is written by a deposed incarnation after its seal
//	I3  nothing is lost: no seq is left out, no session is left that Discord has not refused
//	    or whose gap was not published, and no checkpoint is beyond what the sink has
//	I4  a checkpoint never goes back to an older session
//	I5  a state in which each shard has one live owner that has delivered everything stays
//	    within reach
//	I6  no event of a session comes after the first of a later one
//
// It leaves out: the parts of a batch that go to different slots of a Cluster, and several batches
// in flight (package slots); Identify turns (package turns), commands (package commands), the
// generations of a reshard (package reshard), the returning member (package returns); clocks
// (package clocks). None of these changes what a step here may do: they only delay steps, and here
// every step may be delayed for ever. The share is left out, since it decides who wants a shard,
// and here everyone may want any.
package ownership
