// This file is a session: its numbers, its replay buffer, its life and end.

package sim

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"sluice/wire"
)

// session outlives connections. Fields above mu never change.
type session struct {
	srv     *Server
	id      string
	number  int64 // in the order of beginning
	shard   int
	count   int
	intents wire.Intents
	query   string // v, encoding and compress of the connection it began on
	guilds  []int  // indices of the guilds of this shard
	limit   int    // of the replay buffer
	payload bool   // payload compression was asked for
	log     *sessionLog

	mu     sync.Mutex
	seq    int64 // of the last dispatch
	replay []replayed
	conn   *conn   // nil while nobody is attached
	also   []*conn // old connections that get every event beside conn
	ended  bool
	ttl    *time.Timer // runs while conn is nil

	rng    *rand.Rand
	gaps   *rand.Rand   // of Options.Poisson: the events are the same at other moments
	stream *time.Timer  // guilds that have not come yet
	rest   []int        // these, by their places in guilds
	away   map[int]bool // guilds that are unavailable, and come by themselves
	tick   *time.Timer  // live traffic
	last   time.Time    // of the last tick
	owed   float64      // the part of an event that is due
	next   time.Time    // when the next event is due, with Options.Poisson
	loaded []int        // guilds that the client has
	play   *player      // instead of stream and traffic
	gen    generator
	late   []late        // of Options.Common
	lag    time.Duration // that these have
}

// replayed is an event in the replay buffer, as the whole message.
type replayed struct {
	seq  int64
	at   time.Time
	body []byte
}

// appendDispatch appends the message of an event.
func appendDispatch(b []byte, typ string, seq int64, d []byte) []byte {
	b = append(b, `{"t":"`...)
	b = append(b, typ...)
	b = append(b, `","s":`...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, `,"op":0,"d":`...)
	b = append(b, d...)
	return append(b, '}')
}

// dispatch sends an event to the client if there is one, and keeps it for a
// Resume either way. d is copied. It returns the event's seq, 0 if the session
// has ended.
func (s *session) dispatch(typ string, d []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dispatchLocked(typ, d)
}

func (s *session) dispatchLocked(typ string, d []byte) int64 {
	if s.ended {
		return 0
	}
	s.seq++
	body := appendDispatch(make([]byte, 0, len(d)+len(typ)+40), typ, s.seq, d)
	s.srv.ledger.event(s.log, typ, Hash(d))
	s.keep(body)
	s.sendLocked(item{msg: body, seq: s.seq, log: s.log})
	return s.seq
}

// keep puts the newest event into the replay buffer and drops what is too much.
func (s *session) keep(body []byte) {
	now := time.Now()
	if s.play != nil {
		s.play.instead[s.seq] = body
		return
	}
	s.replay = append(s.replay, replayed{s.seq, now, body})
	drop := max(0, len(s.replay)-s.limit)
	for drop < len(s.replay) && now.Sub(s.replay[drop].at) > s.srv.opt.ReplayAge {
		drop++
	}
	if drop > 0 {
		clear(s.replay[:drop])
		s.replay = s.replay[drop:]
	}
}

// after returns the messages after seq, and whether the buffer still has them
// all. Called with s.mu held.
func (s *session) after(seq int64) ([]replayed, bool) {
	if s.play != nil {
		return s.play.after(s, seq), true
	}
	now := time.Now()
	n := int(s.seq - seq)
	if n > len(s.replay) {
		return nil, false
	}
	missed := s.replay[len(s.replay)-n:]
	if n > 0 && now.Sub(missed[0].at) > s.srv.opt.ReplayAge {
		return nil, false
	}
	return missed, true
}

// attachLocked makes c the session's connection. What becomes of the one before
// is said by a, which may be nil.
func (s *session) attachLocked(c *conn, a *Action) {
	if old := s.conn; old != nil && old != c {
		s.replaceLocked(old, a)
	}
	s.conn = c
	if s.ttl != nil {
		s.ttl.Stop()
		s.ttl = nil
	}
}

// detach leaves the session without a connection, if c is still the one, and
// lets it expire after a while.
func (s *session) detach(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(c)
	if s.conn == c && !s.ended {
		s.detachLocked()
	}
}

func (s *session) detachLocked() {
	s.conn = nil
	if n := len(s.also); n > 0 { // one is left
		s.conn, s.also = s.also[n-1], s.also[:n-1]
		return
	}
	s.ttl = time.AfterFunc(s.srv.opt.SessionTTL, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.conn == nil {
			s.endLocked(EndExpired)
		}
	})
}

// endIf ends the session if c is its connection.
func (s *session) endIf(c *conn, reason EndReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.endLocked(reason)
	}
}

// endFor ends the session unless it is attached to another connection than c.
func (s *session) endFor(c *conn, reason EndReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || s.conn == c {
		s.endLocked(reason)
	}
}

func (s *session) end(reason EndReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(reason)
}

func (s *session) endLocked(reason EndReason) {
	if s.ended {
		return
	}
	s.ended = true
	s.conn, s.also = nil, nil
	for _, t := range []*time.Timer{s.ttl, s.stream, s.tick} {
		if t != nil {
			t.Stop()
		}
	}
	s.replay, s.play = nil, nil
	s.srv.ledger.end(s.log, reason)
	s.srv.opt.Log.Info("session ended", "shard", s.shard, "session", s.id, "seq", s.seq, "reason", string(reason))
	s.srv.forget(s)
}
