// This file is what an operator asks of a shard while it runs.

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/sinks"
)

// Reconnect says how a shard comes back that Engine.Reconnect disconnects.
type Reconnect uint8

const (
	ReconnectAny      Reconnect = iota // it resumes its session; without one it identifies
	ReconnectResume                    // it resumes its session, and must have one
	ReconnectIdentify                  // it gives its session up, and identifies in its turn
)

const (
	// askedPause is the least time between two connections of a shard that are asked for.
	askedPause = time.Second
	// askedIdentifyPause is the least time between an Identify and one that is asked for: each
	// counts against the budget of the day, also those that a script asks for.
	askedIdentifyPause = time.Minute
)

// Reconnect ends a shard's connection, with its session kept, and has the shard connect again, without
// a wait. A shard that waits before its next connection makes it at once. What Discord has sent
// meanwhile it sends again, unless the session is given up: then consumers get a gap event.
//
// Reconnect returns when the shard has begun, not when it is ready. A shard that connects right now is
// asked when that has ended. Nothing is changed if there is an error: a shard that this Engine does
// not run is a *sinks.NotLocalError, one that no bot has a *ShardIDError; any other says why it is not
// the time for it, and when it is.
func (e *Engine) Reconnect(ctx context.Context, shard int, how Reconnect) error {
	if how > ReconnectIdentify {
		return fmt.Errorf("engine: there is no Reconnect %d", how)
	}
	f, err := e.wait(ctx)
	if err != nil {
		return err
	}
	now := f.current.Load()
	if shard < 0 || shard >= now.gen.shards {
		return &ShardIDError{ID: shard, Shards: now.gen.shards}
	}
	s := now.find(shard)
	if s == nil || s.leaving.Load() {
		return &sinks.NotLocalError{Shard: shard}
	}
	answer := s.asks.add(how)
	s.wake(wakeAsked)
	select {
	case err = <-answer:
	case <-s.released: // perhaps with the answer
		select {
		case err = <-answer:
		default:
			err = &sinks.NotLocalError{Shard: shard}
		}
	case <-e.ended:
		err = sinks.ErrStopped
	case <-ctx.Done():
		if s.asks.remove(answer) {
			return fmt.Errorf("shard %d: not asked to reconnect: %w", shard, context.Cause(ctx))
		}
		err = <-answer // it is being answered
	}
	if err != nil && !errors.As(err, new(*sinks.NotLocalError)) && err != sinks.ErrStopped {
		return fmt.Errorf("shard %d: %w", shard, err)
	}
	return err
}

// asks are the calls of Engine.Reconnect that a shard has not answered. Each is of one who waits.
type asks struct {
	mu      sync.Mutex
	waiting []ask
}

type ask struct {
	how    Reconnect
	answer chan error // holds one
}

// add returns where the answer comes.
func (a *asks) add(how Reconnect) <-chan error {
	answer := make(chan error, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, ask{how, answer})
	return answer
}

// remove takes back what is not being answered.
func (a *asks) remove(answer <-chan error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.waiting, func(o ask) bool { return o.answer == answer })
	if i < 0 {
		return false
	}
	a.waiting = slices.Delete(a.waiting, i, i+1)
	return true
}

// take returns all.
func (a *asks) take() []ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.waiting
	a.waiting = nil
	return all
}

// answerAsks does what is asked for. The owner calls it, and not while it connects.
func (s *shard) answerAsks(now time.Time) {
	for _, a := range s.asks.take() {
		a.answer <- s.reconnect(now, a.how)
	}
}

// reconnect does what is asked for, or returns why it does not.
func (s *shard) reconnect(now time.Time, how Reconnect) error {
	if s.leaving.Load() || s.deposed.Load() {
		return &sinks.NotLocalError{Shard: s.id}
	}
	state := s.state()
	switch {
	case how == ReconnectResume && s.session == nil:
		return errors.New("there is no session to resume; it must identify")
	case state == IdentifyQueued, state == IdentifyWait, state == Hello && s.plan == nextIdentify,
		state == Backoff && s.plan == nextIdentify && how == ReconnectIdentify:
		return errors.New("it is about to identify: it waits for its turn, and Discord's limits")
	case state == Backoff && s.blocked:
		return fmt.Errorf("this address is blocked by Discord (429); it is left alone until %s", clock(s.retryAt))
	}
	identifies := how == ReconnectIdentify || s.session == nil
	if identifies {
		if at := s.identifyNotBefore(now); at.After(now) {
			return fmt.Errorf("it has identified at %s, and may not be asked to do so again before %s", clock(s.startedAt), clock(at))
		}
		if s.session != nil && s.env.turns.Left() <= 0 {
			return errors.New("the identify budget is used up, and its session would be lost; it can be resumed")
		}
	}
	s.giveUp = how == ReconnectIdentify
	defer func() { s.giveUp = false }()
	c := cause{kind: causeAsked}
	if state.connected() {
		s.end(now, c, nil)
	} else {
		s.log.Info("connecting at once", "cause", c.kind.String())
		if s.giveUp {
			s.plan, s.mainHost = nextIdentify, false
			s.forget(now, c.reason())
		}
		s.retryAt = earlier(s.retryAt, later(now, s.askedAgain))
	}
	s.askedAgain = s.retryAt.Add(askedPause)
	return nil
}

// identifyNotBefore returns when the shard may be asked to identify.
func (s *shard) identifyNotBefore(now time.Time) time.Time {
	if s.startedAt.IsZero() {
		return now
	}
	n := s.fruitless
	if s.session != nil && now.Sub(s.sessionAt) >= sessionHeld {
		n = 0
	}
	return s.startedAt.Add(max(askedIdentifyPause, longestIdentifyPause(n)))
}

// later returns the later of two moments.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// clock writes a moment for people.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
