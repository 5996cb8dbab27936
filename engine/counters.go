// This file is what is counted: of a shard by its owner, and of all shards where it is seldom.

package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/wire"
)

// tally is what a shard counts of what it receives. It belongs to the owner, who shows it to
// others when it has worked through what was read: that is once for many events, if many came. To show
// costs as much as to count a hundred times, so that bytes and the time of the last event are shown more seldom.
type tally struct {
	events    int64
	filtered  int64
	repeated  int64
	wire      int64
	inflated  int64
	lastEvent int64 // when it was read; see publisher.since
}

// shardCounters are written by the owner and read by any goroutine.
type shardCounters struct {
	state atomic.Uint32
	since atomic.Int64 // when the state began; Unix time in nanoseconds

	// As of the last show.
	events    atomic.Int64
	filtered  atomic.Int64
	repeated  atomic.Int64
	wire      atomic.Int64
	inflated  atomic.Int64
	lastEvent atomic.Int64

	identifies  atomic.Int64
	resumes     atomic.Int64
	sessions    atomic.Int64
	lost        atomic.Int64
	gaps        atomic.Int64
	connections atomic.Int64
	sent        atomic.Int64

	paused atomic.Bool

	shardNotes
}

// shardNotes are changed seldom, with notesMu held.
type shardNotes struct {
	notesMu    sync.Mutex
	ended      time.Time // the last connection, or the attempt to make one
	cause      cause     // why
	retryAt    time.Time
	lastACK    time.Time
	roundTrips [16]time.Duration // the last ones; the newest is before that at trips modulo 16
	trips      int64
	tripsSum   time.Duration
}

const (
	// showBytes and showAge are what may be missing of the bytes, until the next heartbeat or another
	// state, and of the time of the last event.
	showBytes = 16 << 10
	showAge   = int64(2 * time.Millisecond)
)

// show publishes the tally. What has not changed costs a look.
func (s *shard) show() {
	c, t := &s.counters, &s.tally
	if s.session != nil {
		s.session.show()
	}
	show(&c.events, t.events)
	show(&c.filtered, t.filtered)
	show(&c.repeated, t.repeated)
	if t.lastEvent-c.lastEvent.Load() >= showAge {
		c.lastEvent.Store(t.lastEvent)
	}
	if t.wire-c.wire.Load() >= showBytes || t.inflated-c.inflated.Load() >= showBytes {
		s.showBytes()
	}
}

// showBytes publishes the bytes of the tally.
func (s *shard) showBytes() {
	show(&s.counters.wire, s.tally.wire)
	show(&s.counters.inflated, s.tally.inflated)
}

func show(a *atomic.Int64, n int64) {
	if a.Load() != n {
		a.Store(n)
	}
}

// addTo adds the counts to those of t. Any goroutine may call it.
func (c *shardCounters) addTo(t *Counts) {
	t.Events += c.events.Load()
	t.Filtered += c.filtered.Load()
	t.Repeated += c.repeated.Load()
	t.Identifies += c.identifies.Load()
	t.Sessions += c.sessions.Load()
	t.Resumes += c.resumes.Load()
	t.Lost += c.lost.Load()
	t.Gaps += c.gaps.Load()
	t.Connections += c.connections.Load()
	t.WireBytes += c.wire.Load()
	t.InflatedBytes += c.inflated.Load()
	t.Sent += c.sent.Load()
}

// noteEnd notes the end of a connection, and when the next is made.
func (s *shard) noteEnd(now, retryAt time.Time, c cause) {
	n := &s.counters.shardNotes
	n.notesMu.Lock()
	n.ended, n.cause, n.retryAt = now, c, retryAt
	n.notesMu.Unlock()
	s.env.counts.end(c)
}

// noteACK notes the acknowledgement of a heartbeat. The time from a heartbeat to it is known of the
// first one that was not acknowledged: those behind it are acknowledged after it.
func (s *shard) noteACK(now time.Time) {
	n := &s.counters.shardNotes
	n.notesMu.Lock()
	defer n.notesMu.Unlock()
	n.lastACK = now
	sentAt := s.beat.sentAt
	s.beat.sentAt = time.Time{}
	if sentAt.IsZero() || s.beat.excused {
		return // a pause would be taken for Discord's slowness
	}
	trip := max(now.Sub(sentAt), 1) // 0: there is none
	n.roundTrips[n.trips%int64(len(n.roundTrips))] = trip
	n.trips++
	n.tripsSum += trip
	s.env.counts.roundTrip.observe(trip, 1)
}

// countSent counts a payload that is about to be sent.
func (s *shard) countSent(op wire.Opcode) {
	s.counters.sent.Add(1)
	if s.packets != nil {
		s.packets.send(op)
	}
}

// engineCounts are those of all shards together. Any goroutine may use them.
type engineCounts struct {
	roundTrip *histogram
	lateness  *histogram
	waited    *histogram // by commands

	commands atomic.Int64 // sent
	replaced atomic.Int64 // commands

	refusals [numRefusals]atomic.Int64

	endsMu sync.Mutex
	ends   map[cause]int64
}

func newEngineCounts() *engineCounts {
	e := &engineCounts{
		roundTrip: newHistogram(roundTripBounds), lateness: newHistogram(latenessBounds), waited: newHistogram(waitedBounds),
		ends: make(map[cause]int64),
	}
	// All that there can be begin at 0: who sees a counter for the first time with 1 does not see it rise.
	for kind := range causeKind(len(causeNames)) {
		codes := []wire.CloseCode{0}
		switch kind {
		case causeClosed:
			codes = append(wire.CloseCodes(), OtherCode)
		case causeBroken:
			codes = []wire.CloseCode{wire.CloseProtocolError, wire.CloseInvalidPayload, wire.CloseTooBig}
		}
		for _, code := range codes {
			e.ends[cause{kind, code}] = 0
		}
	}
	return e
}

// OtherCode stands for the close codes that neither Discord nor RFC 6455 documents, where ends are counted by
// code: a peer must not make as many counters as it likes.
const OtherCode wire.CloseCode = 0xFFFF

// EndCauses are the causes for which connections end, or cannot be made.
var EndCauses = causeNames[:]

// end counts the end of a connection.
func (e *engineCounts) end(c cause) {
	if c.code != 0 && !slices.Contains(wire.CloseCodes(), c.code) {
		c.code = OtherCode
	}
	e.endsMu.Lock()
	defer e.endsMu.Unlock()
	e.ends[c]++
}

// ended returns the ends, in the order of causes and codes.
func (e *engineCounts) ended() []EndCount {
	e.endsMu.Lock()
	causes := make([]cause, 0, len(e.ends))
	for c := range e.ends {
		causes = append(causes, c)
	}
	slices.SortFunc(causes, func(a, b cause) int {
		return (int(a.kind)-int(b.kind))<<16 + int(a.code) - int(b.code)
	})
	counts := make([]EndCount, len(causes))
	for i, c := range causes {
		counts[i] = EndCount{c.kind.String(), c.code, e.ends[c]}
	}
	e.endsMu.Unlock()
	return counts
}
