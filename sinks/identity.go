// This file makes the identity of an event: what its consumers know a repeat by.

package sinks

import "sluice/engine"

// gapSuffix makes the session of a gap of that which has ended. No id of Discord's has a slash.
const gapSuffix = "/gap"

// Identity returns the session and the seq that consumers are given of an event: with the shard
// they name it, and stay the same when it is delivered again. A gap is the only event of a
// session of its own, so that consumers which know the last seq of each session, and have
// seen the gap's, do not take it for that event. A session ends once, while the seq at which it
// ends may be another after a crash: the gap's seq is 1.
func Identity(ev *engine.Event) (session string, seq int64) {
	if ev.Gap {
		return ev.Session + gapSuffix, 1
	}
	return ev.Session, ev.Seq
}
