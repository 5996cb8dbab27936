// This file documents the package and holds the settings of a Sink.

// Package redis writes events to Redis Streams and reads commands from them.
//
// # Writing
//
// Each event is an entry of a stream, named as Options.Stream says, with the value
// in the field "data". A batch is one call of a script (script.go), which counts
// the entries that it has written, in a key of its own beside the streams: the
// offset. A batch that is sent again because its answer was cut off finds there how
// much of it has been written, and one that overtakes a failed batch finds that
// it must not be. So entries are neither repeated nor out of order, whatever
// happens to the connection and however many batches are in flight.
//
// The same step notes the last event of each shard, its position (position.go). The process that
// follows one which was killed finds there which of the events that Discord sends
// it again are written, and leaves them out.
//
// In a Cluster the streams lie on different servers. There is an offset for each
// hash tag, a batch becomes a call for each, and the order holds within each
// stream.
package redis

import (
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
)

// Options are the settings of a Sink. Client, Body and Log are required.
type Options struct {
	// Client says where Redis is and how to reach it; NewClientOption makes
	// one of addresses. The Sink sets what it needs of the rest.
	Client rueidis.ClientOption
	// Stream appends the name of the stream that an event goes to; nil: the
	// event's name.
	Stream func(dst []byte, ev *sinks.Event) []byte
	// Body appends the value of the field data. An event for which it fails is
	// dead-lettered.
	Body func(dst []byte, ev *sinks.Event) ([]byte, error)
	// Fields follow data in each entry; none by default.
	Fields []Field
	// Bot names whose events these are. Those that an earlier Sink with the same name has
	// written, in this process or another, are not written again, as Shard, Session
	// and Seq identify. Empty: they are.
	Bot string
	// Owner is this process's name in a fleet, of letters and digits, which no other process ever has: events with
	// an Epoch are written while the shard is claimed by nobody above it (Sink.Claim). Bot is required then.
	Owner string
	// Deposed, if set, is called for an event that is not written since its shard is another's by now, before
	// the event is acknowledged. It must not wait; it may be called more than once.
	Deposed func(shard int, epoch int64)
	// Retention bounds the age of entries (MINID), MaxLen their number; both
	// roughly, as Redis trims whole nodes. 0: not bounded.
	Retention time.Duration
	MaxLen    int64
	// Replicas is how many replicas must have a batch before it is acknowledged
	// (WAIT), so that a failover to one of them loses nothing. 0: none; in a
	// Cluster it has no effect.
	Replicas int
	// DeadLetter takes an event that Redis will never take, with the reason; the
	// event is borrowed for the call, which comes on one of two goroutines. An error
	// says that the event is lost. nil: it is.
	DeadLetter func(ev *sinks.Event, reason error) error
	// Log takes outages and dead letters.
	Log *slog.Logger
}

// Field is a field of an entry beside data.
type Field uint8

const (
	FieldEvent   Field = iota // "event": the event's name
	FieldShard                // "shard": the id of the shard, in decimal
	FieldSession              // "session": Discord's session id
	FieldSeq                  // "seq": the sequence number in the session, in decimal
	FieldEpoch                // "epoch": that of the shard's owner in a fleet, in decimal; 0 in none
)

var fieldNames = [...]string{"event", "shard", "session", "seq", "epoch"}

// String returns the field's name in an entry.
func (f Field) String() string { return fieldNames[f] }

// ParseField returns the field of a name.
func ParseField(name string) (Field, bool) {
	for i, n := range fieldNames {
		if n == name {
			return Field(i), true
		}
	}
	return 0, false
}
