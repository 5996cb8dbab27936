// This file is a shard's connection.

package engine

import (
	"time"

	"sluice/wire"
)

// connection is what a shard has for the life of a connection. It is made anew for each, and
// belongs to the shard's owner.
type connection struct {
	// What has arrived.
	frames   wire.FrameReader
	inflater wire.Inflater
	more     bool   // received has stopped before it was done
	worked   int    // bytes that it has worked through, inflated, since the reader looked
	whole    []byte // the buffer of the message at hand, if an event may take it along
	taken    bool   // it has

	paused    bool           // nothing is read: there is no room for events, or one is held
	held      *wire.Envelope // not published yet; a copy
	heldShare wire.Share     // for held
	holdBy    time.Time      // with held: it is published, persisted or not; zero: it is not

	// What is to be sent.
	out       []byte // to be written by the reader
	hangup    bool   // to be closed by the reader, after out
	limiter   sendLimiter
	unwritten []*waitingCommand // in out, or not yet taken by the system

	beat       heartbeat
	helloBy    time.Time
	identifyAt time.Time
	askedAt    time.Time // when Identify or Resume was sent
	warnAt     time.Time // when it is logged that no answer has come
	readyBy    time.Time
	resumeBy   time.Time
	commandAt  time.Time // when the next command may be sent; zero: when one is added
	readyAt    time.Time
}

// newConnection returns the state of a connection on which nothing has been sent or received.
func newConnection(env *environment) (connection, error) {
	c := connection{frames: wire.FrameReader{Budget: env.arriving}, heldShare: wire.Share{Budget: env.arriving}}
	o := env.opts
	if o.Compression != wire.CompressionNone {
		var err error
		if c.inflater, err = wire.NewInflater(o.Compression, o.MaxMessage, env.bounds); err != nil {
			return c, err
		}
	}
	c.bound(min(handshakeMessage, o.MaxMessage))
	return c, nil
}

// release gives up what the connection holds. out and hangup are left to the reader.
func (c *connection) release() {
	if c.inflater != nil {
		c.inflater.Close()
		c.inflater = nil
	}
	c.more = false
	c.held, c.holdBy = nil, time.Time{} // Discord sends it again
	c.heldShare.Hold(0)
	c.frames.Reset()
}

// bound sets the bound of the messages to come, in bytes.
func (c *connection) bound(n int) {
	c.frames.MaxMessage = n
	if c.inflater != nil {
		c.frames.MaxMessage = compressedBound(n)
		c.inflater.Limit(n)
	}
}

// compressedBound returns the most that a message of n bytes has compressed: JSON of that size is
// compressed to less than a quarter.
func compressedBound(n int) int { return n/4 + handshakeMessage }
