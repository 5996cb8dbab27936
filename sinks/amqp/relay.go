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
)

// Relay reads commands from the queues <exchange>:SEND and <exchange>:<shard>, and
// gives them to send, which is the engine's, until ctx ends, through whatever happens
// to the broker. total is the shard count of the bot. A command is acknowledged when it
// is in flight to Discord, or at once when it is none: what is wrong with it is logged.
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
//
// After the end of ctx, those that are sent until settled is closed are acknowledged, and Relay
// returns. nil: none is sent any more then. counts, if it is not nil, counts what becomes of them; Relay
// is called once then.
func (s *Sink) Relay(ctx context.Context, settled <-chan struct{}, shards []int, total int, counts *commands.Counts, send func(context.Context, sinks.Command) error) {
	s.counts = counts
	counts.Reads(commands.Send, commands.Shard)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // the sink may be closed before ctx ends
	// What is being forwarded at the end is still acknowledged, or it would be a duplicate.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	publishing, stopPublishing := context.WithCancel(reading)
	defer stopPublishing()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(settleTimeout, stopPublishing) })()
	// Forwarding waits while the broker takes nothing, and must not hold up the
	// other commands. Only the queue SEND has some to forward, and gives out no more
	// than this before they are done, on each of its connections.
	r := &relay{sink: s, router: commands.Router{Total: max(total, len(shards), 1), Send: send, Counts: counts},
		// A few shards must not take all that SEND gives out.
		quota:    commands.Quota{PerShard: max(s.o.Prefetch/8, 1), All: max(s.o.Prefetch/2, 1)},
		forwards: make(chan forward, s.o.Prefetch), process: rand.Text(), behind: make(map[int]string)}
	for _, id := range shards {
		// An earlier process may have left some in the shard's queue.
		r.behind[id] = "unknown"
	}
	var forwarding sync.WaitGroup
	forwarding.Go(func() {
		defer stopReading()
		r.forward(ctx, publishing)
		if settled != nil {
			select {
			case <-settled:
			case <-s.ctx.Done():
			}
		}
	})
	s.commands(reading, shards, func(c *command) {
		if ctx.Err() == nil {
			r.handle(ctx, c)
		}
	})
	forwarding.Wait()
}

// unroutableTries is how often the queue of a shard of this process may be gone when a command
// is forwarded to it.
const unroutableTries = 3

type relay struct {
	sink     *Sink
	router   commands.Router
	quota    commands.Quota // of what SEND gave out and the engine has not sent
	forwards chan forward
	process  string

	mu        sync.Mutex
	forwarded int
	// Shards of this process for which some of SEND wait in their own queues, by the order of the
	// last; "" is none.
	behind map[int]string
}

// forward is a command for another process, or for later.
type forward struct {
	command *command
	shard   int
	packet  []byte
	order   string // for later, and in a fleet: the message's id, the process and a number that counts up
	held    *held  // in a fleet, in place of command
}

// handle has a command carried out, forwarded, or refused. For SEND it waits for no shard. Any
// goroutine may call it, one for each queue.
func (r *relay) handle(ctx context.Context, c *command) {
	r.sink.counts.Received(c.key)
	body := c.body
	c.body, c.delivery.Body = nil, nil // it may be large
	if c.key == commands.Send {
		r.router.Route(ctx, c.key, body, delivery{r, c})
		return
	}
	r.handleOwn(ctx, c, body)
}

// delivery is a command of SEND as commands.Router has it.
type delivery struct {
	r *relay
	c *command
}

func (d delivery) At() time.Time { return d.c.at }

func (d delivery) Hold(shard int) bool {
	order, own := d.r.order(shard)
	return !own || order == "" && d.r.quota.Hold(shard) // another process' is forwarded at once
}

func (d delivery) Release(shard int) {
	if _, own := d.r.order(shard); own {
		d.r.quota.Release(shard)
	}
}

func (d delivery) Sent(shard int) {
	d.Release(shard)
	d.c.done(nil)
}

// Dropped leaves the command unacknowledged: the broker hands it out again when the connection that brought it ends.
func (d delivery) Dropped(shard int) { d.Release(shard) }

// Later has a command wait in the queue of its shard.
func (d delivery) Later(ctx context.Context, shard int, packet []byte) {
	r := d.r
	r.mu.Lock()
	r.forwarded++
	order := fmt.Sprintf("%s-%d", r.process, r.forwarded)
	r.behind[shard] = order
	r.mu.Unlock()
	r.put(ctx, forward{command: d.c, shard: shard, packet: packet, order: order})
}

