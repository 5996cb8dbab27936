// This file is the ledger: what the server did, and what clients did to it.

package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/wire"
)

// Ledger writes down every event dispatched to every session, whether a
// connection was there or not, and everything clients did. Its methods may be
// called at any time from any goroutine and return copies.
type Ledger struct {
	mu         sync.Mutex
	eventLimit int
	sessions   []*sessionLog
	byID       map[string]*sessionLog
	typeIDs    map[string]uint16
	typeNames  []string

	connects         list[Connect]
	identifies       list[Identify]
	resumes          list[Resume]
	closes           list[Close]
	commands         list[Command]
	heartbeats       list[Heartbeat]
	faults           list[Fault]
	violations       int
	droppedPresences int
	maxSends         int
	dispatched       int64
	common           []CommonEvent
}

// list keeps the newest entries and the number of all that ever were.
type list[T any] struct {
	limit int
	total int
	items []T
}

func (l *list[T]) add(v T) {
	l.total++
	if len(l.items) >= 2*l.limit && l.limit > 0 {
		l.items = append(l.items[:0], l.items[l.limit:]...)
	}
	l.items = append(l.items, v)
}

func (l *list[T]) copy() []T {
	return slices.Clone(l.items[max(0, len(l.items)-l.limit):])
}

// sessionLog is what the ledger holds of one session, guarded by Ledger.mu.
type sessionLog struct {
	info   SessionInfo
	first  int64 // seq of events[0]
	events []eventLog
}

type eventLog struct {
	hash    uint64
	typ     uint16
	written uint16
}

// SessionInfo describes a session.
type SessionInfo struct {
	ID      string
	Shard   int
	Count   int
	Intents wire.Intents
	Created time.Time
	Ended   time.Time // zero while it lives
	End     EndReason
	Last    int64 // seq of the last event dispatched to it
	Claimed int64 // highest seq that the client said it had, in heartbeats and resumes

	// Refused says whether a Resume of it was refused, RefusedSeq the seq
	// that was asked for: the events after it were not replayed.
	Refused       bool
	RefusedSeq    int64
	RefusedReason string
	Resumes       int // that succeeded
	// CutResumes counts attempts that a fault ended before RESUMED was written.
	CutResumes int
}

// EndReason is why a session ended.
type EndReason string

const (
	EndNone        EndReason = ""                    // it lives
	EndClient      EndReason = "closed by client"    // with 1000 or 1001
	EndExpired     EndReason = "expired"             // nobody came back in time
	EndOverrun     EndReason = "replay overrun"      // the replay buffer no longer held what was asked for
	EndInvalidated EndReason = "invalidated"         // op 9 false, by a fault or by hand
	EndServer      EndReason = "closed by server"    // with a code that ends sessions
	EndToken       EndReason = "token reset"         // the Identify budget was overspent
	EndBadSeq      EndReason = "invalid seq"         // Resume with a seq that was never sent
	EndBadCommand  EndReason = "bad command"         // the client sent what Discord answers with 4001
	EndShutdown    EndReason = "simulator shut down" //
)

// Event is an event as it was dispatched to a session.
type Event struct {
	Seq     int64
	Type    string
	Hash    uint64 // Hash of its d
	Written int    // how often it was written to a connection
}

// Connect is a WebSocket upgrade.
type Connect struct {
	Time     time.Time
	Conn     int64  // number of the connection, from 1
	Host     string // role of the listener: "gateway" or "resume"
	Query    string
	Compress string
}

// Identify is an op 2. Outcome is "ready" (READY follows, unless the connection
// ends before), "bucket" (refused by op 9), "fault", or the close code.
type Identify struct {
	Time    time.Time
	Conn    int64
	Shard   int
	Count   int
	Bucket  int
	Intents wire.Intents
	Session string
	Outcome string
	// Presence is that object as it came; empty: there was none.
	Presence string
}

