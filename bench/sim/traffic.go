// This file is live traffic: when events happen, and which.

package sim

import (
	"slices"
	"time"

	"sluice/wire"
)

// share is a kind of event and its part of the traffic, in thousandths, as a
// bot without presences sees it.
type share struct {
	typ    string
	part   int
	intent wire.Intents // in guilds; 0: always sent
	dm     wire.Intents // in direct messages; 0: not there
}

var mix = []share{
	{"MESSAGE_CREATE", 450, wire.IntentGuildMessages, wire.IntentDirectMessages},
	{"MESSAGE_UPDATE", 150, wire.IntentGuildMessages, wire.IntentDirectMessages},
	{"TYPING_START", 120, wire.IntentGuildMessageTyping, wire.IntentDirectMessageTyping},
	{"VOICE_STATE_UPDATE", 80, wire.IntentGuildVoiceStates, 0},
	{"GUILD_MEMBER_UPDATE", 70, wire.IntentGuildMembers, 0},
	{"MESSAGE_REACTION_ADD", 40, wire.IntentGuildMessageReactions, wire.IntentDirectMessageReactions},
	{"MESSAGE_REACTION_REMOVE", 20, wire.IntentGuildMessageReactions, wire.IntentDirectMessageReactions},
	{"MESSAGE_DELETE", 20, wire.IntentGuildMessages, wire.IntentDirectMessages},
	{"INTERACTION_CREATE", 20, 0, 0},
	{"GUILD_MEMBER_ADD", 8, wire.IntentGuildMembers, 0},
	{"GUILD_MEMBER_REMOVE", 7, wire.IntentGuildMembers, 0},
	{"PRESENCE_UPDATE", 4, wire.IntentGuildPresences, 0},
	{"CHANNEL_UPDATE", 3, wire.IntentGuilds, 0},
	{"GUILD_ROLE_UPDATE", 2, wire.IntentGuilds, 0},
	{"GUILD_BAN_ADD", 1, wire.IntentGuildModeration, 0},
	{"WEBHOOKS_UPDATE", 1, wire.IntentGuildWebhooks, 0},
	{"INVITE_DELETE", 1, wire.IntentGuildInvites, 0},
	{"MESSAGE_POLL_VOTE_ADD", 1, wire.IntentGuildMessagePolls, wire.IntentDirectMessagePolls},
}

// undocumented are the last two thousandths, which are messages otherwise.
var undocumented = []share{
	{"EMBEDDED_ACTIVITY_UPDATE", 1, 0, 0},
	{"PRESENCES_REPLACE", 1, 0, 0}, // d is an array
}

// pickShare returns the kind of event at a place between 0 and 999.
func pickShare(at int, odd bool) share {
	for _, m := range mix {
		if at -= m.part; at < 0 {
			return m
		}
	}
	if odd {
		return undocumented[at]
	}
	return mix[0]
}

// dmParts of a hundred events on shard 0 happen in direct messages.
const dmParts = 4

// startTrafficLocked begins live traffic at the rate of the options.
func (s *session) startTrafficLocked() {
	s.last = time.Now()
	if s.srv.opt.Common {
		return // runCommon makes it
	}
	switch rate := s.srv.opt.Rate; {
	case s.srv.isHeld() || rate == 0:
	case rate < 0:
		// The writer asks for events when it has nothing to write.
		if s.conn != nil {
			s.conn.wakeWriter()
		}
	default:
		if s.srv.opt.Poisson {
			s.next = s.last.Add(s.gap())
		}
		s.tick = time.AfterFunc(s.period(), s.onTick)
	}
}

// period is the time to the next look at what is due. Of an even flow it is short
// enough for that, and long enough not to cost more than the events.
func (s *session) period() time.Duration {
	if s.srv.opt.Poisson {
		return s.next.Sub(s.last)
	}
	p := time.Duration(float64(time.Second) / s.srv.opt.Rate)
	return min(max(p, 2*time.Millisecond), 10*time.Second)
}

// gap draws the time between two events of Options.Poisson.
func (s *session) gap() time.Duration {
	return time.Duration(min(s.gaps.ExpFloat64()/s.srv.opt.Rate, 1e9) * float64(time.Second))
}

// dueLocked returns how many events have become due.
func (s *session) dueLocked(now time.Time) (n int) {
	if s.srv.opt.Poisson {
		for ; !s.next.After(now); s.next = s.next.Add(s.gap()) {
			n++
		}
	} else {
		s.owed += s.srv.opt.Rate * now.Sub(s.last).Seconds()
		n = int(s.owed)
		s.owed -= float64(n)
	}
	s.last = now
	return n
}

// onTick makes the events that are due.
func (s *session) onTick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.tick == nil { // or silenced
		return
	}
	for range s.dueLocked(time.Now()) {
		if s.play != nil {
			s.play.allowed++
			continue
		}
		if s.conn != nil && s.conn.full() {
			break // what nobody can receive does not happen
		}
		s.liveLocked()
	}
	if s.play != nil && s.conn != nil {
		s.conn.wakeWriter()
	}
	s.tick.Reset(s.period())
}

// full reports whether the writer has enough to do.
func (c *conn) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued > c.srv.opt.QueueBytes
}

// flatOut makes some events for a writer with nothing to write, and reports
// whether it did.
func (s *session) flatOut(c *conn) bool {
	if s.srv.opt.Rate >= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.conn != c || s.srv.isHeld() { // with the lock: Silence has it after it is held
		return false
	}
	for range 64 {
		s.liveLocked()
	}
	return true
}

// liveLocked makes one event of the mix and sends it, if the intents let it pass.
func (s *session) liveLocked() {
	g := s.virtualGuild()
	if len(s.loaded) > 0 {
		g = s.loaded[s.rng.IntN(len(s.loaded))]
	} else if len(s.guilds) > 0 {
		return // none of them is there yet
	}
	if every := s.srv.opt.LargeEvents; every > 0 && s.rng.IntN(every) == 0 && s.intents&wire.IntentGuilds != 0 {
		s.dispatchLocked("GUILD_UPDATE", s.srv.appendGuild(nil, g, 0, s.rng.IntN(s.srv.opt.LargeBytes+1)))
		return
	}
	k := pickShare(s.rng.IntN(1000), s.srv.opt.Undocumented)
	dm := s.shard == 0 && k.dm != 0 && s.rng.IntN(100) < dmParts
	e := s.gen.next(s.rng, k.typ, g, dm, s.intents)
	need := k.intent
	if dm {
		need = k.dm
	}
	if need&s.intents != need && !e.always || e.hidden {
		return
	}
	s.dispatchLocked(k.typ, e.d)
}

// virtualGuild stands in for the guilds of a shard that has none.
func (s *session) virtualGuild() int {
	return (s.shard - guildBase%s.count + s.count) % s.count
}

// isHeld reports whether traffic waits for Play.
func (srv *Server) isHeld() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.held
}

// Play begins the live traffic that Options.Hold kept back.
func (srv *Server) Play() {
	srv.mu.Lock()
	held := srv.held
	srv.held = false
	srv.mu.Unlock()
	if !held {
		return
	}
	for _, s := range srv.all() {
		s.mu.Lock()
		if !s.ended && s.tick == nil {
			s.startTrafficLocked()
		}
		s.mu.Unlock()
	}
}

// all returns the sessions that have not ended, oldest first.
func (srv *Server) all() []*session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	out := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *session) int { return int(a.number - b.number) })
	return out
}
