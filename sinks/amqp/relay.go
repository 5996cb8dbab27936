// This file brings commands from RabbitMQ to the engine.

package amqp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/msgpack"
	"sluice/wire"
)

// Relay reads commands from the queues <exchange>:SEND and <exchange>:<shard>, and
// gives them to send, which is the engine's, until ctx ends, through whatever happens
// to the broker. total is the shard count of the bot. A command is acknowledged when it
// is on its way to Discord, or at once when it is none: what is wrong with it is logged.
// One for a shard that another process runs is forwarded under the shard's number. A bot
// that wants a reply gets it at the acknowledgement.
//
// The queue SEND is for all shards, and Options.Prefetch bounds what it gives out. So that a
// shard that takes no commands does not hold up the others, what it does not hold is
// forwarded to the shard's own queue, too. There it waits for as long as it has to, and
// what follows for the shard in SEND goes the same way, to keep the order, until that
// queue has given the last of it.
//
// Those that wait for Discord while the connection to the broker is lost are handed out
// again: the engine merges them with those that it still has.
func (s *Sink) Relay(ctx context.Context, shards []int, total int, send func(context.Context, sinks.Command) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// What is being forwarded at the end is still acknowledged, or it would come twice.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	publishing, stopPublishing := context.WithCancel(reading)
	defer stopPublishing()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, stopPublishing) })()
	// Forwarding waits while the broker takes nothing, and must not hold up the
	// other commands. Only the queue SEND has some to forward, and gives out no more
	// than this before they are done, on each of its connections.
	r := &relay{sink: s, total: max(total, len(shards), 1), send: send, forwards: make(chan forward, s.o.Prefetch), process: rand.Text(),
		behind: make(map[int]string), holds: make(map[int]int)}
	for _, id := range shards {
		// An earlier process may have left some in the shard's queue.
		r.behind[id] = "unknown"
	}
	var forwarding sync.WaitGroup
	forwarding.Go(func() {
		defer stopReading()
		r.forward(ctx, publishing)
	})
	s.commands(reading, shards, func(c *command) {
		if ctx.Err() == nil {
			r.handle(ctx, c)
		}
	})
	cancel() // the sink may have been closed before ctx ended
	forwarding.Wait()
}

// unroutableTries is how often the queue of a shard of this process may be gone when a command
// is forwarded to it.
const unroutableTries = 3

type relay struct {
	sink     *Sink
	total    int
	send     func(context.Context, sinks.Command) error
	forwards chan forward
	process  string

	mu        sync.Mutex
	forwarded int
	// Shards for which some of SEND wait in their own queues, by the order of the last; ""
	// is none, and those of other processes are not there.
	behind map[int]string
	// What the engine has been given from SEND and has not sent, by shard and in all.
	holds map[int]int
	held  int
}

// forward is a command for another process, or for later.
type forward struct {
	command *command
	shard   int
	packet  []byte
	order   string // for later: the message's id, the process and a number that counts up
}

// handle hands a command on, or gives it up. For SEND it waits for no shard. Any goroutine
// may call it, one for each queue.
func (r *relay) handle(ctx context.Context, c *command) {
	command, err := commands.Parse(c.key, c.body)
	c.body, c.delivery.Body = nil, nil // it may be large, and the packet is a copy
	if err != nil {
		r.refuse(c, err)
		return
	}
	if c.key != "SEND" {
		r.handleOwn(ctx, c, command)
		return
	}
	shard := command.Shard
	if command.Guild != 0 {
		shard = wire.ShardOf(command.Guild, r.total)
	}
	if !r.hold(shard) {
		r.later(ctx, c, shard, command.Packet)
		return
	}
	command.Sent = func() {
		r.release(shard)
		c.done(nil)
	}
	err = r.send(ctx, command)
	if err == nil {
		return
	}
	r.release(shard)
	var elsewhere *sinks.NotLocalError
	switch {
	case errors.Is(err, sinks.ErrQueueFull):
		r.later(ctx, c, shard, command.Packet)
	case errors.As(err, &elsewhere):
		r.put(ctx, forward{command: c, shard: elsewhere.Shard, packet: command.Packet})
	case ctx.Err() == nil && !errors.Is(err, sinks.ErrStopped):
		r.refuse(c, err)
	}
}

