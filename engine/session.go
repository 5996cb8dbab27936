// This file holds what a shard needs to continue where it stopped.

package engine

import "sync/atomic"

// Session is what resumes a shard's stream of events. The zero value means
// that there is none.
type Session struct {
	ID        string // Discord's session id
	ResumeURL string // resume_gateway_url; empty: the main URL
	Seq       int64  // every event up to this one is acknowledged or filtered out
	Shards    int    // shard count that the session belongs to
}

// SessionStore keeps the sessions of shards from one Engine to the next.
//
// Its methods are called from many goroutines, and on the goroutine that reads
// from a shard's socket: they must not wait.
type SessionStore interface {
	// Load returns the shard's session, if there is one.
	Load(shard int) (Session, bool)
	// Save replaces the shard's session; the zero Session removes it.
	Save(shard int, s Session)
}

// session is a shard's running session.
type session struct {
	// owned by the reader
	id        string
	resumeURL string
	seq       int64 // last dispatch that was handed on or filtered out
	queued    int64 // last dispatch that was handed on

	// set by the lane
	acked atomic.Int64 // last dispatch that the sink acknowledged
}

func newSession(id, resumeURL string, seq int64) *session {
	s := &session{id: id, resumeURL: resumeURL, seq: seq, queued: seq}
	s.acked.Store(seq)
	return s
}

// checkpoint returns the highest sequence number such that it and all before
// it were acknowledged or filtered out. The reader's goroutine calls it.
func (s *session) checkpoint() int64 {
	if acked := s.acked.Load(); acked < s.queued {
		return acked
	}
	return s.seq
}
