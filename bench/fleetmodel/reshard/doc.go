// Package reshard is a model of how the members of a fleet change the shard count, as packages fleet and engine do it: classes,
// agreements, the switch, the commit, and what each member does when an attempt fails or another count is in force.
//
// Each step is atomic: one of the coordinator (scripts.go, as fleet/memory has it), of the sink, or of a process between two of them. A
// member may stop for ever between any two of its steps, may die at each, and may be deposed while it lives. It acts on the table
// as it is; that it has read an older one is a call that comes late. From 1 shard to 2 and from 2 to 1 there is one class. From 2 to 2
// there are two, of which each has one new shard: that stands for 2 to 4.
//
// Discord's events are numbered by guild, and all sessions see them alike; the new ones from where they began. The invariants:
//
//	I1  a consumer gets no event of a guild twice
//	I2  nothing is written of a guild under an ownership once a later one is claimed, of either count
//	I3  no event of a guild is left out, and no session was ended that is to be resumed; so the order is kept, with I1
//	I4  the epochs of a shard's events never fall
//	I5  a state in which nothing is pending, each shard of the count in force has one owner that has delivered everything, and
//	    nobody runs another, stays within reach
//	I6  of the new count nothing goes out before the commit, and of the old one nothing after it
//
// What the model of ownership has is not here: the steps of a handover, checkpoints of the old shards (the position at the sink
// stands for them), batches that are written late, sessions that Discord refuses. Nor are events that differ between
// old and new sessions, the bounds of the overlap, session starts, and time: an attempt fails for it at any moment.
package reshard
