// This file keeps a new session's events back until the session is stored: bots must not see
// events of one that a crash would make forgotten, and whose rest they would miss in silence.

package engine

import (
	"bytes"
	"time"

	"sluice/wire"
)

// holdTimeout bounds how long a store may keep events back.
const holdTimeout = 10 * time.Second

// hold keeps an event back, the first of a session that is not stored yet, and pauses the
// shard. It returns false, and does nothing, if the session has been stored meanwhile.
func (s *shard) hold(now time.Time, e *wire.Envelope) bool {
	if s.session.stored.Load() {
		s.unstored = false
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
	s.held, s.holdBy = &held, now.Add(holdTimeout)
	s.paused, s.beat.excused = true, true
	s.env.opts.Hold()
	return true
}

// goOn ends the pause of a shard for which there may be room again, or whose session may be
// stored.
func (s *shard) goOn(now time.Time, flags uint32) {
	room := flags&wakeRoom != 0
	if s.unstored && s.held != nil {
		if !s.session.stored.Load() && now.Before(s.holdBy) {
			return
		}
		s.unstored, s.holdBy = false, time.Time{}
		room = !s.queue.full() || !s.queue.await(s) // or wakeRoom comes
	}
	if !room {
		return
	}
	s.paused = false
	if e := s.held; e != nil {
		s.held = nil
		s.dispatch(now, e)
		s.heldShare.Hold(0)
	}
	s.received(now)
}

// Stored tells the engine that a shard's session is stored, or cannot be: its events are
// handed on. See Options.Hold.
func (e *Engine) Stored(shard int, session string) {
	f := e.running.Load()
	select {
	case <-e.ended:
		return
	default:
	}
	if f == nil {
		return
	}
	s := f.find(shard)
	if s == nil {
		return
	}
	if ses := s.current.Load(); ses != nil && ses.id == session && !ses.stored.Swap(true) {
		s.wake(wakePersisted)
	}
}
