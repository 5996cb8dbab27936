// This file holds what a shard needs to continue where it stopped.

package engine

import "sync/atomic"

// session is a shard's running session.
type session struct {
	id        string
	resumeURL string
	began     int64 // see Event.Began
	shard     *shard

	// Written by the reader: an event is queued before seq says that it was received.
	seq    atomic.Int64 // last dispatch that was queued or filtered out
	queued atomic.Int64 // last dispatch that was queued

	seen      bool        // something may have been published; owned by the reader
	persisted atomic.Bool // Options.Checkpoints has it, or does not take it

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
