// This file declares what leaves the engine: events, and the sink that takes
// them.

package engine

import (
	"context"

	"sluice/pool"
)

// Event is one dispatch (op 0) on its way from Discord to a Sink.
//
// Type and Data are lent: they stay valid and unchanged until the Sink's
// Publish that received them returns, and must not be written to.
type Event struct {
	Shard   int    // id of the shard that received it
	Session string // Discord's session id
	Seq     int64  // Discord's sequence number within the session
	Type    []byte // the dispatch's name, such as MESSAGE_CREATE
	Data    []byte // the payload's d, byte for byte as Discord sent it

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
	// Publish hands on the events of batch in order and returns when it knows
	// how many of them, counted from the first, are safe with the receiver:
	// those are acknowledged and never offered again. It keeps no reference
	// to batch or to the bytes in it. A non-nil error is final: the engine
	// stops and returns it. A sink that can mend a failure does so within
	// Publish, for as long as ctx lasts.
	Publish(ctx context.Context, batch []Event) (acked int, err error)

	// Close hands on what Publish may have buffered and releases the sink.
	Close() error
}
