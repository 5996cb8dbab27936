// This file asks whether a shard is still this process's, where several share a bot: a wait, or a stop of
// the process, may have outlived the ownership.

package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// confirms reports whether the shard's ownership is confirmed before each connection.
func (s *shard) confirms() bool { return s.epoch != 0 && s.env.opts.Confirm != nil }

// confirm asks for it. The answer is wakeOwned or wakeLost.
func (s *shard) confirm(now time.Time) {
	s.stops = s.env.pulse.look(now) // before it is asked
	var once sync.Once
	s.env.opts.Confirm(s.id, s.epoch, func(owned bool) {
		once.Do(func() {
			if owned {
				s.wake(wakeOwned)
			} else {
				s.wake(wakeLost)
			}
		})
	})
}

// confirmed follows the answer.
func (s *shard) confirmed(now time.Time, flags uint32) {
	switch {
	case flags&wakeLost != 0:
		s.env.drop(s, "its ownership is not confirmed")
		s.stop()
	case flags&wakeOwned == 0:
	case s.env.pulse.look(now) != s.stops: // the answer may be older than the stop
		s.confirm(now)
	default:
		s.connect()
	}
}

// trusted reports whether the ownership was confirmed a short time ago, before a session is resumed or begun.
func (s *shard) trusted() bool {
	return s.epoch == 0 || s.env.opts.Trusted == nil || s.env.opts.Trusted()
}

// suspect reports whether the process was stopped since the ownership was confirmed, and it has not been since:
// the session may be another's. Without a stop a connection is kept, whatever is confirmed: nobody knows better.
func (s *shard) suspect(now time.Time) bool {
	if s.epoch == 0 || s.env.opts.Trusted == nil {
		return false
	}
	stops := s.env.pulse.look(now)
	if stops == s.stops {
		return false
	}
	if !s.env.opts.Trusted() {
		return true
	}
	s.stops = stops
	return false
}

// pulse notices that the process was stopped: by the clock, which goes on meanwhile. Any goroutine may look.
type pulse struct {
	after time.Duration
	began time.Time
	last  atomic.Int64 // when it was not stopped; nanoseconds since began
	stops atomic.Int64
}

// look returns how often the process was stopped for longer than after.
func (p *pulse) look(now time.Time) (stops int64) {
	n := int64(now.Sub(p.began))
	if last := p.last.Load(); n-last > int64(p.after) {
		p.stops.Add(1) // first: who finds last moved on must find this
		p.last.CompareAndSwap(last, n)
	}
	return p.stops.Load()
}

// run beats until ctx is done.
func (p *pulse) run(ctx context.Context) {
	tick := time.NewTicker(p.after / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		p.look(now)
		p.last.Store(int64(now.Sub(p.began)))
	}
}
