// This file counts what becomes of commands.

package commands

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// Sources of commands beside Send and Discordjs.
const (
	Shard = "shard" // the stream or queue of a shard's number
	Stdin = "stdin" // standard input
)

var sources = [...]string{Send, Shard, Discordjs, Stdin}

// Why a command is not sent.
const (
	Malformed      = "malformed"       // it is no command
	TooLarge       = "too large"       // for the gateway, or for Discord
	UnknownOp      = "unknown op"      // bots may not send it
	WrongShard     = "wrong shard"     // the shard does not exist, or does not serve the guild
	MissingIntent  = "missing intent"  // all members of a guild need GUILD_MEMBERS
	NotLocal       = "not local"       // no process that is known runs the shard
	QueueFull      = "queue full"      // too many wait
	Expired        = "expired"         // it was trimmed before it was read
	Stopped        = "stopped"         // the gateway has: the broker has it still
	ConnectionLost = "connection lost" // before a shard had room: the broker hands it out again
	Other          = "other"
)

var reasons = [...]string{Malformed, TooLarge, UnknownOp, WrongShard, MissingIntent, NotLocal, QueueFull, Expired, Stopped, ConnectionLost, Other}

// RefusalReasons are the reasons in Status.Refused.
var RefusalReasons = reasons[:]

// Status is what became of the commands of one source, as of one moment. Each that was received is
// sent, forwarded, requeued or refused in the end, and waits until then.
type Status struct {
	Source    string // Send, Shard, Discordjs or Stdin
	Received  int64  // from RabbitMQ also those that it hands out again
	Given     int64  // taken by the engine
	Sent      int64  // of them: written to a connection, or made obsolete by a newer one
	Forwarded int64  // to the process that runs the shard
	Requeued  int64  // with RabbitMQ, in the queue of their shard, which has no room, or in a fleet is run by another process now: received again from there
	Refused   map[string]int64
	Waiting   int64           // with the engine, or for room there
	Waited    sinks.Histogram // seconds from the broker's time, as in the id of an entry of Redis, or from the arrival here, until they were sent
}

// Counts count what becomes of commands. Any goroutine may use them; nil counts nothing.
type Counts struct{ sources [len(sources)]source }

type source struct {
	read                                       atomic.Bool
	received, given, sent, forwarded, requeued atomic.Int64
	refused                                    [len(reasons)]atomic.Int64
	waited                                     *sinks.Buckets
}

// NewCounts returns counts of no source, before a reader names those that it reads.
func NewCounts() *Counts {
	c := new(Counts)
	for i := range c.sources {
		c.sources[i].waited = sinks.NewBuckets(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
	}
	return c
}

// of returns the source of a name as Parse takes it, which may be a shard's number.
func (c *Counts) of(name string) *source {
	if c == nil {
		return new(source)
	}
	i := slices.Index(sources[:], name)
	if i < 0 {
		i = slices.Index(sources[:], Shard)
	}
	return &c.sources[i]
}

// Reads notes that these sources are read: Status has them.
func (c *Counts) Reads(names ...string) {
	for _, name := range names {
		c.of(name).read.Store(true)
	}
}

// Received counts a command that came by a name.
func (c *Counts) Received(name string) { c.of(name).received.Add(1) }

// Given counts one that the engine has taken.
func (c *Counts) Given(name string) { c.of(name).given.Add(1) }

// Sent counts one that was sent, and how long it has waited since a time.
func (c *Counts) Sent(name string, since time.Time) {
	s := c.of(name)
	s.sent.Add(1)
	if s.waited != nil {
		s.waited.Add(max(time.Since(since), 0).Seconds())
	}
}

// Forwarded counts one that is left to another process.
func (c *Counts) Forwarded(name string) { c.of(name).forwarded.Add(1) }

// Requeued counts one that went back to the broker, to be received again.
func (c *Counts) Requeued(name string) { c.of(name).requeued.Add(1) }

// Refused counts one that is not sent, for one of RefusalReasons.
func (c *Counts) Refused(name, reason string) {
	c.of(name).refused[slices.Index(reasons[:], reason)].Add(1)
}

// Status returns the counts of the sources that are read, as they stand.
func (c *Counts) Status() (all []Status) {
	for i := range c.sources {
		s := &c.sources[i]
		if !s.read.Load() {
			continue
		}
		st := Status{
			Source: sources[i], Given: s.given.Load(), Sent: s.sent.Load(), Forwarded: s.forwarded.Load(), Requeued: s.requeued.Load(),
			Refused: make(map[string]int64, len(reasons)), Waited: s.waited.Histogram(),
		}
		ended := st.Sent + st.Forwarded + st.Requeued
		for i, reason := range reasons {
			st.Refused[reason] = s.refused[i].Load()
			ended += st.Refused[reason]
		}
		st.Received = s.received.Load() // last: it is counted first
		st.Waiting = max(st.Received-ended, 0)
		all = append(all, st)
	}
	return all
}

// Reason returns which of RefusalReasons an error of Parse, or of the engine for the command, is. total is
// the shard count of the bot; 0: it is not known.
func Reason(err error, c sinks.Command, total int) string {
	var local *sinks.NotLocalError
	var long *tooLongError
	switch {
	case errors.Is(err, sinks.ErrQueueFull):
		return QueueFull
	case errors.Is(err, sinks.ErrStopped), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Stopped
	case errors.As(err, &local):
		return NotLocal
	case errors.As(err, &long), len(c.Packet) > wire.MaxSend:
		return TooLarge
	case len(c.Packet) == 0:
		return Malformed
	}
	shard := c.Shard
	if c.Guild != 0 && total > 0 {
		shard = wire.ShardOf(c.Guild, total)
	}
	if total > 0 && shard >= total {
		return WrongShard
	}
	parsed, bad := wire.ParseCommand(c.Packet)
	if bad != nil {
		var packet struct{ Op *wire.Opcode }
		if json.Unmarshal(c.Packet, &packet) == nil && packet.Op != nil && !botsSend(*packet.Op) {
			return UnknownOp
		}
		return Malformed
	}
	guilds := parsed.Guilds
	if parsed.Guild != 0 {
		guilds = []uint64{parsed.Guild}
	}
	served := func(guild uint64) bool { return total == 0 || wire.ShardOf(guild, total) == shard }
	switch {
	case len(guilds) > 0 && !slices.ContainsFunc(guilds, served):
		return WrongShard
	case parsed.AllMembers:
		return MissingIntent
	case total == 0 && len(guilds) > 0:
		return WrongShard // which cannot be looked at here
	}
	return Other
}

// botsSend reports whether a bot may send an op.
func botsSend(op wire.Opcode) bool {
	switch op {
	case wire.OpPresenceUpdate, wire.OpVoiceStateUpdate, wire.OpRequestGuildMembers, wire.OpRequestSoundboardSounds, wire.OpRequestChannelInfo:
		return true
	}
	return false
}
