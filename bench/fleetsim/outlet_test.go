// This file is the sink of a process, which writes to the stream as sinks/redis does.

package fleetsim

import (
	"context"
	"errors"
	"maps"
	"time"

	"sluice/bench/sim"
	"sluice/sinks"
)

// outlet is a sinks.Sink and a sinks.Claimer. It keeps the positions of its shards as it knows them, and takes what
// the stream answers if they are others: what is written already, and what is another's by now,
// it leaves out.
type outlet struct {
	p     *process
	owner string
	known map[int]position // the writer's
	queue chan batch
	done  chan struct{}
}

type batch struct {
	events []entry
	acked  func(int)
}

var _ sinks.Claimer = (*outlet)(nil)

var errDead = errors.New("fleetsim: the process is dead")

func newOutlet(p *process, owner string) *outlet {
	o := &outlet{p: p, owner: owner, known: make(map[int]position), queue: make(chan batch, 2), done: make(chan struct{})}
	p.w.runs.Go(o.write)
	return o
}

func (o *outlet) Publish(ctx context.Context, events []sinks.Event, acked func(int)) error {
	b := batch{make([]entry, len(events)), acked}
	for i, ev := range events {
		b.events[i] = entry{Event: ev, typ: string(ev.Type), hash: sim.Hash(ev.Data), owner: o.owner}
		b.events[i].Type, b.events[i].Data = nil, nil
	}
	select {
	case o.queue <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-o.p.dead:
		return errDead
	}
}

func (o *outlet) Close() error { return nil }

// write writes batches until the process has ended.
func (o *outlet) write() {
	for {
		select {
		case b := <-o.queue:
			if !o.batch(b.events) {
				return
			}
			b.acked(len(b.events))
		case <-o.p.dead:
			return
		case <-o.done:
			return
		}
	}
}

// batch writes events until none is left to be written, or returns false if the process ends first.
func (o *outlet) batch(events []entry) bool {
	for {
		before, after := make(map[int]position), make(map[int]position)
		var rest []entry
		for _, e := range events {
			at, listed := after[e.Shard]
			if !listed {
				at = o.known[e.Shard]
			}
			if at.tag.excludes(&e) {
				o.p.fleet.Dropped(e.Shard, e.Epoch)
				continue
			}
			if at.covers(&e) {
				continue
			}
			if !listed {
				before[e.Shard] = at
			}
			after[e.Shard] = at.next(&e)
			rest = append(rest, e)
		}
		if events = rest; len(events) == 0 {
			return true
		}
		are, written, err := o.command(events, before, after)
		switch {
		case errors.Is(err, errDead):
			return false
		case err != nil: // it may have been written
			if !o.p.sleep(100 * time.Millisecond) {
				return false
			}
			continue
		}
		maps.Copy(o.known, are)
		if written {
			return true
		}
	}
}

// command has the stream take a command, as far as the way to it lets it.
func (o *outlet) command(events []entry, before, after map[int]position) (are map[int]position, written bool, err error) {
	f := o.p.onSink()
	switch {
	case !o.p.pass():
		return nil, false, errDead
	case f.Lose:
		return nil, false, errCut
	case f.LoseAnswer && f.Late > 0: // it is in flight, whatever becomes of who has sent it
		time.AfterFunc(f.Late, func() { o.p.w.stream.write(events, before, after) })
		return nil, false, errCut
	}
	are, written = o.p.w.stream.write(events, before, after)
	if !o.p.pass() {
		return nil, false, errDead
	}
	if f.LoseAnswer {
		return nil, false, errCut
	}
	return are, written, nil
}

// Claim implements sinks.Claimer.
func (o *outlet) Claim(ctx context.Context, epochs map[int]int64) (map[int]sinks.Position, error) {
	epochs = maps.Clone(epochs)
	f := o.p.onSink()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !o.p.pass() {
		return nil, errDead
	}
	switch {
	case f.Lose:
		return nil, errCut
	case f.LoseAnswer && f.Late > 0:
		time.AfterFunc(f.Late, func() { o.p.w.stream.claim(o.owner, epochs) })
		return nil, errCut
	}
	at, err := o.p.w.stream.claim(o.owner, epochs)
	if !o.p.pass() {
		return nil, errDead
	}
	if f.LoseAnswer {
		return nil, errCut
	}
	return at, err
}
