// This file declares an event and the sink that takes it.

package sinks

import (
	"context"
	"errors"
)

// Event is one dispatch (op 0) from Discord, or a gap.
//
// Type and Data are borrowed until the Sink has acknowledged the event: until then they
// stay valid and unchanged, and must not be written to.
type Event struct {
	Shard   int    // id of the shard that received it
	Session string // Discord's session id
	Seq     int64  // Discord's sequence number within the session
	Type    []byte // the dispatch's name, such as MESSAGE_CREATE
	Data    []byte // the payload's d, byte for byte as Discord sent it
	Began   int64  // orders the sessions of a shard: when this one was begun by an Identify, in nanoseconds of Unix time; in a fleet the Epoch of then, times a million, plus a count; 0: not known, as an earlier process has begun it
	Epoch   int64  // of the ownership under which the shard is run (package fleet); 0: in no fleet
	Gap     bool   // a GapEvent: Session and Seq are those of the session that has ended

	Generation int32 // of the shard count that Shard is one of, while two of them run in one process: see package engine/overlap
}

// gapSuffix makes the session of a gap of that which has ended. No id of Discord's has a slash.
const gapSuffix = "/gap"

// Identity returns the session and the seq that consumers are given of the event: with the shard
// they identify it, and stay the same when it is redelivered. A gap is the only event of a
// session of its own, so that consumers which keep the last seq of each session, and have
// had the gap's, do not take it for that event. A session ends once, while the seq at which it
// ends may be another after a crash: the gap's seq is 1.
func (ev *Event) Identity() (session string, seq int64) {
	if ev.Gap {
		return ev.Session + gapSuffix, 1
	}
	return ev.Session, ev.Seq
}

// GapEvent is the name of the event that reports a Gap. Discord has none of that name.
const GapEvent = "GATEWAY_GAP"

// Gap is a session that Discord has not continued: what happened between its last
// event and the first of the next session has no event. The zero value is none.
type Gap struct {
	Session string // Discord's id of the session that has ended
	Seq     int64  // of the last event of it that was received, or was persisted as received
	At      int64  // when its end was known; Unix time in milliseconds
	Reason  string // why
}

// Sink takes events to wherever bots read them.
//
// Publish is called from one goroutine at a time, with the events of
// each shard in the order in which Discord sent them.
type Sink interface {
	// Publish takes the events of batch in order. It returns once it can
	// take the next batch, which may be long before these are safe with the
	// receiver. When the n oldest of those that are not yet acknowledged are,
	// over all batches, it calls acked(n), within Publish or later, on one
	// goroutine at a time: they are never offered again, and batch and the
	// bytes in it no longer borrowed as far as they go. A sink whose broker
	// acknowledges out of order keeps the order with package window.
	//
	// A failure that can be mended is the sink's to mend, for as long as ctx
	// lasts. A non-nil error is final: the engine stops and returns it, and
	// Discord is asked again for what was not acknowledged.
	Publish(ctx context.Context, batch []Event, acked func(n int)) error

	// Close releases the sink. Publish has returned, and either all events are
	// acknowledged or those that are not are given up.
	Close() error
}

// Opener is a Sink as a broker's package has it. What makes it checks its options and returns at
// once; it connects to nothing.
type Opener interface {
	Sink

	// Open tries to connect, once, before Publish is called, or not at all. After nil the
	// connection is there and is kept. An error that is ErrConfig is one that waiting does not
	// mend. After any other, Open may be called again, or Publish, which connects by itself for
	// as long as it takes.
	Open(ctx context.Context) error
}

// ErrConfig is what errors.Is finds in an error of Open that waiting does not mend: somebody has
// to change the settings, here or at the broker.
var ErrConfig = errors.New("the settings are not right")
