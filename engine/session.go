// This file holds what a shard needs to continue where it stopped.

package engine

import "sync/atomic"

// session is a shard's running session.
type session struct {
	id        string
	resumeURL string
	began     int64 // see Event.Began
	shard     *shard

	// Owned by the reader.
	last       int64 // dispatch that was queued or filtered out
	lastQueued int64 // that was queued
	seen       bool  // something may have been published

	// last and lastQueued for others than the reader, as of the last show.
	seq    atomic.Int64
	queued atomic.Int64

	persisted atomic.Bool // Options.Checkpoints has it, or does not take it

	// Written by the publisher.
	acked atomic.Int64 // last dispatch that the sink acknowledged
}

func newSession(id, resumeURL string, seq int64) *session {
	s := &session{id: id, resumeURL: resumeURL, last: seq, lastQueued: seq}
	s.show()
	s.acked.Store(seq)
	return s
}

// show publishes how far the session has come: queued first, see checkpoint.
func (s *session) show() {
	show(&s.queued, s.lastQueued)
	show(&s.seq, s.last)
}

// checkpoint returns a sequence number such that it and all before it were acknowledged or filtered
// out: the highest, as of the last show. Any goroutine may call it: what it loads after seq can only have
// grown since, and what was queued up to seq is not above queued.
func (s *session) checkpoint() int64 {
	seq, queued, acked := s.seq.Load(), s.queued.Load(), s.acked.Load()
	if acked < queued {
		return acked
	}
	return seq
}
