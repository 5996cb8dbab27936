// This file keeps a new session's events back until the session is persisted: bots must not see
// events of one that a crash would make forgotten, and whose rest they would miss in silence.

package engine

import (
	"bytes"
	"time"

	"sluice/wire"
)

// holdTimeout bounds how long Options.Checkpoints may keep events back, but for those of a shard with an epoch: of a
// session that the store does not know its next owner would know nothing.
const holdTimeout = 10 * time.Second

// hold keeps an event back, the first of a session that is not persisted yet, and pauses the
// shard. It returns false, and does nothing, if the session has been persisted meanwhile.
func (s *shard) hold(now time.Time, e *wire.Envelope) bool {
	if s.session.persisted.Load() {
		s.unpersisted = false
		return false
	}
	if len(e.Data) > keptScratch {
		if err := s.heldShare.Hold(len(e.Data)); err != nil {
			s.broken(now, err)
			return true
		}
	}
	held := *e
	held.Type, held.Data = bytes.Clone(e.Type), bytes.Clone(e.Data)
	if s.held = &held; s.epoch == 0 {
		s.holdBy = now.Add(holdTimeout)
	}
	s.paused, s.beat.excused = true, true
	s.counters.paused.Store(true)
	s.env.saver.want()
	return true
}

// goOn ends the pause of a shard for which there may be room again, or whose session may be
// persisted.
func (s *shard) goOn(now time.Time, flags uint32) {
	room := flags&wakeRoom != 0
	if s.unpersisted && s.held != nil {
		if !s.session.persisted.Load() && (s.holdBy.IsZero() || now.Before(s.holdBy)) {
			return
		}
		s.unpersisted, s.holdBy = false, time.Time{}
		room = !s.queue.full() || !s.queue.await(s) // or wakeRoom comes
	}
	if !room {
		return
	}
	s.paused = false
	s.counters.paused.Store(false)
	if e := s.held; e != nil {
		s.held = nil
		s.name = nameIndex(e.Type)
		s.dispatch(now, e)
		s.heldShare.Hold(0)
	}
	s.received(now)
}

// markPersisted publishes the events of a session that is persisted, or cannot be. Any goroutine
// may call it.
func (s *session) markPersisted() {
	if !s.persisted.Swap(true) {
		s.shard.Load().wake(wakePersisted)
	}
}
