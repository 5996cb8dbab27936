// This file has what can be seen of a running engine.

package engine

import (
	"slices"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// Status is what an Engine does, as of one moment, or nearly: shards go on while it is read.
type Status struct {
	Shards   int // the shard count of the bot; 0: Run does not know it yet
	Running  int // shards that this engine runs
	Ready    int // of them, in state Ready
	Counts   Counts
	Queue    QueueStatus
	Identify IdentifyStatus
	Commands CommandStatus
	Readers  []ReaderStatus
	Reshard  ReshardStatus

	Names     []NameCount     // events of Counts.Events by their name, in the order of the names
	Ended     []EndCount      // connections that ended, or could not be made; also where Count is 0
	Lag       sinks.Histogram // seconds from the read of an event's socket to its acknowledgement; a gap's is that of the event behind it
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
	Cause string         // one of EndCauses
	Code  wire.CloseCode // that came or went with it; 0: none; OtherCode: one that nobody documents
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
	Pending   int            // commands that wait, those not counted that are sent with an equal one
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
	Permitted      bool // by Options.Permit, too, each in its turn
}

// CommandStatus counts commands since Run began.
type CommandStatus struct {
	Sent     int64            // written to a connection
	Pending  int64            // that wait now
	Replaced int64            // obsolete by a newer one, or equal to a pending one
	Refused  map[string]int64 // by reason: each of RefusalReasons
	Waited   sinks.Histogram  // seconds from Engine.Send to the write, of Sent
}

// ReaderStatus is a goroutine that reads for shards. Those of ReaderGoroutine, of which each has one
// shard, are there only while they work.
type ReaderStatus struct {
	Turned time.Time // when it last went on from a wait
	Waits  bool      // for sockets, timers or a wakeup: it makes progress, however long ago Turned is
}

// Status returns what the engine does. Run need not have begun.
func (e *Engine) Status() Status {
	t := Status{
		Commands: e.counts.commandStatus(), Ended: e.counts.ended(),
		RoundTrip: e.counts.roundTrip.status(), Lateness: e.counts.lateness.status(),
	}
	f := e.running.Load()
	if f == nil {
		t.Queue.MaxBytes = int64(e.opts.QueueBytes)
		t.Lag = newHistogram(lagBounds).status()
		return t
	}
	now := f.current.Load()
	t.Shards = now.gen.shards
	t.Counts, t.Running = now.past, len(now.all)
	queued := 0
	for _, s := range now.all {
		s.counters.addTo(&t.Counts)
		t.Commands.Pending += int64(s.commands.pending())
		switch s.state() {
		case Ready:
			t.Ready++
		case IdentifyQueued:
			queued++
		}
	}
	t.Queue = f.publisher.status(time.Now())
	t.Queue.MaxBytes = int64(e.opts.QueueBytes)
	t.Identify = f.env.identify.status()
	switch q := e.opts.Identify.(type) {
	case nil:
	case IdentifyReporter:
		t.Identify = q.Status()
	default: // the other hands out no turns
		t.Identify.Waiting, t.Identify.Left = queued, q.Left()
	}
	t.Reshard = e.Resharding()
	t.Readers = f.reader.status(nil, f.everyone())
	t.Names = f.publisher.names()
	t.Lag = f.publisher.lag.status()
	return t
}

func (e *engineCounts) commandStatus() CommandStatus {
	t := CommandStatus{
		Sent: e.commands.Load(), Replaced: e.replaced.Load(), Refused: make(map[string]int64, numRefusals), Waited: e.waited.status(),
	}
	for i, reason := range RefusalReasons {
		t.Refused[reason] = e.refusals[i].Load()
	}
	return t
}

// status returns what waits, but for Options.QueueBytes. Any goroutine may call it.
func (p *publisher) status(now time.Time) QueueStatus {
	t := QueueStatus{Events: p.waiting(), InFlight: p.inFlight()}
	if oldest := p.oldest.Load(); t.InFlight > 0 {
		t.Oldest = max(0, time.Duration(p.since(now)-oldest))
	}
	for _, q := range p.queues {
		bytes, paused := q.status()
		t.Bytes += bytes
		t.Paused += paused
	}
	return t
}

// AppendShards appends the shards that run now, in the order of their ids.
func (e *Engine) AppendShards(dst []ShardStatus) []ShardStatus {
	all := e.running.Load().list()
	dst = slices.Grow(dst, len(all))
	for _, s := range all {
		dst = append(dst, ShardStatus{})
		s.status(&dst[len(dst)-1])
	}
	return dst
}

// status fills in what is known of the shard. Any goroutine may call it.
func (s *shard) status(t *ShardStatus) {
	c := &s.counters
	*t = ShardStatus{ID: s.id, State: s.state(), Since: time.Unix(0, c.since.Load()), Paused: c.paused.Load(), Pending: s.commands.pending()}
	c.addTo(&t.Counts)
	if ses := s.current.Load(); ses != nil {
		t.Session, t.Seq = ses.id, ses.seq()
	}
	if last := c.lastEvent.Load(); last > 0 {
		t.LastEvent = s.queue.publisher.moment(last)
	}
	c.notesMu.Lock()
	defer c.notesMu.Unlock()
	t.Ended, t.LastACK = c.ended, c.lastACK
	if !t.Ended.IsZero() {
		t.Cause, t.Code = c.cause.kind.String(), c.cause.code
	}
	if t.State == Backoff {
		t.RetryAt = c.retryAt
	}
	t.RoundTrips, t.RoundTripCount, t.RoundTripSum = c.roundTrips, c.trips, c.tripsSum
	if n := int64(len(t.RoundTrips)); c.trips > 0 {
		t.RoundTrip = t.RoundTrips[(c.trips-1)%n]
	}
}
