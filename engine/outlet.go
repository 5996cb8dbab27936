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
	// lane sees them.
	publishEvery = 64
	// maxSlots bounds the slots of a ring: the larger it is, the less of it is in
	// the processor's cache when its turn comes again. With 65,536 slots an
	// event costs a third more than with so many (BenchmarkPath/none).
	maxSlots = 16 << 10
)

// entry is an event in an outlet, with what travels beside it.
type entry struct {
	sinks.Event
	held
}

// held is what an event holds until it is acknowledged.
type held struct {
	origin *session     // takes the acknowledgement
	outlet *outlet      // counts size
	buf    *pool.Buffer // has Type and Data
	size   int          // bytes in use
}

// outlet takes the events of one goroutine's shards, or, if it is shared, those of
// many goroutines.
type outlet struct {
	ring    *pool.Ring[entry]
	buffers *pool.Buffers
	shared  bool

	mu  sync.Mutex // of the producers, if shared
	put int        // events since the last publish; of the producers

	waits    atomic.Bool // paused is not empty; written with its lock held
	pausedMu sync.Mutex
	paused   []*shard
}

// newOutlet adds an outlet for so many bytes to the lane, which does not run yet.
// shared is the number of goroutines that use it, 0 if it is one with many
// shards. The ring has a slot for each KiB, but maxSlots at most: a small event
// takes one as a large one does.
func (l *lane) newOutlet(bytes, shared int) *outlet {
	o := &outlet{buffers: &l.buffers, shared: shared > 0}
	spare := max(3, 4*shared) // a shard that has asked puts an event, and up to three gaps before it
	o.ring = pool.NewRing[entry](min(bytes>>10, maxSlots)+spare, int64(bytes), l.bell, o.room)
	o.ring.Spare = spare
	l.outlets = append(l.outlets, o)
	return o
}

// full reports whether s must pause. It then is sent mailRoom when half of the
// ring is free again. A shard asks before each message that it takes from its
// socket, so the bound is exceeded by one message at most, or one for each
// goroutine.
//
// While one shard waits all must: those that went on could keep the ring more
// than half full, and the one that waits would do so for ever.
func (o *outlet) full(s *shard) bool {
	if o.shared {
		o.mu.Lock()
		defer o.mu.Unlock()
	}
	if !o.waits.Load() && !o.ring.Full() {
		return false
	}
	o.pausedMu.Lock()
	first := len(o.paused) == 0
	if first && !o.ring.Full() { // room has been called
		o.pausedMu.Unlock()
		return false
	}
	o.paused = append(o.paused, s)
	o.waits.Store(true)
	o.pausedMu.Unlock()
	if !first {
		return true
	}
	o.put = 0
	if o.ring.Await() {
		return true
	}
	o.takePaused() // s alone: others would ask on this goroutine, or wait for the lock
	return false
}

// room wakes the shards that wait. The lane calls it.
func (o *outlet) room() {
	for _, s := range o.takePaused() {
		s.post(mailRoom)
	}
}

func (o *outlet) takePaused() []*shard {
	o.pausedMu.Lock()
	defer o.pausedMu.Unlock()
	paused := o.paused
	o.paused = nil
	o.waits.Store(false)
	return paused
}

// push takes an event, which the lane sees after publish or a number of others.
// The shard has asked full.
func (o *outlet) push(e entry) {
	if o.shared {
		o.mu.Lock()
		defer o.mu.Unlock()
	}
	o.ring.Put(e, e.size)
	if o.put++; o.put >= publishEvery || o.shared {
		o.put = 0
		o.ring.Publish()
	}
}

// publish shows the lane what was pushed. The producer calls it before it waits for
// anything.
func (o *outlet) publish() {
	if o.put > 0 {
		o.put = 0
		o.ring.Publish()
	}
}
