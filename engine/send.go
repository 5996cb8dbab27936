// This file is what a shard sends: Identify, Resume and commands. The heartbeats are in
// heartbeat.go.

package engine

import (
	"time"

	"github.com/gobwas/ws"

	"sluice/wire"
)

// sendIdentify sends the Identify of the shard that holds its bucket's turn, when it may.
func (s *shard) sendIdentify(now time.Time) {
	if s.identifyAt = s.env.turns.NotBefore(s.turn()); now.Before(s.identifyAt) {
		return
	}
	if !s.trusted() {
		s.end(now, cause{kind: causeUnconfirmed}, nil)
		return
	}
	if !s.env.turns.Spend(s.turn(), now) {
		s.end(now, cause{kind: causeTurnLost}, nil)
		return
	}
	if s.env.opts.Identify != nil {
		s.env.identify.sent(now)
	}
	o := s.env.opts
	s.counters.identifies.Add(1)
	s.fruitless++
	s.startedAt = now
	s.askedAt, s.warnAt, s.readyBy = now, now.Add(firstWarning), now.Add(o.ReadyTimeout)
	s.bound(o.MaxMessage)
	s.countSent(wire.OpIdentify)
	s.send(now, wire.AppendIdentify(nil, &wire.Identify{
		Token:          o.Token,
		Intents:        o.Intents,
		Shard:          s.id,
		Shards:         s.gen.shards,
		Compress:       o.Compression == wire.CompressionPayload,
		LargeThreshold: o.LargeThreshold,
		Presence:       s.presenceNow(),
	}))
	s.to(Identifying)
}

// sendResume sends Resume for the session.
func (s *shard) sendResume(now time.Time) {
	if !s.trusted() {
		s.end(now, cause{kind: causeUnconfirmed}, nil)
		return
	}
	s.bound(s.env.opts.MaxMessage)
	s.countSent(wire.OpResume)
	s.send(now, wire.AppendResume(nil, s.env.opts.Token, s.session.id, s.session.last))
	s.askedAt, s.warnAt, s.resumeBy = now, now.Add(firstWarning), now.Add(resumeTimeout)
	s.to(Resuming)
}

// sendCommands sends what waits in the command queue, as far as the limits go.
func (s *shard) sendCommands(now time.Time) {
	s.commandAt = time.Time{}
	for {
		if at := s.limiter.next(now, commandLimit(s.beat.interval)); at.After(now) {
			s.commandAt = at
			return
		}
		w, again := s.commands.next(now)
		if w == nil {
			s.commandAt = again
			return
		}
		s.countSent(w.Op)
		s.send(now, w.packet)
		s.unwritten = append(s.unwritten, w)
	}
}

// written notes that the system has taken all that was in out.
func (s *shard) written() {
	if len(s.unwritten) == 0 {
		return
	}
	now := time.Now()
	for _, w := range s.unwritten {
		s.env.counts.commands.Add(1)
		s.env.counts.waited.observe(now.Sub(w.added), 1)
		s.follow(w)
		w.done()
	}
	clear(s.unwritten)
	s.unwritten = s.unwritten[:0]
}

// send appends a payload to out and counts it.
func (s *shard) send(now time.Time, payload []byte) {
	s.limiter.take(now)
	s.out = wire.AppendFrame(s.out, ws.OpText, payload, s.mask())
}

// mask returns a fresh masking key (RFC 6455, 5.3).
func (s *shard) mask() (key [4]byte) {
	k := s.rand.Uint32()
	return [4]byte{byte(k), byte(k >> 8), byte(k >> 16), byte(k >> 24)}
}
