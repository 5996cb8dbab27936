// This file is where a reader leaves events: the producer's end of a ring, with
// the shards that wait for room in it.

package engine

import (
	"slices"
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
	// the processor's cache at its next turn. With 65,536 slots an
	// event costs a third more than with so many (BenchmarkPath/none).
	maxSlots = 16 << 10
	// What a shard puts between two questions: an event, and up to three gaps before it.
	spareSlots = 3
	// sharedSpare is for the goroutines that have asked at once and have not put yet. More of
	// them put behind the ring.
	sharedSpare = 64
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
	size   uint32       // bytes in use
	read   tick         // when it was read from the socket
}

// queue takes the events of one goroutine's shards, or, if it is shared, those of any number of
// goroutines.
type queue struct {
	publisher *publisher
	ring      *pool.Ring[entry]
	shared    bool
	names     nameCounts

	mu       sync.Mutex // of the producers, if shared
	put      int        // events since the last publish; of the producers
	overflow []entry    // put and not in the ring, which had no slot; only if shared

	overflows atomic.Bool // overflow is not empty; written with mu held
	waits     atomic.Bool // paused is not empty; written with its lock held
	pausedMu  sync.Mutex
	paused    []*shard

	barriers []barrier // not passed, in their order; the publisher's lock guards it
}

// newQueue adds a queue for so many bytes to the publisher, which does not run yet.
// The ring has a slot for each KiB, but maxSlots at most: a small event
// takes one as a large one does.
func (p *publisher) newQueue(bytes int, shared bool) *queue {
	q := &queue{publisher: p, shared: shared}
	spare := spareSlots
	if shared {
		spare = sharedSpare
	}
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
	return q.waits.Load() || q.ring.Full() || len(q.overflow) > 0
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

// forget takes a shard out of those that wait.
func (q *queue) forget(s *shard) {
	q.pausedMu.Lock()
	defer q.pausedMu.Unlock()
	q.paused = slices.DeleteFunc(q.paused, func(o *shard) bool { return o == s })
	q.waits.Store(len(q.paused) > 0)
}

// push takes an event, which the publisher sees after publish or a number of others.
// The shard has asked full before.
func (q *queue) push(e entry) {
	if q.shared {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.refill(); len(q.overflow) > 0 || !q.ring.HasSlot() {
			q.overflow = append(q.overflow, e)
			q.overflows.Store(true)
			q.publisher.bell.Ring()
			return
		}
	}
	q.ring.Put(e, int(e.size))
	if q.put++; q.put >= publishEvery || q.shared {
		q.put = 0
		q.ring.Publish()
	}
}

// refill moves to the ring what overflowed, as far as there are slots. The lock is held if the
// queue is shared.
func (q *queue) refill() {
	if len(q.overflow) == 0 {
		return
	}
	n := 0
	for ; n < len(q.overflow) && q.ring.HasSlot(); n++ {
		q.ring.Put(q.overflow[n], int(q.overflow[n].size))
	}
	q.ring.Publish()
	if q.overflow = slices.Delete(q.overflow, 0, n); len(q.overflow) == 0 {
		q.overflow = nil
		q.overflows.Store(false)
	}
}

// publish shows the publisher what was pushed. The producer calls it before it waits for
// anything.
func (q *queue) publish() {
	if q.put > 0 {
		q.put = 0
		q.ring.Publish()
	}
	q.names.show()
}

// status returns the bytes of what the sink has not acknowledged, and how many shards wait for room.
// Any goroutine may call it.
func (q *queue) status() (bytes int64, paused int) {
	bytes = q.ring.Bytes()
	if q.shared {
		q.mu.Lock()
		for i := range q.overflow {
			bytes += int64(q.overflow[i].size)
		}
		q.mu.Unlock()
	}
	q.pausedMu.Lock()
	defer q.pausedMu.Unlock()
	return bytes, len(q.paused)
}

// end publishes the last events of a shard that drains or has stopped, and puts a barrier behind them. The producer
// calls it.
func (q *queue) end(s *shard) {
	q.forget(s)
	if q.shared {
		q.mu.Lock()
		defer q.mu.Unlock()
	}
	q.publish()
	q.publisher.addBarrier(q, barrier{s, q.ring.Position() + uint64(len(q.overflow))})
}

// close ends the queue. No shard uses the queue any more.
func (q *queue) close() {
	q.mu.Lock() // against refill
	defer q.mu.Unlock()
	q.ring.Close()
}