func (d delivery) Forward(ctx context.Context, shard int, packet []byte) {
	d.r.put(ctx, forward{command: d.c, shard: shard, packet: packet})
}

func (d delivery) Refuse(err error) { d.r.refuse(d.c, err) }

// order returns the order of the last command of SEND that waits in a shard's own queue, and whether
// the shard is one of this process.
func (r *relay) order(shard int) (order string, own bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	order, own = r.behind[shard]
	return order, own
}

// handleOwn has a command from a shard's own queue carried out. It waits for the shard: the queue
// has no other's.
func (r *relay) handleOwn(ctx context.Context, c *command, body []byte) {
	command, err := commands.Parse(c.key, body)
	if err != nil {
		r.sink.counts.Refused(c.key, commands.Reason(err, command, r.router.Total))
		r.refuse(c, err)
		return
	}
	command.Sent = func() {
		r.sink.counts.Sent(c.key, c.at)
		c.done(nil)
	}
	var logged time.Time
	err = r.router.Wait(ctx, command, c.gone, func(err error) {
		if time.Since(logged) >= logEvery {
			logged = time.Now()
			r.sink.lines.warn("RabbitMQ commands pending; their shard takes no more", "queue", r.sink.o.Exchange+":"+c.key, "error", err)
		}
	})
	switch {
	case errors.Is(err, sinks.ErrQueueFull):
		r.sink.counts.Refused(c.key, c.lost())
		return // the broker hands it out again
	case commands.Refused(ctx, err):
		r.sink.counts.Refused(c.key, commands.Reason(err, command, r.router.Total))
		r.refuse(c, err)
	case err != nil:
		r.sink.counts.Refused(c.key, commands.Stopped)
	default:
		r.sink.counts.Given(c.key)
	}
	if order := c.delivery.MessageId; order != "" {
		r.mu.Lock()
		if r.behind[command.Shard] == order {
			r.behind[command.Shard] = ""
		}
		r.mu.Unlock()
	}
}

func (r *relay) put(ctx context.Context, f forward) {
	select {
	case r.forwards <- f:
	case <-ctx.Done():
		r.sink.counts.Refused(f.command.key, commands.Stopped)
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
				r.sink.counts.Refused(f.command.key, commands.ConnectionLost)
				continue // the broker hands it out again
			default:
			}
			for try := 1; ; try++ {
				err := r.sink.publish(publishing, strconv.Itoa(f.shard), f.message(r.sink, &f.command.delivery), nil)
				if errors.Is(err, errUnroutable) && f.order != "" && try < unroutableTries && ctx.Err() == nil {
					pause(ctx, time.Second) // the queue is of this process, which declares it again
					continue
				}
				switch {
				case err == nil:
					if f.order != "" {
						f.command.delivery.ReplyTo = "" // the reply is not due yet
						r.sink.counts.Requeued(f.command.key)
					} else {
						r.sink.counts.Forwarded(f.command.key)
					}
					f.command.done(nil)
				case errors.Is(err, errUnroutable):
					r.sink.counts.Refused(f.command.key, commands.NotLocal)
					r.refuse(f.command, errors.New("no process has ever read commands for shard "+strconv.Itoa(f.shard)))
				default:
					r.sink.counts.Refused(f.command.key, commands.Stopped)
				}
				break
			}
		case <-ctx.Done():
		}
	}
}

// message returns what is published for a command that was delivered.
func (f *forward) message(s *Sink, d *amqp091.Delivery) amqp091.Publishing {
	p := s.forwarded(msgpack.AppendRaw(nil, f.packet))
	if f.order != "" {
		p.MessageId = f.order
		p.Expiration = d.Expiration // the bot's, if any: it waits as it would in SEND
		p.DeliveryMode = cmp.Or(p.DeliveryMode, d.DeliveryMode)
		p.ReplyTo, p.CorrelationId = d.ReplyTo, d.CorrelationId
	}
	return p
}

// refuse logs why a message is no command, and is done with it.
func (r *relay) refuse(c *command, err error) {
	r.sink.o.Log.Warn("command refused", "queue", r.sink.o.Exchange+":"+c.key, "error", err)
	c.done(err)
}
