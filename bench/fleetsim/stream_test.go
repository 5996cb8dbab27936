// This file is the broker: one stream of events, and for each shard what was written of it last and by whom.

package fleetsim

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"sluice/bench/sim"
	"sluice/sinks"
)

// stream stands for Redis as sinks/redis uses it: a command carries events, and for each of their shards
// what its position is thought to be and what it is to be. It is written if all are as thought,
// in one step, or not at all, and then answered with what they are.
type stream struct {
	w *world

	mu        sync.Mutex
	positions map[int]position
	entries   []entry
	sessions  map[string]*told // what has been written of each session
	claimed   map[int]tag      // the highest claim of each shard
	last      map[int]string   // the session of each shard's last event
	epochs    map[int]int64    // of each shard's last event
}

func newStream(w *world) *stream {
	return &stream{
		w: w, positions: make(map[int]position), sessions: make(map[string]*told), claimed: make(map[int]tag),
		last: make(map[int]string), epochs: make(map[int]int64),
	}
}

// entry is an event in the stream.
type entry struct {
	sinks.Event // without Type and Data
	typ         string
	hash        uint64
	owner       string
}

// told is what the stream has of a session.
type told struct {
	shard int
	seq   int64 // highest
	epoch int64 // of its last event
	gaps  int
	ended bool  // another session of its shard has followed
	after int64 // epoch of that one's first event
}

// position is what sinks/redis/position.go stores of a shard.
type position struct {
	session string
	seq     int64  // endOfSession: its gap is written
	before  string // the last sessions whose gap was written
	began   int64
	tag     tag
}

type tag struct {
	epoch int64
	owner string
}

const endOfSession = 1<<63 - 1

// excludes reports whether the shard is another's by now.
func (t tag) excludes(e *entry) bool {
	return t.epoch > e.Epoch || t.epoch == e.Epoch && t.epoch > 0 && t.owner != e.owner
}

func (e *entry) seq() int64 {
	if e.Gap {
		return endOfSession
	}
	return e.Seq
}

func (p position) same(e *entry) bool {
	return e.Session == p.session && (e.Began == 0 || e.Began == p.began)
}

// next returns the position after an event.
func (p position) next(e *entry) position {
	n := position{session: e.Session, seq: e.seq(), before: p.before, began: cmp.Or(e.Began, p.began), tag: tag{e.Epoch, e.owner}}
	if p.seq == endOfSession && !p.same(e) {
		n.before = strings.TrimPrefix(p.before+","+p.session, ",")
		if strings.Count(n.before, ",") == 3 {
			_, n.before, _ = strings.Cut(n.before, ",")
		}
	}
	return n
}

// covers reports whether an event is written already, or comes too late.
func (p position) covers(e *entry) bool {
	switch {
	case e.Began > p.began:
		return false
	case e.Began > 0 && e.Began < p.began:
		return true
	case e.Session != p.session:
		return slices.Contains(strings.Split(p.before, ","), e.Session)
	case e.seq() <= p.seq || !p.same(e):
		return true
	}
	return e.Gap && e.Began == 0 && slices.Contains(strings.Split(p.before, ","), e.Session)
}

// write takes a command: events, and their shards' positions before and after them. It returns the
// positions as they are, and whether it has written.
func (s *stream) write(events []entry, before, after map[int]position) (are map[int]position, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	are, written = make(map[int]position, len(before)), true
	for shard, p := range before {
		are[shard] = s.positions[shard]
		written = written && are[shard] == p
	}
	if !written {
		return are, false
	}
	for i := range events {
		s.check(&events[i])
	}
	s.entries = append(s.entries, events...)
	maps.Copy(s.positions, after)
	return after, true
}

// check holds an event that is written against what was before it.
func (s *stream) check(e *entry) {
	if c := s.claimed[e.Shard]; c.epoch > e.Epoch || c.epoch == e.Epoch && c.owner != e.owner {
		s.w.wrong("shard %d: event %d of session %.8s is written under (%d, %s), and (%d, %s) has claimed it", e.Shard, e.Seq, e.Session, e.Epoch, e.owner, c.epoch, c.owner)
	}
	if e.Epoch < s.epochs[e.Shard] {
		s.w.wrong("shard %d: epoch %d comes behind %d", e.Shard, e.Epoch, s.epochs[e.Shard])
	}
	s.epochs[e.Shard] = e.Epoch
	t := s.sessions[e.Session]
	if t == nil {
		t = &told{shard: e.Shard}
		s.sessions[e.Session] = t
	}
	if e.Gap {
		if t.gaps++; t.gaps > 1 {
			s.w.wrong("shard %d: the end of session %.8s is reported %d times", e.Shard, e.Session, t.gaps)
		}
		if t.ended {
			s.w.wrong("shard %d: the gap of session %.8s comes behind the next session's events", e.Shard, e.Session)
		}
		return
	}
	if last := s.last[e.Shard]; last != e.Session {
		if t.ended {
			s.w.wrong("shard %d: event %d of session %.8s comes behind events of %.8s, which is newer", e.Shard, e.Seq, e.Session, last)
		}
		if before := s.sessions[last]; before != nil {
			before.ended, before.after = true, e.Epoch
			if before.gaps == 0 {
				s.w.wrong("shard %d: session %.8s is followed by %.8s, and no gap tells it", e.Shard, last, e.Session)
			}
		}
		s.last[e.Shard] = e.Session
	}
	if t.gaps > 0 {
		s.w.wrong("shard %d: event %d of session %.8s comes behind its gap", e.Shard, e.Seq, e.Session)
	}
	if e.Seq != t.seq+1 {
		s.w.wrong("shard %d: event %d of session %.8s comes behind %d", e.Shard, e.Seq, e.Session, t.seq)
	}
	t.seq, t.epoch = max(t.seq, e.Seq), e.Epoch
}

// claim claims shards for an owner.
func (s *stream) claim(owner string, epochs map[int]int64) (map[int]sinks.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, refused := make(map[int]sinks.Position), make(map[int]int64)
	for shard, epoch := range epochs {
		p := s.positions[shard]
		if p.tag.epoch > epoch || p.tag.epoch == epoch && p.tag.owner != owner {
			refused[shard] = p.tag.epoch
			continue
		}
		at[shard] = sinks.Position{Session: p.session, Seq: p.seq, Began: p.began}
		if p.seq == endOfSession {
			at[shard] = sinks.Position{Session: p.session, Ended: true, Began: p.began}
		}
		p.tag = tag{epoch, owner}
		s.positions[shard], s.claimed[shard] = p, p.tag
	}
	if len(refused) > 0 {
		return at, &sinks.ClaimedError{Epochs: refused}
	}
	return at, nil
}

// reached returns the highest seq that is written of a session.
func (s *stream) reached(session string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.sessions[session]; t != nil {
		return t.seq
	}
	return 0
}

// received returns the events as the ledger compares them.
func (s *stream) received() []sim.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]sim.Received, 0, len(s.entries))
	for i := range s.entries {
		if e := &s.entries[i]; !e.Gap {
			out = append(out, sim.Received{Shard: e.Shard, Session: e.Session, Seq: e.Seq, Type: e.typ, Hash: e.hash})
		}
	}
	return out
}
