// This file is the options that change while an engine runs: events, presence, certificates.

package engine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"sluice/sinks"
	"sluice/wire"
)

// live are the values in force of options that change. Any goroutine may replace and read them.
type live struct {
	events   atomic.Pointer[map[string]struct{}]
	presence atomic.Pointer[[]byte]
	tls      atomic.Pointer[tls.Config]
}

func newLive(events map[string]struct{}, presence []byte) *live {
	l := new(live)
	l.events.Store(&events)
	l.presence.Store(&presence)
	return l
}

// SetEvents replaces Options.Events; nil: all. Each shard goes by them from its next read on: what was
// read before is published, or not, by those before.
func (e *Engine) SetEvents(names map[string]struct{}) {
	names = maps.Clone(names) // nil stays nil
	e.opts.live.events.Store(&names)
}

// SetTLS replaces Options.TLS, for connections from now on.
func (e *Engine) SetTLS(config *tls.Config) { e.opts.live.tls.Store(withSessions(config)) }

// withSessions returns a copy of a configuration that keeps the sessions of TLS: shards reconnect to the same
// few hosts, and a ticket saves most of a handshake.
func withSessions(config *tls.Config) *tls.Config {
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	} else {
		config = config.Clone()
	}
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	return config
}

// maxPresence bounds a presence object in an Identify in bytes: Discord takes wire.MaxSend in all.
const maxPresence = wire.MaxSend - 1<<10

// noPresence is what a bot shows that has not said what.
const noPresence = `{"since":null,"activities":[],"status":"online","afk":false}`

// SetPresence replaces Options.Presence: the presence object of the Identifies from now on as JSON, or nil
// for none. With send, it is also left as a command for every shard that runs now, which sends it in its
// turn; the error names the shards whose command queue is full. An object that Discord would
// not take changes nothing.
func (e *Engine) SetPresence(presence []byte, send bool) error {
	if presence != nil {
		if _, err := presenceCommand(presence); err != nil {
			return err
		}
	}
	presence = bytes.Clone(presence)
	e.opts.live.presence.Store(&presence)
	f := e.running.Load()
	if !send || f == nil {
		return nil
	}
	if presence == nil {
		presence = []byte(noPresence)
	}
	packet, err := presenceCommand(presence)
	if err != nil {
		return err
	}
	var all []error
	for _, s := range f.everyone() {
		// Shards that leave or stop refuse it, and need none.
		if err := s.commands.add(wire.Command{Op: wire.OpPresenceUpdate}, packet, fate{}); errors.Is(err, sinks.ErrQueueFull) {
			all = append(all, fmt.Errorf("shard %d: %w", s.id, err))
		}
		s.wake(wakeCommands)
	}
	return errors.Join(all...)
}

// presenceCommand returns the command with which a presence object is sent.
func presenceCommand(presence []byte) (packet []byte, err error) {
	if len(presence) > maxPresence {
		return nil, fmt.Errorf("the presence has %d bytes; an Identify takes %d at most", len(presence), maxPresence)
	}
	packet = fmt.Appendf(nil, `{"op":%d,"d":%s}`, wire.OpPresenceUpdate, presence)
	if _, err := wire.ParseCommand(packet); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	return packet, nil
}

// presenceNow returns the presence object for an Identify.
func (s *shard) presenceNow() []byte {
	if s.presence != nil {
		return s.presence
	}
	return *s.env.opts.live.presence.Load()
}

// follow keeps the presence that was sent for the Identifies to come. One with which an Identify would be
// too large is not kept, nor the one before it, which is no longer what the bot shows.
func (s *shard) follow(w *waitingCommand) {
	if w.Op != wire.OpPresenceUpdate || !s.env.opts.FollowPresence {
		return
	}
	var presence []byte
	var e wire.Envelope
	if wire.ParseEnvelope(w.packet, &e) == nil {
		if _, err := presenceCommand(e.Data); err == nil {
			presence = bytes.Clone(e.Data)
		}
	}
	s.presence = presence
	s.env.followed.Store(&presence)
}
