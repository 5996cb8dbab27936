// This file has what can be seen of a running engine.

package engine

import (
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// Status is what an Engine does, as of one moment, or nearly: shards go on while it is read.
type Status struct {
	Shards   int // the shard count of the bot; 0: Run does not know it yet
	Counts   Counts
	Queue    QueueStatus
	Identify IdentifyStatus
	Commands CommandStatus
	Readers  []ReaderStatus

	Names     []NameCount     // events of Counts.Events by their name, in the order of the names
	Ended     []EndCount      // connections that ended, or could not be made
	Lag       sinks.Histogram // seconds from the read of an event's socket to its acknowledgement
	RoundTrip sinks.Histogram // seconds from a heartbeat to its acknowledgement
	Lateness  sinks.Histogram // seconds between the moment a heartbeat was due and that it was sent
}

// NameCount counts the events of a name. Those that Discord does not document are counted as one, with
// the name "other".
type NameCount struct {
	Name  string
	Count int64
}

// EndCount counts the ends of connections for a cause.
type EndCount struct {
	Cause string // one of EndCauses
	Code  wire.CloseCode
	Count int64
}

// Counts are counts since Run began: of one shard, or of all, those that were removed included.
type Counts struct {
	Events        int64 // left for the sink
	Filtered      int64 // not asked for by Options.Events
	Repeated      int64 // sent again by Discord after a resume, and dropped
	Identifies    int64 // Identify payloads sent
	Sessions      int64 // sessions begun (READY)
	Resumes       int64 // sessions continued (RESUMED)
	Lost          int64 // sessions given up
	Gaps          int64 // left for the sink, which Events does not count
	Connections   int64 // made: the handshake of WebSocket has succeeded
	WireBytes     int64 // received, as they came out of TLS
	InflatedBytes int64 // of the messages in them
	Sent          int64 // payloads sent: heartbeats, Identify, Resume and commands
}

// ShardStatus is what is known of a shard.
type ShardStatus struct {
	ID    int
	State State
	Since time.Time // when State began
	Counts
	Session   string         // Discord's id, with which a session can be continued: not to be shown whole; empty: there is none
	Seq       int64          // of the last event of it that was received
	LastEvent time.Time      // when it was received, to a few milliseconds; zero: none was
	LastACK   time.Time      // when the last heartbeat was acknowledged; zero: none was
	RoundTrip time.Duration  // from that heartbeat to its acknowledgement; 0: none was acknowledged on any connection
	Paused    bool           // nothing is read: the event queue is full, or the session is not persisted yet
	Pending   int            // commands that wait
	Ended     time.Time      // when its last connection ended, or could not be made; zero: none has
	Cause     string         // why; one of EndCauses
	Code      wire.CloseCode // that came or went with it; 0: none
	RetryAt   time.Time      // in Backoff: when it connects

	// The last round trips, in no order; 0: there were fewer. Of all there were so many, with that sum.
	RoundTrips     [16]time.Duration
	RoundTripCount int64
	RoundTripSum   time.Duration
}

// QueueStatus is what waits between the shards and the sink's acknowledgement.
type QueueStatus struct {
	Events   int           // not acknowledged, those that the sink has included; about
	InFlight int           // of them: that the sink has
	Bytes    int64         // of them all
	MaxBytes int64         // Options.QueueBytes
	Oldest   time.Duration // since the oldest of them was read from its socket; 0: there is none
	Paused   int           // shards that wait for room
}

// IdentifyStatus is the identify queue of this process and the bot's budget.
type IdentifyStatus struct {
	MaxConcurrency int
	Waiting        int  // shards that wait for a turn
	Known          bool // Discord has said how much is left; without it Total and Left are 0
	Total, Left    int  // Identifies of a day, and those that may still be sent
	Reserve        int  // of Left, not for this process
	Reset          time.Time
	Exhausted      bool // shards wait for Reset
}

// CommandStatus counts commands since Run began.
type CommandStatus struct {
	Sent     int64            // written to a connection
	Pending  int64            // that wait now
	Replaced int64            // obsolete by a newer one, or equal to a pending one
	Refused  map[string]int64 // by reason, one of RefusalReasons
}

// ReaderStatus is a goroutine that reads for shards.
type ReaderStatus struct {
	Turned time.Time // when it last began to wait, or went on from it
	Waits  bool      // for sockets, timers or a wakeup: it makes progress, however long ago Turned is
}

// Status returns what the engine does. Run need not have begun.
func (e *Engine) Status() Status {
	var t Status
	f := e.running.Load()
	if f == nil {
		return t
	}
	t.Shards = f.env.shards
	return t
}

// AppendShards appends the shards that run now, in the order of their ids.
func (e *Engine) AppendShards(dst []ShardStatus) []ShardStatus {
	f := e.running.Load()
	if f == nil {
		return dst
	}
	for _, s := range f.list() {
		dst = append(dst, s.status())
	}
	return dst
}

func (s *shard) status() ShardStatus {
	return ShardStatus{ID: s.id, State: s.state(), Since: time.Unix(0, s.counters.since.Load())}
}
