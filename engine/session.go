// This file holds what a shard needs to continue where it stopped.

package engine

import (
	"sync/atomic"

	"sluice/resume"
)

// session is a shard's running session.
type session struct {
	id        string
	resumeURL string
	began     int64                 // see sinks.Event.Began
	shard     atomic.Pointer[shard] // another one when the shard was stopped for a switch that failed

	// Owned by the reader.
	last       int64 // dispatch that was queued or filtered out
	lastQueued int64 // that was queued
	seen       bool  // something may have been published

	// The same for others, as of the last show: twice last, and one more if behind lastQueued there is what
	// was filtered out; only then is queued up to date.
	shown  atomic.Int64
	queued atomic.Int64

	skip    string // see resume.Session.Skip; fixed, as skipEnd, the last of them
	skipEnd int64
	skips   map[int64]struct{} // the same, owned by the reader; nil: none

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

// skipping has the session leave out what is persisted as acknowledged by itself.
func (s *session) skipping(text string) {
	seqs, err := resume.ParseSkip(text)
	if err != nil || len(seqs) == 0 {
		return
	}
	s.skip, s.skipEnd, s.skips = text, seqs[len(seqs)-1], make(map[int64]struct{})
	for _, seq := range seqs {
		s.skips[seq] = struct{}{}
	}
}

// done reports whether an event is to be left out.
func (s *session) done(seq int64) bool {
	_, ok := s.skips[seq]
	if s.skips != nil && seq >= s.skipEnd {
		s.skips = nil
	}
	return ok
}

// show publishes how far the session has come: queued first, see checkpoint.
func (s *session) show() {
	shown := s.last << 1
	if s.last != s.lastQueued {
		show(&s.queued, s.lastQueued)
		shown |= 1
	}
	show(&s.shown, shown)
}

// seq returns the last dispatch that was queued or filtered out, as of the last show. Any goroutine may call it.
func (s *session) seq() int64 { return s.shown.Load() >> 1 }

// checkpoint returns a sequence number such that it and all before it were acknowledged or filtered
// out: the highest, as of the last show. Any goroutine may call it: what it loads after shown can only have
// grown since, and what was queued before shown is not above queued.
func (s *session) checkpoint() int64 {
	shown := s.shown.Load()
	if shown&1 == 0 {
		return s.acked.Load()
	}
	queued, acked := s.queued.Load(), s.acked.Load()
	if acked < queued {
		return acked
	}
	return max(acked, shown>>1)
}
