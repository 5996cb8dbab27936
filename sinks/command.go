// This file declares a command of a bot, and why one is refused.

package sinks

import (
	"errors"
	"fmt"
)

// Command is a payload that a bot asks a shard to send to Discord.
type Command struct {
	// Guild routes the command to the shard that serves this guild,
	// (Guild >> 22) % shard count. Zero means that Shard decides.
	Guild uint64
	// Shard is the id of the shard that sends the packet, when Guild is zero.
	Shard int
	// Packet is the payload to send, {"op":…,"d":…} as JSON. Who takes the command
	// copies what it keeps.
	Packet []byte
	// Sent, if set, is called once the command, or an equal one that was pending, is
	// written to the connection, or a newer one has made it obsolete: whoever has it from a broker can
	// acknowledge it then. It is not called for one that is refused, nor
	// when the engine, or the shard, stops before. It must not wait; any goroutine may call it.
	Sent func()
	// Dropped, if set, is called once instead of Sent if the shard is removed, or deposed, before: the
	// command is left to whoever runs the shard next. One that was being written to a peer which does not
	// read may have arrived all the same. When the engine stops neither is called. It must not wait; any goroutine
	// may call it.
	Dropped func()
}

// ErrQueueFull is the refusal of a command to a shard whose command queue is full: it may be
// sent again later.
var ErrQueueFull = errors.New("the shard's command queue is full")

// ErrStopped is the refusal of a command by an engine that has stopped, or never starts.
var ErrStopped = errors.New("the gateway has stopped")

// NotLocalError is the refusal of a command to a shard of the bot that this process does not run.
type NotLocalError struct{ Shard int }

// Error names the shard.
func (e *NotLocalError) Error() string {
	return fmt.Sprintf("shard %d is not run by this process", e.Shard)
}