// Resume is an op 6. Outcome is "resumed", "cut", a reason why op 9 was sent,
// or the close code.
type Resume struct {
	Time          time.Time
	Conn          int64
	Shard         int // -1 when the session is unknown
	Session       string
	Seq           int64
	Host          string
	QueryRepeated bool // v, encoding and compress as on the connection before
	Replayed      int
	Outcome       string
}

// Close is the end of a connection: the first close frame of either side, or
// code 1006 when there was none.
type Close struct {
	Time       time.Time
	Conn       int64
	Shard      int // -1 before Identify or Resume
	Session    string
	FromClient bool
	Code       wire.CloseCode
	Reason     string
}

// Command is a message from a client other than a heartbeat.
type Command struct {
	Time  time.Time
	Conn  int64
	Shard int
	Op    wire.Opcode
	Raw   []byte // the whole message; tokens are in it
}

// Heartbeat is an op 1 from a client. Seq is -1 for null.
type Heartbeat struct {
	Time  time.Time
	Conn  int64
	Shard int
	Seq   int64
	Acked bool
}

// Fault is something that the server did wrong on purpose.
type Fault struct {
	Time  time.Time
	Conn  int64
	Shard int
	Kind  Kind
}

func newLedger(o Options) *Ledger {
	l := &Ledger{eventLimit: o.EventLimit, byID: make(map[string]*sessionLog), typeIDs: make(map[string]uint16)}
	l.connects.limit = o.LogLimit
	l.identifies.limit = o.LogLimit
	l.resumes.limit = o.LogLimit
	l.closes.limit = o.LogLimit
	l.commands.limit = o.LogLimit
	l.heartbeats.limit = o.LogLimit
	l.faults.limit = o.LogLimit
	return l
}

// with runs f under the lock.
func (l *Ledger) with(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *Ledger) newSession(info SessionInfo) *sessionLog {
	log := &sessionLog{info: info, first: 1}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = append(l.sessions, log)
	l.byID[info.ID] = log
	return log
}

// event adds the next event of a session.
func (l *Ledger) event(log *sessionLog, typ string, hash uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eventLocked(log, typ, hash)
}

func (l *Ledger) eventLocked(log *sessionLog, typ string, hash uint64) {
	id, ok := l.typeIDs[typ]
	if !ok {
		id = uint16(len(l.typeNames))
		l.typeIDs[typ] = id
		l.typeNames = append(l.typeNames, typ)
	}
	if n := len(log.events); n >= l.eventLimit && n >= 2 {
		log.events = append(log.events[:0], log.events[n/2:]...)
		log.first += int64(n / 2)
	}
	log.events = append(log.events, eventLog{hash: hash, typ: id})
	log.info.Last++
	l.dispatched++
}

// written counts a write of each of seqs.
func (l *Ledger) written(log *sessionLog, seqs []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range seqs {
		if i := seq - log.first; i >= 0 && i < int64(len(log.events)) && log.events[i].written < 1<<16-1 {
			log.events[i].written++
		}
	}
}

func (l *Ledger) end(log *sessionLog, reason EndReason) {
	l.with(func() {
		if log.info.End == EndNone {
			log.info.End, log.info.Ended = reason, time.Now()
		}
	})
}

// Sessions returns all sessions in the order in which they began.
func (l *Ledger) Sessions() []SessionInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]SessionInfo, len(l.sessions))
	for i, s := range l.sessions {
		out[i] = s.info
	}
	return out
}

// Events returns what was dispatched to a session, in order of seq.
func (l *Ledger) Events(session string) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.byID[session]
	if log == nil {
		return nil
	}
	out := make([]Event, len(log.events))
	for i, e := range log.events {
		out[i] = Event{Seq: log.first + int64(i), Type: l.typeNames[e.typ], Hash: e.hash, Written: int(e.written)}
	}
	return out
}

