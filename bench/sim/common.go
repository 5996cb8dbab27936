// This file is live traffic that all sessions of a guild have in common, whatever their shard counts, as it is at
// Discord: for a bot that runs two sets of shards at a time.

package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"sluice/wire"
)

// CommonEvent is an event of Options.Common.
type CommonEvent struct {
	Guild int
	Type  string
	Hash  uint64 // Hash of its d
}

// late is an event that a session has not been sent yet.
type late struct {
	at  time.Time
	typ string
	d   []byte
}

// commonPeriod lies between two looks at what is due.
const commonPeriod = 4 * time.Millisecond

// runCommon makes the events of Options.Common until the server is closed.
func (srv *Server) runCommon() {
	defer srv.wg.Done()
	tick := time.NewTicker(commonPeriod)
	defer tick.Stop()
	rng := rand.New(rand.NewPCG(srv.opt.Seed, 2))
	var gen generator
	last, owed := time.Now(), 0.0
	for {
		select {
		case <-tick.C:
		case <-srv.done:
			return
		}
		now := time.Now()
		if !srv.isHeld() && !srv.isSilent() {
			owed += srv.opt.Rate * float64(srv.opt.Shards) * now.Sub(last).Seconds()
		}
		last = now
		all := srv.all()
		for ; owed >= 1; owed-- {
			if !srv.common(rng, &gen, all, now) {
				owed = 0 // what nobody can receive does not happen
				break
			}
		}
		for _, s := range all {
			s.sendLate(now)
		}
	}
}

// common makes an event, and leaves it for each session of its guild that has the guild. It returns false if one of them
// has enough to do.
func (srv *Server) common(rng *rand.Rand, gen *generator, all []*session, now time.Time) bool {
	g := rng.IntN(srv.opt.Guilds * srv.opt.Shards)
	k := pickShare(rng.IntN(1000), false)
	e := gen.next(rng, k.typ, g, false, wire.AllIntents)
	if e.hidden {
		return true
	}
	d := slices.Clone(e.d)
	var serving []*session
	for _, s := range all {
		if (guildBase+g)%s.count != s.shard || k.intent&s.intents != k.intent && !e.always {
			continue
		}
		s.mu.Lock()
		full, has := s.conn != nil && s.conn.full(), slices.Contains(s.loaded, g)
		s.mu.Unlock()
		if full {
			return false
		}
		if has {
			serving = append(serving, s)
		}
	}
	given := false
	for _, s := range serving {
		s.mu.Lock()
		if !s.ended {
			given = true
			s.late = append(s.late, late{now.Add(s.lag), k.typ, d})
		}
		s.mu.Unlock()
	}
	if given {
		srv.ledger.with(func() { srv.ledger.common = append(srv.ledger.common, CommonEvent{g, k.typ, Hash(d)}) })
	}
	return true
}

// sendLate sends what is due.
func (s *session) sendLate(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for ; n < len(s.late) && !s.late[n].at.After(now); n++ {
		s.dispatchLocked(s.late[n].typ, s.late[n].d)
	}
	s.late = slices.Delete(s.late, 0, n)
}

// Common returns the events of Options.Common that at least one session has been given, in order.
func (l *Ledger) Common() (out []CommonEvent) {
	l.with(func() { out = slices.Clone(l.common) })
	return out
}
