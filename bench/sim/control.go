// This file is what a test does to a running server by hand.

package sim

import (
	"fmt"

	"sluice/wire"
)

// connsOf returns the connections of a shard's sessions.
func (srv *Server) connsOf(shard int) (out []*conn) {
	for _, s := range srv.all() {
		if s.shard != shard {
			continue
		}
		s.mu.Lock()
		if s.conn != nil {
			out = append(append(out, s.also...), s.conn)
		}
		s.mu.Unlock()
	}
	return out
}

// each runs f on every connection of a shard and returns how many there were.
func (srv *Server) each(shard int, f func(*conn)) int {
	conns := srv.connsOf(shard)
	for _, c := range conns {
		f(c)
	}
	return len(conns)
}

// Do carries out an action on every connection of a shard that has a session,
// in its place of the stream, and returns how many there were.
func (srv *Server) Do(shard int, a Action) int {
	return srv.each(shard, func(c *conn) { c.act(a) })
}

// Cut ends the TCP connections of a shard at once, with a reset or a FIN,
// without a close frame and even if the client is not reading.
func (srv *Server) Cut(shard int, reset bool) int {
	return srv.each(shard, func(c *conn) {
		k := CutFIN
		if reset {
			k = CutRST
		}
		srv.noteFault(c.id, shard, k)
		c.cut(reset)
	})
}

// Reconnect sends op 7 to a shard.
func (srv *Server) Reconnect(shard int) int { return srv.Do(shard, Action{Kind: Reconnect}) }

// InvalidSession sends op 9 to a shard. The session ends if it is not resumable.
func (srv *Server) InvalidSession(shard int, resumable bool) int {
	k := InvalidSession
	if resumable {
		k = InvalidResumable
	}
	return srv.Do(shard, Action{Kind: k})
}

// CloseShard closes a shard's connections with a code; 1005 for none.
func (srv *Server) CloseShard(shard int, code wire.CloseCode, reason string) int {
	return srv.Do(shard, Action{Kind: CloseFrame, Code: code, Reason: reason})
}

// Blackhole makes a shard's connections half-open: nothing more is written,
// and nothing that comes is looked at.
func (srv *Server) Blackhole(shard int) int {
	return srv.each(shard, func(c *conn) {
		srv.noteFault(c.id, shard, HalfOpen)
		c.mute.Store(true)
	})
}

// Dispatch sends an event to every session of a shard, connected or not, past
// all intents, and returns the seq it got in the newest, 0 if there is none. d
// is its JSON and is copied.
func (srv *Server) Dispatch(shard int, typ string, d []byte) (seq int64) {
	for _, s := range srv.all() {
		if s.shard == shard {
			seq = s.dispatch(typ, d)
		}
	}
	return seq
}

// Burst sends n small events to every session of a shard at once and returns
// the last seq of the newest. Their type is TYPING_START.
func (srv *Server) Burst(shard, n int) (seq int64) {
	for _, s := range srv.all() {
		if s.shard != shard {
			continue
		}
		s.mu.Lock()
		for i := range n {
			seq = s.dispatchLocked("TYPING_START", fmt.Appendf(nil, `{"user_id":"%d","timestamp":%d,"channel_id":"%d"}`, botID, i, channelID(0, 0)))
		}
		s.mu.Unlock()
	}
	return seq
}

// Expire ends the sessions of a shard that nobody is connected to, as if their
// time were over.
func (srv *Server) Expire(shard int) (n int) {
	for _, s := range srv.all() {
		if s.shard != shard {
			continue
		}
		s.mu.Lock()
		if s.conn == nil && !s.ended {
			s.endLocked(EndExpired)
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// Overrun drops what a shard's sessions keep for a Resume.
func (srv *Server) Overrun(shard int) {
	for _, s := range srv.all() {
		if s.shard == shard {
			s.mu.Lock()
			s.replay = nil
			s.mu.Unlock()
		}
	}
}

// SetGateway opens, shuts or silences the main gateway for new connections.
func (srv *Server) SetGateway(mode GateMode) { srv.gates[RoleGateway].set(mode) }

// SetResumeHost opens, shuts or silences the host of resume_gateway_url for
// new connections.
func (srv *Server) SetResumeHost(mode GateMode) { srv.gates[RoleResume].set(mode) }

// SetAPI opens, shuts or silences the REST listener for new connections.
func (srv *Server) SetAPI(mode GateMode) { srv.gates[RoleAPI].set(mode) }

// Connected returns the number of connections that have a session.
func (srv *Server) Connected() (n int) {
	for _, s := range srv.all() {
		s.mu.Lock()
		if s.conn != nil {
			n += 1 + len(s.also)
		}
		s.mu.Unlock()
	}
	return n
}

// Seq returns the seq of the last event of the newest session of a shard, 0 if
// there is none.
func (srv *Server) Seq(shard int) (seq int64) {
	for _, s := range srv.all() {
		if s.shard == shard {
			s.mu.Lock()
			seq = s.seq
			s.mu.Unlock()
		}
	}
	return seq
}

// Silence stops the live traffic of all sessions for good, and sends the guilds at once that have not
// come yet or are unavailable. When it returns, all that Discord sends by itself is in the ledger; only
// answers follow, and the beginning of new sessions.
func (srv *Server) Silence() {
	srv.mu.Lock()
	srv.held, srv.silent = true, true
	srv.mu.Unlock()
	for _, s := range srv.all() {
		s.mu.Lock()
		if s.tick != nil {
			s.tick.Stop()
			s.tick = nil
		}
		if !s.ended {
			s.settleLocked()
		}
		s.mu.Unlock()
	}
}

// isSilent reports whether Silence was called.
func (srv *Server) isSilent() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.silent
}