// Connects returns the WebSocket upgrades, in order.
func (l *Ledger) Connects() (out []Connect) {
	l.with(func() { out = l.connects.copy() })
	return out
}

// Identifies returns the Identifies, in order of their outcome.
func (l *Ledger) Identifies() (out []Identify) {
	l.with(func() { out = l.identifies.copy() })
	return out
}

// Resumes returns the Resumes, in order.
func (l *Ledger) Resumes() (out []Resume) {
	l.with(func() { out = l.resumes.copy() })
	return out
}

// Closes returns the ends of connections, in order.
func (l *Ledger) Closes() (out []Close) {
	l.with(func() { out = l.closes.copy() })
	return out
}

// Commands returns what clients sent but heartbeats, in order.
func (l *Ledger) Commands() (out []Command) {
	l.with(func() { out = l.commands.copy() })
	return out
}

// Heartbeats returns the heartbeats, in order.
func (l *Ledger) Heartbeats() (out []Heartbeat) {
	l.with(func() { out = l.heartbeats.copy() })
	return out
}

// Faults returns the faults that were staged, in order.
func (l *Ledger) Faults() (out []Fault) {
	l.with(func() { out = l.faults.copy() })
	return out
}

// Summary is a Ledger in figures.
type Summary struct {
	Connects      int
	Identifies    int
	BucketRefused int // Identifies above the buckets, among the kept
	Sessions      int
	Alive         int
	Resumes       int
	Resumed       int
	Refused       map[string]int // Resumes that did not succeed, by Resume.Outcome, among the kept
	OnResumeHost  int            // Resumes that came to the resume host
	QueryMissing  int            // Resumes that did not repeat the query
	Events        int64
	Heartbeats    int
	Commands      int
	RateLimited   int // connections closed with 4008
	MaxSends      int // most messages of one connection in any SendWindow
	Faults        int
	// DroppedPresences counts presence updates above 5 in 20 s of a connection.
	DroppedPresences int
}

// Summary returns the ledger in figures.
func (l *Ledger) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Summary{
		Connects: l.connects.total, Identifies: l.identifies.total, Sessions: len(l.sessions),
		Resumes: l.resumes.total, Events: l.dispatched, Heartbeats: l.heartbeats.total,
		Commands: l.commands.total, RateLimited: l.violations, MaxSends: l.maxSends, Faults: l.faults.total,
		DroppedPresences: l.droppedPresences, Refused: make(map[string]int),
	}
	for _, i := range l.identifies.items {
		if i.Outcome == "bucket" {
			s.BucketRefused++
		}
	}
	for _, x := range l.sessions {
		if x.info.End == EndNone {
			s.Alive++
		}
	}
	for _, r := range l.resumes.items {
		if r.Outcome == "resumed" {
			s.Resumed++
		} else {
			s.Refused[r.Outcome]++
		}
		if r.Host == "resume" {
			s.OnResumeHost++
		}
		if !r.QueryRepeated {
			s.QueryMissing++
		}
	}
	return s
}

// String returns the figures on a few lines.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "connections %d, identifies %d (%d refused by bucket), sessions %d (%d alive)\n",
		s.Connects, s.Identifies, s.BucketRefused, s.Sessions, s.Alive)
	fmt.Fprintf(&b, "resumes %d (%d resumed, %d on the resume host, %d without the query)\n",
		s.Resumes, s.Resumed, s.OnResumeHost, s.QueryMissing)
	for _, outcome := range slices.Sorted(maps.Keys(s.Refused)) {
		fmt.Fprintf(&b, "resumes not done %d: %s\n", s.Refused[outcome], outcome)
	}
	fmt.Fprintf(&b, "events %d, heartbeats %d, commands %d, faults %d\n", s.Events, s.Heartbeats, s.Commands, s.Faults)
	fmt.Fprintf(&b, "most sends in a window %d, closed for it %d", s.MaxSends, s.RateLimited)
	return b.String()
}
