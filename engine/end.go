// This file ends a shard's connection: what is noted, what is planned, and how long the shard
// waits.

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// incomplete returns an error if the peer has sent compressed messages without an end.
func (s *shard) incomplete() error {
	if s.inflater == nil || s.inflater.Pending() == 0 {
		return nil
	}
	return fmt.Errorf("%d bytes came that do not end as a message of compression = %q does", s.inflater.Pending(), s.env.opts.Compression)
}

// end ends the connection, or the attempt to make one, and plans the next by
// decide. err, if any, is the reader's or the protocol's.
func (s *shard) end(now time.Time, c cause, err error) {
	state := s.state()
	if state == Draining { // what was acknowledged is resumed elsewhere
		s.log.Info("connection ended while its shard is removed", "cause", c.kind.String(), "error", err)
		s.stop()
		return
	}
	s.count(now, state, c)
	o := decide(c, s.history)
	if state.connected() {
		if o.closeWith != 0 {
			s.out = wire.AppendClose(s.out, o.closeWith, "", s.mask())
		}
		s.hangup = true
	}
	s.leave()

	if s.session != nil && now.Sub(s.sessionAt) >= sessionHeld {
		s.fruitless = 0
	}
	wait := s.wait(now, o)
	s.plan, s.mainHost = o.next, o.mainHost
	s.blocked = o.pause == pauseBlocked
	if c.code == wire.CloseUnknownOpcode || c.code == wire.CloseDecodeError {
		s.presence = nil // it may be that which Discord does not take
	}
	s.logEnd(c, err, wait)
	switch o.next {
	case nextStop:
		s.noteEnd(now, time.Time{}, c)
		s.to(Stopped)
		fatal := &FatalError{Shard: s.id, Code: c.code, Shards: s.gen.shards, Intents: s.env.opts.Intents}
		if s.gen != s.env.inForce.Load() {
			s.gen.fail(fatal)
			return
		}
		s.env.fatal(fatal)
		return
	case nextIdentify:
		s.forget(now, c.reason())
	}
	s.retryAt = now.Add(wait)
	s.noteEnd(now, s.retryAt, c)
	s.to(Backoff)
}

// count notes in the history what the end of a connection in this state says
// about the session, its host and the connections to come.
func (s *shard) count(now time.Time, state State, c cause) {
	s.history.session = s.session != nil
	if c.kind == causeAsked {
		return // it says nothing
	}
	if c.kind == causeUnconfirmed || c.kind == causeTurnLost {
		if state != Ready {
			s.failures++
		}
		return // it says nothing about Discord
	}
	if c.kind == causeClosed && c.code.Action() == wire.ActionResumeOnce {
		s.doubtful++
	}
	switch {
	case state == Ready && now.Sub(s.readyAt) >= livedAfter:
		s.failures, s.oddSeqs = 0, 0
	default:
		s.failures++
	}
	if c.kind == causeOddSeq {
		s.oddSeqs++
	}
	switch state {
	case Connecting, Hello:
		if s.toResume {
			s.hostFailures++
		}
		if !s.toResume && s.failures%3 == 0 {
			s.env.gateway.refresh()
		}
	case Resuming:
		s.resumeFailures++
	}
}

// wait returns how long to wait before the next connection.
func (s *shard) wait(now time.Time, o outcome) time.Duration {
	var wait time.Duration
	if o.pause != pauseNone {
		wait = backoff(s.failures, s.rand)
	}
	switch o.pause {
	case pauseInvalid:
		wait = max(wait, between(time.Second, 5*time.Second, s.rand))
	case pauseBlocked:
		wait = max(wait, between(30*time.Second, 60*time.Second, s.rand))
	case pauseNone:
		wait = max(wait, s.askedAgain.Sub(now))
	}
	if o.next == nextIdentify {
		wait = max(wait, s.startedAt.Add(identifyPause(s.fruitless, s.rand)).Sub(now))
	}
	if wait == 0 {
		// Shards that are cut in one moment do not dial in one moment.
		wait = between(0, min(time.Duration(s.gen.shards)*time.Millisecond, 5*time.Second), s.rand)
	}
	return wait
}

// logEnd logs the end of a connection.
func (s *shard) logEnd(c cause, err error, wait time.Duration) {
	attrs := []any{"cause", c.kind.String()}
	if c.code != 0 {
		attrs = append(attrs, "code", uint16(c.code), "meaning", c.code.String())
	}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	next := [...]string{nextResume: "resume", nextIdentify: "identify", nextStop: "stop"}[s.plan]
	attrs = append(attrs, "next", next, "wait", wait.Round(time.Millisecond))
	level := slog.LevelWarn
	if c.kind == causeReconnect || c.kind == causeAsked {
		level = slog.LevelInfo // Discord asks for it every few hours, operators know that they did
	}
	s.log.Log(context.Background(), level, "connection ended", attrs...)
}

// forget gives up the session, if there is one.
func (s *shard) forget(now time.Time, reason string) {
	if s.session == nil {
		return
	}
	s.session.show() // for gap.snapshot
	// Before the session goes: whoever stores either finds it or the gap.
	s.lose(sinks.Gap{Session: s.session.id, Seq: s.session.last, At: now.UnixMilli(), Reason: reason}, s.session)
	s.log.Warn("session lost, with its events that Discord does not send again",
		"after_seq", s.session.last, "reason", reason)
	s.counters.lost.Add(1)
	s.setSession(nil)
	s.resumeFailures, s.hostFailures, s.doubtful, s.oddSeqs, s.repeats = 0, 0, 0, 0, 0
}
