// This file brings commands to the shards that send them.

package commands

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

// retryPause is how long a command waits for a shard that takes no more before it is tried again.
const retryPause = 100 * time.Millisecond

// Router gives the commands of a broker to the engine. It holds up none of them for another: what
// a shard does not take goes back to the broker. Any goroutine may use it.
type Router struct {
	// Total is the shard count of the bot.
	Total int
	// Send is the engine's: it does not wait for the shard. An error means that it refuses the
	// command for good, unless it is sinks.ErrQueueFull, which passes. nil: each command for a shard that the bot
	// has is forwarded.
	Send func(ctx context.Context, c sinks.Command) error
	// Counts, if it is not nil, counts what Route does, but for Delivery's Later and Forward, and what the
	// reader refuses by itself: they count when it is done.
	Counts *Counts
}

// Delivery is a command as the broker has it that brought it. Route calls Hold and then at most one
// of Later, Forward and Refuse, on its own goroutine. Packets are owned by whoever owned the value
// that Route was given.
type Delivery interface {
	// At returns when the command came: by the broker's clock, if it says so.
	At() time.Time
	// Hold reports whether the shard may be given the command at once, which counts it then as held:
	// Quota has the bounds. While one for the shard waits with the broker it must be false, since the
	// commands of a shard keep their order.
	Hold(shard int) bool
	// Release is the end of Hold, if the engine has not taken the command.
	Release(shard int)
	// Sent is called once the command that is held can be acknowledged, as
	// sinks.Command.Sent is: by any goroutine, perhaps within Route. It must not wait.
	Sent(shard int)
	// Dropped is called instead of Sent if the shard goes before, as sinks.Command.Dropped is: by
	// any goroutine. It must not wait.
	Dropped(shard int)
	// Later leaves a command with the broker until its shard takes it.
	Later(ctx context.Context, shard int, packet []byte)
	// Forward hands a command to the process that runs its shard.
	Forward(ctx context.Context, shard int, packet []byte)
	// Refuse acknowledges what is no command, or one that no shard will ever take, and
	// reports why.
	Refuse(err error)
}

// Route gives the engine a command that came under a name as Parse takes it. It waits for no shard.
// One from a former shard's stream or queue goes by its guild.
// When ctx is done, or the engine has stopped, nothing becomes of a command: the broker has it still.
func (r *Router) Route(ctx context.Context, name string, value []byte, d Delivery) {
	c, err := Parse(name, value)
	if err != nil {
		r.Counts.Refused(name, Reason(err, c, r.Total))
		d.Refuse(err)
		return
	}
	if Former(name, r.Total) {
		recount(&c, r.Total)
	}
	shard := c.Shard
	if c.Guild != 0 {
		shard = wire.ShardOf(c.Guild, r.Total)
	}
	if !d.Hold(shard) {
		d.Later(ctx, shard, c.Packet)
		return
	}
	if r.Send == nil {
		d.Release(shard)
		if shard < r.Total {
			d.Forward(ctx, shard, c.Packet)
			return
		}
		r.Counts.Refused(name, WrongShard)
		d.Refuse(fmt.Errorf("shard %d does not exist with %d shards", shard, r.Total))
		return
	}
	at := d.At()
	c.Sent = func() {
		r.Counts.Sent(name, at)
		d.Sent(shard)
	}
	c.Dropped = func() { d.Dropped(shard) }
	err = r.Send(ctx, c)
	if err == nil {
		r.Counts.Given(name)
		return
	}
	d.Release(shard)
	var other *sinks.NotLocalError
	switch {
	case errors.Is(err, sinks.ErrQueueFull):
		d.Later(ctx, shard, c.Packet)
	case errors.As(err, &other):
		d.Forward(ctx, other.Shard, c.Packet)
	case Refused(ctx, err):
		r.Counts.Refused(name, Reason(err, c, r.Total))
		d.Refuse(err)
	default:
		r.Counts.Refused(name, Stopped)
	}
}

// Former reports whether a name is the number of a shard that a bot with so many has only had: it has been resharded to
// fewer, and what waits there, or is still written there, is for the shards of the guilds. 0: how many it has is not known.
func Former(name string, total int) bool {
	id, err := strconv.Atoi(name)
	return err == nil && total > 0 && id >= total
}

// recount gives a command of a former shard to the shard of its guild, and one without a guild to the shard whose process
// reads it.
func recount(c *sinks.Command, total int) {
	parsed, err := wire.ParseCommand(c.Packet)
	switch {
	case err == nil && parsed.Guild != 0:
		c.Guild = parsed.Guild
	case err == nil && len(parsed.Guilds) > 0:
		c.Guild = parsed.Guilds[0]
	}
	c.Shard %= total
}

// Wait gives the engine a command from a queue of one shard alone. While the shard takes no
// more, Wait calls full with the reason, waits, and tries again: those behind it are for the
// same shard, and wait, too. It returns what Send has returned, or the last
// sinks.ErrQueueFull when the command is gone, and with it the reason to wait, or ctx is done.
func (r *Router) Wait(ctx context.Context, c sinks.Command, gone <-chan struct{}, full func(err error)) error {
	for {
		err := r.Send(ctx, c)
		if !errors.Is(err, sinks.ErrQueueFull) {
			return err
		}
		full(err)
		select {
		case <-time.After(retryPause):
		case <-gone:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// Refused reports whether an error of Send is about the command: it is, unless the gateway stops or
// the shard's queue is full.
func Refused(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && !errors.Is(err, sinks.ErrStopped) && !errors.Is(err, sinks.ErrQueueFull)
}
