// This file keeps a connection alive and notices when it is not.

package engine

import (
	"time"

	"github.com/valyala/bytebufferpool"

	"sluice/wire"
)

// maxUnanswered heartbeats without an acknowledgement make a zombie of a
// connection that still receives events. One or two may lie behind megabytes
// of them.
const maxUnanswered = 3

// heartbeat is the state of a connection's heartbeats. It belongs to the
// reader.
type heartbeat struct {
	interval   time.Duration
	at         time.Time // when the next one is due
	unanswered int       // sent in a row without an acknowledgement
	sentAt     time.Time // the first of them, if its round trip is to be taken
	heard      bool      // a byte has arrived since the last one
	excused    bool      // reading was paused since the last one: silence is our own
}

// startHeartbeat begins the heartbeats: the first somewhere within the first
// interval, so that shards which connect together do not beat together.
func (s *shard) startHeartbeat(now time.Time, interval time.Duration) {
	s.beat.interval = interval
	s.beat.at = now.Add(time.Duration(s.rand.Int64N(int64(interval))))
}

// keepAlive sends the heartbeat that is due, or ends the connection if nothing
// was heard since the last one.
func (s *shard) keepAlive(now time.Time) {
	b := &s.beat
	if now.Before(b.at) {
		return
	}
	if s.paused {
		b.excused = true
	}
	if b.unanswered > 0 && !b.excused && (!b.heard || b.unanswered >= maxUnanswered) {
		s.end(now, cause{kind: causeZombie}, nil)
		return
	}
	if b.excused {
		b.unanswered, b.sentAt = 0, time.Time{}
	}
	due := b.at
	if !s.sendHeartbeat(now) {
		return
	}
	s.env.counts.lateness.observe(now.Sub(due), 1)
	s.showBytes()
	b.at = b.at.Add(b.interval)
	if b.at.Before(now) {
		b.at = now.Add(b.interval)
	}
	b.unanswered++
	b.heard = false
	b.excused = s.paused
}

// sendHeartbeat sends a heartbeat; without room in the send limit it only puts
// off the next one and returns false.
func (s *shard) sendHeartbeat(now time.Time) bool {
	if at := s.limiter.next(now, sendLimit); at.After(now) {
		s.beat.at = at
		return false
	}
	payload := bytebufferpool.Get()
	if s.session != nil {
		payload.B = wire.AppendHeartbeat(payload.B[:0], s.session.last, true)
	} else {
		payload.B = wire.AppendHeartbeat(payload.B[:0], 0, false)
	}
	if s.beat.sentAt.IsZero() {
		s.beat.sentAt = now
	}
	s.countSent(wire.OpHeartbeat)
	s.send(now, payload.B)
	bytebufferpool.Put(payload)
	return true
}
