// This file brings commands from RabbitMQ to the engine.

package amqp

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"sluice/engine"
	"sluice/sinks/msgpack"
	"sluice/sinks/stdio"
)

// Relay reads commands from the queues <exchange>:SEND and <exchange>:<shard>, and
// gives them to send, which is the engine's, until ctx ends, through whatever happens
// to the broker. A command is acknowledged when it is on its way to Discord, or at once
// when it is none: what is wrong with it is told. One for a shard that another process
// runs is forwarded under the shard's number. A bot that wants a reply gets it at the
// acknowledgement. Those that wait for Discord while the connection to the broker is
// lost are handed out again, and so are sent twice.
func (s *Sink) Relay(ctx context.Context, shards []int, send func(context.Context, engine.Command) error) {
	ctx, cancel := context.WithCancel(ctx)
	// Forwarding waits while the broker takes nothing, and must not hold up the
	// other commands. Only the queue SEND has some to forward, and gives out no more
	// than this before they are done, on each of its connections.
	r := &relay{sink: s, send: send, forwards: make(chan forward, s.o.Prefetch)}
	var forwarding sync.WaitGroup
	forwarding.Go(func() { r.forward(ctx) })
	s.commands(ctx, shards, func(c *command) { r.handle(ctx, c) })
	cancel()
	forwarding.Wait()
}

type relay struct {
	sink     *Sink
	send     func(context.Context, engine.Command) error
	forwards chan forward
}

// forward is a command for another process.
type forward struct {
	command *command
	shard   int
	packet  []byte
}

// handle hands a command on, or gives it up.
func (r *relay) handle(ctx context.Context, c *command) {
	command, err := stdio.ParseEvent(c.key, c.body)
	if err != nil {
		r.refuse(c, err)
		return
	}
	command.Sent = func() { c.done(nil) }
	for {
		err := r.send(ctx, command)
		var elsewhere *engine.ElsewhereError
		switch {
		case err == nil:
			return
		case errors.Is(err, engine.ErrQueueFull):
			if pause(ctx, firstRetry); ctx.Err() == nil {
				continue
			}
		case errors.As(err, &elsewhere):
			select {
			case r.forwards <- forward{c, elsewhere.Shard, command.Packet}:
			case <-ctx.Done():
			}
		case ctx.Err() == nil && !errors.Is(err, engine.ErrStopped):
			r.refuse(c, err)
		}
		return
	}
}

// forward publishes the commands for other processes until ctx ends.
func (r *relay) forward(ctx context.Context) {
	for {
		select {
		case f := <-r.forwards:
			body := append(msgpack.AppendRawHeader(nil, len(f.packet)), f.packet...)
			err := r.sink.forward(ctx, strconv.Itoa(f.shard), body)
			switch {
			case err == nil:
				f.command.done(nil)
			case errors.Is(err, errUnroutable):
				r.refuse(f.command, errors.New("no process has ever read commands for shard "+strconv.Itoa(f.shard)))
			}
		case <-ctx.Done():
			return
		}
	}
}

// refuse tells of a command that is none, and is done with it.
func (r *relay) refuse(c *command, err error) {
	r.sink.o.Log.Warn("command refused", "queue", r.sink.o.Exchange+":"+c.key, "error", err)
	c.done(err)
}
