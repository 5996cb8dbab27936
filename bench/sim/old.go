// This file is what becomes of the connection that a session or a shard already
// has when another one comes. Nothing says what Discord does; a rule chooses.

package sim

import (
	"cmp"
	"slices"

	"sluice/wire"
)

// open reports whether the connection lives and is not about to be closed, as
// far as the server can see.
func (c *conn) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closing && !c.over
}

// isLive reports whether another connection than c is the session's.
func (s *session) isLive(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && s.conn != c && s.conn.open()
}

// holders returns the open connections of a shard of that count, with their sessions.
func (srv *Server) holders(shard, count int) map[*conn]*session {
	out := make(map[*conn]*session)
	for _, s := range srv.all() {
		if s.shard != shard || s.count != count {
			continue
		}
		s.mu.Lock()
		if s.conn != nil && s.conn.open() {
			out[s.conn] = s
		}
		s.mu.Unlock()
	}
	return out
}

// yield does to an old connection what a says. OldInvalid is the caller's.
func (c *conn) yield(a *Action) {
	end := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.closeForLocked(cmp.Or(a.Code, wire.CloseUnknownError), a.Reason)
	}
	switch {
	case a.Kind == OldClosed:
		end()
	case a.Kind == OldStarved:
		c.starved.Store(true)
	case a.Kind == OldKept && a.Delay > 0:
		c.later(a.Delay, end)
	}
}

// replaceLocked is what a says, or by default the end without a word, for the
// connection that another takes the session from.
func (s *session) replaceLocked(old *conn, a *Action) {
	switch {
	case a == nil:
		old.drop()
		return
	case a.Kind == OldKept:
		s.also = append(s.also, old)
	case a.Kind == OldInvalid:
		old.mu.Lock()
		old.sess, old.state = nil, stateNew
		old.pushLocked(item{msg: []byte(invalidMessage)})
		old.mu.Unlock()
	}
	old.yield(a)
}

// sendLocked puts an event into the queue of every connection of the session.
func (s *session) sendLocked(it item) {
	for _, c := range s.also {
		c.push(it)
	}
	if s.conn != nil {
		s.conn.push(it)
	}
}

// leaveLocked forgets a connection that got every event beside another.
func (s *session) leaveLocked(c *conn) {
	s.also = slices.DeleteFunc(s.also, func(other *conn) bool { return other == c })
}
