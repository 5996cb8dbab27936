// This file is how the publisher knows that it has nothing more of a shard: which one that is
// removed waits for.

package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"sluice/sinks"
)

// mark stands behind the last event of a shard that has stopped.
type mark struct {
	shard *shard
	at    uint64 // in the queue, then, once passed, among the events given to the sink
}

// marks are those of all shards. Each stands in its queue until the publisher has given all before
// it to the sink, and then in passed until the sink has acknowledged that.
type marks struct {
	marksMu  sync.Mutex
	unpassed atomic.Int64
	passed   []mark // in their order
	unacked  atomic.Int64

	deposing atomic.Int64 // deposed shards whose mark is not passed
}

// mark adds one to a queue. The producer calls it.
func (p *publisher) mark(q *queue, m mark) {
	p.marksMu.Lock()
	q.marks = append(q.marks, m)
	p.unpassed.Add(1)
	p.marksMu.Unlock()
	p.bell.Ring()
}

// pass looks for marks before which the sink has been given all. The goroutine of run calls it, when
// it has given to the sink what it took.
func (p *publisher) pass() {
	if p.unpassed.Load() == 0 {
		return
	}
	p.marksMu.Lock()
	for _, q := range p.queues {
		n, taken := 0, q.ring.Taken()
		for ; n < len(q.marks) && q.marks[n].at <= taken; n++ {
			s := q.marks[n].shard
			if s.passed = true; s.deposed.Load() {
				p.deposing.Add(-1)
			}
			p.passed = append(p.passed, mark{s, p.published.Load()})
		}
		q.marks = slices.Delete(q.marks, 0, n)
		p.unpassed.Add(int64(-n))
		p.unacked.Add(int64(n))
	}
	p.marksMu.Unlock()
	p.reach()
}

// reach looks for marks before which the sink has acknowledged all.
func (p *publisher) reach() {
	if p.unacked.Load() == 0 {
		return
	}
	p.marksMu.Lock()
	defer p.marksMu.Unlock()
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
	p.marksMu.Lock()
	defer p.marksMu.Unlock()
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
		if h.origin.shard.deposed.Load() {
			p.buffers.Put(h.buf)
			h.queue.ring.Release(int64(h.size))
			continue
		}
		events[n], held[n] = ev, h
		n++
	}
	return n
}
