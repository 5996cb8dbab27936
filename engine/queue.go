// This file is where a reader leaves events: the producer's end of a ring, with
// the shards that wait for room in it.

package engine

import (
	"sync"
	"sync/atomic"

	"sluice/pool"
	"sluice/sinks"
)

const (
	// publishEvery bounds the events that a reader keeps to itself before the
	// publisher sees them.
	publishEvery = 64
	// maxSlots bounds the slots of a ring: the larger it is, the less of it is in
	// the processor's cache when its turn comes again. With 65,536 slots an
	// event costs a third more than with so many (BenchmarkPath/none).
	maxSlots = 16 << 10
)

// entry is an event in a queue, with what travels beside it.
type entry struct {
	sinks.Event
	held
}

// held is what an event holds until it is acknowledged.
type held struct {
	origin *session     // takes the acknowledgement
	queue  *queue       // counts size
	buf    *pool.Buffer // has Type and Data
	size   int          // bytes in use
}

// queue takes the events of one goroutine's shards, or, if it is shared, those of
// many goroutines.
type queue struct {
	ring    *pool.Ring[entry]
	buffers *pool.Buffers
	shared  bool

	mu  sync.Mutex // of the producers, if shared
	put int        // events since the last publish; of the producers

	waits    atomic.Bool // paused is not empty; written with its lock held
	pausedMu sync.Mutex
	paused   []*shard
}

// newQueue adds a queue for so many bytes to the publisher, which does not run yet.
// shared is the number of goroutines that use it, 0 if it is one with many
// shards. The ring has a slot for each KiB, but maxSlots at most: a small event
// takes one as a large one does.
func (p *publisher) newQueue(bytes, shared int) *queue {
	q := &queue{buffers: &p.buffers, shared: shared > 0}
	spare := max(3, 4*shared) // a shard that has asked puts an event, and up to three gaps before it
	q.ring = pool.NewRing[entry](min(bytes>>10, maxSlots)+spare, int64(bytes), p.bell, q.room)
	q.ring.Spare = spare
	p.queues = append(p.queues, q)
	return q
}

// full reports whether there is no room, or another shard waits for it. A shard asks before each
// message that it takes from its socket, so the bound is exceeded by one message at most, or one
// for each goroutine.
//
// While one shard waits all must: those that went on could keep the ring more
// than half full, and the one that waits would do so for ever.
func (q *queue) full() bool {
	if q.shared {
		q.mu.Lock()
		defer q.mu.Unlock()
	}
	return q.waits.Load() || q.ring.Full()
}

// await has s sent wakeRoom when half of a full ring is free again. It returns false, and does not, if
// there is room already.
func (q *queue) await(s *shard) bool {
	if q.shared {
		q.mu.Lock()
		defer q.mu.Unlock()
	}
	q.pausedMu.Lock()
	first := len(q.paused) == 0
	if first && !q.ring.Full() { // room has been called
		q.pausedMu.Unlock()
		return false
	}
	q.paused = append(q.paused, s)
	q.waits.Store(true)
	q.pausedMu.Unlock()
	if !first {
		return true
	}
	q.put = 0
	if q.ring.Await() {
		return true
	}
	q.takePaused() // s alone: others would ask on this goroutine, or wait for the lock
	return false
}

// room wakes the shards that wait. The publisher calls it.
func (q *queue) room() {
	for _, s := range q.takePaused() {
		s.wake(wakeRoom)
	}
}

func (q *queue) takePaused() []*shard {
	q.pausedMu.Lock()
	defer q.pausedMu.Unlock()
	paused := q.paused
	q.paused = nil
	q.waits.Store(false)
	return paused
}

// push takes an event, which the publisher sees after publish or a number of others.
// The shard has asked full before.
func (q *queue) push(e entry) {
	if q.shared {
		q.mu.Lock()
		defer q.mu.Unlock()
	}
	q.ring.Put(e, e.size)
	if q.put++; q.put >= publishEvery || q.shared {
		q.put = 0
		q.ring.Publish()
	}
}

// publish shows the publisher what was pushed. The producer calls it before it waits for
// anything.
func (q *queue) publish() {
	if q.put > 0 {
		q.put = 0
		q.ring.Publish()
	}
}
