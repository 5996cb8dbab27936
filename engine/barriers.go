// This file is how the publisher knows that it has nothing more of a shard: which one that is
// removed waits for.

package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"sluice/sinks"
)

// barrier stands behind the last event of a shard that drains or has stopped.
type barrier struct {
	shard *shard
	at    uint64 // in the queue, then, once passed, among the events given to the sink
}

// barriers are those of all shards. Each stands in its queue until the publisher has given all before
// it to the sink, and then in passed until the sink has acknowledged that.
type barriers struct {
	barriersMu sync.Mutex
	unpassed   atomic.Int64
	passed     []barrier // in their order
	unacked    atomic.Int64

	deposing atomic.Int64 // deposed shards whose barrier is not passed
}

// addBarrier adds one to a queue. The producer calls it.
func (p *publisher) addBarrier(q *queue, b barrier) {
	p.barriersMu.Lock()
	q.barriers = append(q.barriers, b)
	p.unpassed.Add(1)
	p.barriersMu.Unlock()
	p.bell.Ring()
}

// pass looks for barriers before which the sink has been given all. The goroutine of run calls it, when
// it has given to the sink what it took.
func (p *publisher) pass() {
	if p.unpassed.Load() == 0 {
		return
	}
	p.barriersMu.Lock()
	for _, q := range p.queues {
		n, taken := 0, q.ring.Taken()
		for ; n < len(q.barriers) && q.barriers[n].at <= taken; n++ {
			s := q.barriers[n].shard
			if s.passed = true; s.deposed.Load() {
				p.deposing.Add(-1)
			}
			p.passed = append(p.passed, barrier{s, p.published.Load()})
		}
		q.barriers = slices.Delete(q.barriers, 0, n)
		p.unpassed.Add(int64(-n))
		p.unacked.Add(int64(n))
	}
	p.barriersMu.Unlock()
	p.reach()
}

// reach looks for barriers before which the sink has acknowledged all.
func (p *publisher) reach() {
	if p.unacked.Load() == 0 {
		return
	}
	p.barriersMu.Lock()
	defer p.barriersMu.Unlock()
	n := 0
	for ; n < len(p.passed) && p.passed[n].at <= p.acked.Load(); n++ {
		close(p.passed[n].shard.drained)
	}
	p.passed = slices.Delete(p.passed, 0, n)
	p.unacked.Add(int64(-n))
}

// depose has the events of a shard dropped that the sink has not been given. Any goroutine may
// call it.
func (p *publisher) depose(s *shard) {
	p.barriersMu.Lock()
	defer p.barriersMu.Unlock()
	if !s.deposed.Swap(true) && !s.passed {
		p.deposing.Add(1)
	}
}

// discard drops the events of deposed shards, moves the others together and returns how many they
// are. held is what the events hold.
func (p *publisher) discard(events []sinks.Event, held []held) int {
	n := 0
	for i := range events {
		ev, h := events[i], held[i]
		clearEvent(&events[i], &held[i])
		if h.origin.shard.Load().deposed.Load() {
			p.buffers.Put(h.buf)
			h.queue.ring.Release(int64(h.size))
			continue
		}
		events[n], held[n] = ev, h
		n++
	}
	return n
}
