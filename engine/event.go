// This file declares what leaves the engine: events, and the sink that takes
// them.

package engine

import (
	"context"

	"sluice/pool"
)

// Event is one dispatch (op 0) on its way from Discord to a Sink.
//
// Type and Data are lent: they stay valid and unchanged until the Sink has
// acknowledged the event, and must not be written to.
type Event struct {
	Shard   int    // id of the shard that received it
	Session string // Discord's session id
	Seq     int64  // Discord's sequence number within the session
	Type    []byte // the dispatch's name, such as MESSAGE_CREATE
	Data    []byte // the payload's d, byte for byte as Discord sent it
	Began   int64  // when this process began the session by an Identify, in nanoseconds of Unix time; 0: one before it has
	Gap     bool   // a GapEvent, which is the engine's own: Session and Seq are those of the session that has ended

	origin *session     // takes the acknowledgement
	outlet *outlet      // counts size
	buf    *pool.Buffer // holds Type and Data
	size   int          // bytes in use until the acknowledgement
}

// Sink takes events to wherever bots read them.
//
// The engine calls Publish from one goroutine at a time, with the events of
// each shard in the order in which Discord sent them.
type Sink interface {
	// Publish hands on the events of batch in order. It returns once it can
	// take the next batch, which may be long before these are safe with the
	// receiver. When the n oldest of those that are not yet acknowledged are,
	// over all batches, it calls acked(n), within Publish or later, on one
	// goroutine at a time: they are never offered again, and batch and the
	// bytes in it no longer lent as far as they go.
	//
	// A failure that can be mended is the sink's to mend, for as long as ctx
	// lasts. A non-nil error is final: the engine stops and returns it, and
	// Discord is asked again for what was not acknowledged.
	Publish(ctx context.Context, batch []Event, acked func(n int)) error

	// Close releases the sink. Publish has returned, and either all events are
	// acknowledged or those that are not are given up.
	Close() error
}
