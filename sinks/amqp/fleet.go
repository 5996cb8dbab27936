// This file reads commands in a fleet, where shards move from one process to another.
//
// A shard's queue is read by whoever runs the shard, and SEND by whoever runs shard 0, which forwards all of it: each
// queue has one reader, and so the commands of a shard keep the order in which they came to SEND, or to
// its own queue.
//
// That there is one is RabbitMQ's to ensure: consumers are exclusive. A reader that leaves holds on to its queue until
// what is in flight is sent and acknowledged, or given back, and then closes its channel. In that one step
// RabbitMQ lets go of the consumer and puts back, in its place, all that was not acknowledged: the next
// reader gets nothing newer before. The process that dies leaves its queues in the same step.

package amqp

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice/sinks"
	"sluice/sinks/commands"
)

// CommandFleet says who reads what in a fleet. All are required.
type CommandFleet struct {
	// Shards returns the ids that this process runs. Of all processes one at a time runs shard 0.
	Shards func() []int
	// Trusted reports whether they are known not to be another's.
	Trusted func() bool
}

const (
	// followEvery is how often the shards are looked at.
	followEvery = 50 * time.Millisecond
	// forwardedPrefix begins the ids of messages that a fleet forwards.
	forwardedPrefix = "sluice-"
)

// fleetRelay is the state of one RelayFleet.
type fleetRelay struct {
	sink    *Sink
	fleet   CommandFleet
	total   int
	send    func(context.Context, sinks.Command) error
	conns   *conns
	answers *answers
	process string

	publishing context.Context // for what is being forwarded
	ended      chan struct{}   // closed when no command is sent any more

	seats map[string]*seat // owned by run

	mu        sync.Mutex
	read      map[string]time.Time // the queues that are read over a channel, by key, and since when
	forwarded int                  // commands, for the ids of the messages
	passed    map[string]*passed
}

// RelayFleet is Relay in a fleet: the shards of the process change while it reads, and each queue has one reader of all
// processes.
func (s *Sink) RelayFleet(ctx context.Context, settled <-chan struct{}, fleet CommandFleet, total int, counts *commands.Counts, send func(context.Context, sinks.Command) error) {
	s.counts = counts
	counts.Reads(commands.Send, commands.Shard)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(settleTimeout, stopPublishing) })()
	r := &fleetRelay{sink: s, fleet: fleet, total: max(total, 1), send: send, conns: newConns(s),
		answers: &answers{sink: s, wake: make(chan struct{}, 1)}, process: forwardedPrefix + rand.Text(),
		publishing: publishing, ended: make(chan struct{}), seats: make(map[string]*seat), passed: make(map[string]*passed),
		read: make(map[string]time.Time)}
	var answering sync.WaitGroup
	answer, stopAnswering := context.WithCancel(context.Background())
	answering.Go(func() { r.answers.send(answer) })
	answering.Go(func() { s.answer(answer) })
	answering.Go(func() { r.watch(ctx) })
	answering.Go(func() {
		<-ctx.Done()
		if settled != nil {
			select {
			case <-settled:
			case <-s.ctx.Done():
			}
		}
		close(r.ended)
		late := time.AfterFunc(settleTimeout, r.conns.hangUp) // what is done is still acknowledged, by a broker that listens
		<-answer.Done()
		late.Stop()
	})
	r.run(ctx)
	stopAnswering()
	answering.Wait()
	r.conns.close()
}

// run follows the shards until ctx ends, and what is in flight then.
func (r *fleetRelay) run(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for done := ctx.Done(); ; {
		var wanted []string
		if ctx.Err() == nil && r.fleet.Trusted() { // one that may be another's is left to it
			ids := r.fleet.Shards()
			if slices.Contains(ids, 0) {
				wanted = append(wanted, commands.Send)
			}
			for _, id := range ids {
				wanted = append(wanted, strconv.Itoa(id))
			}
		}
		r.follow(wanted)
		if ctx.Err() != nil && len(r.seats) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-done:
			done = nil
		}
	}
}

// follow reads the queues of the keys that are wanted, and leaves others.
func (r *fleetRelay) follow(wanted []string) {
	read := make(map[string]struct{}, len(wanted))
	for _, key := range wanted {
		read[key] = struct{}{}
		if r.seats[key] == nil {
			r.seats[key] = r.sit(key)
		}
	}
	for key, s := range r.seats {
		if _, is := read[key]; !is {
			s.leave()
		}
		select {
		case <-s.done:
			delete(r.seats, key)
		default:
		}
	}
}

// reads notes whether the queue of a key is read from now on.
func (r *fleetRelay) reads(key string, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is {
		r.read[key] = time.Now()
	} else {
		delete(r.read, key)
	}
}

// known returns the keys of the queues that are read, and takes out of unread those that were not, or not all the
// time since: a queue that moves has no consumer for a moment.
func (r *fleetRelay) known(unread map[string]time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(unread, func(key string, at time.Time) bool {
		since, is := r.read[key]
		return !is || since.After(at)
	})
	return slices.Sorted(maps.Keys(r.read))
}

// watch declares everything again from time to time, as topology.watch does.
func (r *fleetRelay) watch(ctx context.Context) {
	t := &topology{sink: r.sink, unread: make(map[string]time.Time), lost: make(chan error, 1)}
	t.keys = func() []string { return r.known(t.unread) }
	tick := time.NewTicker(r.sink.every)
	defer tick.Stop()
	steady := time.NewTicker(time.Second)
	defer steady.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.sink.rebind:
		case <-steady.C:
			r.conns.any() // for the end of an outage
			continue
		case <-ctx.Done():
			return
		}
		c := r.conns.any()
		if c == nil {
			continue
		}
		t.at, t.conn = c.at, c.conn
		if err := t.check(); err != nil && ctx.Err() == nil && !c.conn.IsClosed() {
			r.sink.lines.warn("RabbitMQ exchange and command queues not declared; retrying", "error", explain(err))
		}
		select {
		case err := <-t.lost:
			r.sink.lines.warn("RabbitMQ: commands are read anew", "error", err)
			clear(t.unread)
			r.conns.hangUp()
		default:
		}
	}
}

// order returns the id of the next message that is forwarded.
func (r *fleetRelay) order() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forwarded++
	return fmt.Sprintf("%s-%d", r.process, r.forwarded)
}

// passedOf returns what is known of the messages of a queue.
func (r *fleetRelay) passedOf(key string) *passed {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.passed[key]
	if p == nil {
		p = &passed{most: 4 * r.sink.o.Prefetch}
		r.passed[key] = p
	}
	return p
}

// declare makes the queue of a shard that no process has ever run.
func (r *fleetRelay) declare(c *commandConn, key string) error {
	ch, err := declareExchange(&r.sink.o, c.at, c.conn)
	if err != nil {
		return err
	}
	defer ch.Close()
	_, err = declareQueue(&r.sink.o, c.at, ch, key)
	return err
}