// handleOwn hands on a command from a shard's own queue. It waits for the shard: the queue
// has no other's.
func (r *relay) handleOwn(ctx context.Context, c *command, command sinks.Command) {
	command.Sent = func() { c.done(nil) }
	for logged := (time.Time{}); ; {
		err := r.send(ctx, command)
		switch {
		case errors.Is(err, sinks.ErrQueueFull):
			if time.Since(logged) >= logEvery {
				logged = time.Now()
				r.sink.lines.warn("amqp: the commands for a shard are pending in its queue", "queue", r.sink.o.Exchange+":"+c.key, "error", err)
			}
			select {
			case <-time.After(firstRetry):
				continue
			case <-c.gone: // the broker hands it out again
			case <-ctx.Done():
			}
			return
		case err != nil && ctx.Err() == nil && !errors.Is(err, sinks.ErrStopped):
			r.refuse(c, err)
		}
		break
	}
	if order := c.delivery.MessageId; order != "" {
		r.mu.Lock()
		if r.behind[command.Shard] == order {
			r.behind[command.Shard] = ""
		}
		r.mu.Unlock()
	}
}

// hold reports whether a command of SEND may go to the engine at once, and counts it then.
// A few shards must not take all that SEND gives out.
func (r *relay) hold(shard int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	order, own := r.behind[shard]
	prefetch := r.sink.o.Prefetch
	if own && (order != "" || r.held >= max(prefetch/2, 1) || r.holds[shard] >= max(prefetch/8, 1)) {
		return false
	}
	r.held++
	r.holds[shard]++
	return true
}

// release is the end of hold.
func (r *relay) release(shard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held--
	if r.holds[shard]--; r.holds[shard] == 0 {
		delete(r.holds, shard)
	}
}

// later has a command wait in the queue of its shard.
func (r *relay) later(ctx context.Context, c *command, shard int, packet []byte) {
	r.mu.Lock()
	r.forwarded++
	order := fmt.Sprintf("%s-%d", r.process, r.forwarded)
	r.behind[shard] = order
	r.mu.Unlock()
	r.put(ctx, forward{c, shard, packet, order})
}

func (r *relay) put(ctx context.Context, f forward) {
	select {
	case r.forwards <- f:
	case <-ctx.Done():
	}
}

// forward publishes the commands for other processes, and for later, until ctx ends; the
// one that it is at then until publishing does.
func (r *relay) forward(ctx, publishing context.Context) {
	for ctx.Err() == nil {
		select {
		case f := <-r.forwards:
			select {
			case <-f.command.gone:
				continue // the broker hands it out again
			default:
			}
			for try := 1; ; try++ {
				err := r.sink.publish(publishing, strconv.Itoa(f.shard), r.message(f))
				if errors.Is(err, errUnroutable) && f.order != "" && try < unroutableTries && ctx.Err() == nil {
					pause(ctx, time.Second) // the queue is of this process, which declares it again
					continue
				}
				switch {
				case err == nil:
					if f.order != "" {
						f.command.delivery.ReplyTo = "" // the reply is not due yet
					}
					f.command.done(nil)
				case errors.Is(err, errUnroutable):
					r.refuse(f.command, errors.New("no process has ever read commands for shard "+strconv.Itoa(f.shard)))
				}
				break
			}
		case <-ctx.Done():
		}
	}
}

// message returns what is published for a command.
func (r *relay) message(f forward) amqp091.Publishing {
	p := r.sink.forwarded(append(msgpack.AppendRawHeader(nil, len(f.packet)), f.packet...))
	if f.order != "" {
		d := &f.command.delivery
		p.MessageId = f.order
		p.Expiration = d.Expiration // the bot's, if any: it waits as it would in SEND
		p.DeliveryMode = cmp.Or(p.DeliveryMode, d.DeliveryMode)
		p.ReplyTo, p.CorrelationId = d.ReplyTo, d.CorrelationId
	}
	return p
}

// refuse tells of a command that is none, and is done with it.
func (r *relay) refuse(c *command, err error) {
	r.sink.o.Log.Warn("command refused", "queue", r.sink.o.Exchange+":"+c.key, "error", err)
	c.done(err)
}
