// This file holds what a shard needs to continue where it stopped.

package engine

import (
	"sluice/sinks"
	"sync/atomic"
)

// Session is what resumes a shard's stream of events. The zero value means
// that there is none.
type Session struct {
	ID        string // Discord's session id
	ResumeURL string // resume_gateway_url; empty: the main URL
	Seq       int64  // every event up to this one is acknowledged or filtered out
	Shards    int    // shard count that the session belongs to; 0: not known
	// Gaps are to be told before the session's next event, oldest first; there may be some
	// without a session.
	Gaps [2]sinks.Gap
}

// AddGap adds one. Of more than two the first and the last are kept.
func (s *Session) AddGap(g sinks.Gap) {
	if s.Gaps[0] == (sinks.Gap{}) {
		s.Gaps[0] = g
	} else {
		s.Gaps[1] = g
	}
}

// session is a shard's running session.
type session struct {
	id        string
	resumeURL string
	began     int64 // see Event.Began
	shard     *shard

	// Written by the reader: an event is queued before seq says that it was received.
	seq    atomic.Int64 // last dispatch that was handed on or filtered out
	queued atomic.Int64 // last dispatch that was handed on

	seen   bool        // something may have been handed on; owned by the reader
	stored atomic.Bool // a store has it, or does not take it

	// Written by the publisher.
	acked atomic.Int64 // last dispatch that the sink acknowledged
}

func newSession(id, resumeURL string, seq int64) *session {
	s := &session{id: id, resumeURL: resumeURL}
	s.seq.Store(seq)
	s.queued.Store(seq)
	s.acked.Store(seq)
	return s
}

// checkpoint returns the highest sequence number such that it and all before
// it were acknowledged or filtered out. Any goroutine may call it: the order of the
// loads is that of what can only have grown since.
func (s *session) checkpoint() int64 {
	seq, queued, acked := s.seq.Load(), s.queued.Load(), s.acked.Load()
	if acked < queued {
		return acked
	}
	return seq
}
