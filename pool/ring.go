// This file is the ring between a producer and a consumer, and the argument for
// its memory order.
//
// The Go memory model makes operations of sync/atomic sequentially consistent:
// all of them fall into one order, and one that sees the effect of another
// happens after it. Everything else in a Ring belongs to one side. There are four
// places where the sides meet.
//
// Slots, forth. The producer writes a slot, then stores filled. The consumer
// loads filled, then reads the slots below it: it sees the store, so the write
// happened before.
//
// Slots, back. The consumer reads and clears a slot, then stores taken. The
// producer loads taken and writes only slots that lie below taken + len(slots): it
// sees the store, so the slot was read and cleared before it is written again.
//
// The bell. The producer stores filled, then loads asleep; the consumer stores
// asleep, then loads filled. In the one order of these four, one of the loads is
// last and sees the other side's store: either the producer rings, or the
// consumer does not go to sleep.
//
// Room. The producer stores waiting, then loads taken and freed; the consumer
// stores taken in Take and, later, freed in Release, and then loads waiting. Again
// one of them sees the other's store: either there is room, or the consumer sees
// the wait. It then calls for the producer once at most half is in use, which
// comes to pass, as the producer has published all it has and puts nothing while
// it waits, and as the last value taken is released after all others. Of the two
// that may end a wait, the one whose Swap finds it set has ended it.
//
// The consumer may be two goroutines, of which one takes and the other releases what
// the first has handed it: all that Release reads is atomic.

package pool

import (
	"math/bits"
	"sync/atomic"
)

// cacheLine keeps what different cores write apart: two lines of 64 bytes, since
// processors fetch them in pairs.
const cacheLine = 128

// Ring is a queue without locks from one producer to one consumer, bounded in
// slots and in bytes: Full, HasSlot, Put, Position, Publish, Await and Close are the producer's
// and called by one goroutine at a time, Take and Empty the consumer's; so is
// Release, which may be called on another goroutine than Take.
//
// The bytes of a value count from Put until they are released, which is later than
// Take: while the consumer works on it.
type Ring[T any] struct {
	// Spare slots are left free by Full, for values whose producers have asked
	// it before and put later. It is set before the first Put.
	Spare int

	slots []T
	mask  uint64
	limit int64
	bell  *Bell
	room  func()

	_ [cacheLine]byte

	// written by the producer
	next      uint64 // the slot of the next Put
	bytes     int64  // put in all
	takenSeen uint64 // taken, as last loaded
	freedSeen int64  // freed, as last loaded
	filled    atomic.Uint64
	published atomic.Int64 // bytes, as of the last Publish
	closed    atomic.Bool

	_ [cacheLine]byte

	// written by the consumer
	taken      atomic.Uint64
	freed      atomic.Int64 // bytes released in all
	filledSeen uint64       // filled, as last loaded

	_ [cacheLine]byte

	waiting atomic.Bool // the producer waits for room
}

// NewRing returns a ring for at least so many values (the next power of two)
// and for so many bytes, beyond which one more value may go. bell wakes the
// consumer for new values and at the end. room is called, by the consumer, when
// there is room for a producer that waits; it must not call the ring.
func NewRing[T any](slots int, limit int64, bell *Bell, room func()) *Ring[T] {
	n := uint64(1) << bits.Len(uint(max(slots, 2)-1))
	return &Ring[T]{slots: make([]T, n), mask: n - 1, limit: limit, bell: bell, room: room}
}

// Full reports whether there is no slot left but the spare ones, or as many bytes
// as allowed are in use.
func (r *Ring[T]) Full() bool {
	slots := uint64(len(r.slots) - r.Spare)
	if r.next-r.takenSeen < slots && r.bytes-r.freedSeen < r.limit {
		return false
	}
	r.takenSeen, r.freedSeen = r.taken.Load(), r.freed.Load()
	return r.next-r.takenSeen >= slots || r.bytes-r.freedSeen >= r.limit
}

// Put appends a value of so many bytes. The consumer sees it after Publish. It
// panics if there is no slot left, the spare ones included.
func (r *Ring[T]) Put(v T, size int) {
	if !r.HasSlot() {
		panic("pool: Put into a ring that is full")
	}
	r.slots[r.next&r.mask] = v
	r.next++
	r.bytes += int64(size)
}

// HasSlot reports whether Put finds a slot, be it a spare one.
func (r *Ring[T]) HasSlot() bool {
	if r.next-r.takenSeen == uint64(len(r.slots)) {
		r.takenSeen = r.taken.Load()
	}
	return r.next-r.takenSeen < uint64(len(r.slots))
}

// Position returns how many values were put so far. It is the producer's.
func (r *Ring[T]) Position() uint64 { return r.next }

// Taken returns how many of them were taken. Any goroutine may call it.
func (r *Ring[T]) Taken() uint64 { return r.taken.Load() }

// Len returns how many are shown to the consumer and not taken. Any goroutine may call it.
func (r *Ring[T]) Len() int {
	taken := r.taken.Load() // before filled, which is not behind it
	return int(r.filled.Load() - taken)
}

// Bytes returns how many bytes are shown to the consumer and not released. Any goroutine may call it.
func (r *Ring[T]) Bytes() int64 {
	freed := r.freed.Load() // before published, which is not behind it
	return r.published.Load() - freed
}

// Publish shows the consumer what was put since the last Publish, if anything.
func (r *Ring[T]) Publish() {
	if r.next == r.filled.Load() {
		return
	}
	r.published.Store(r.bytes)
	r.filled.Store(r.next)
	r.bell.Ring()
}

// Await publishes and asks for a call of room once at most half of the ring is
// in use. It returns false, and there will be no call, if there is room already.
func (r *Ring[T]) Await() bool {
	r.Publish()
	r.waiting.Store(true)
	return r.Full() || !r.waiting.Swap(false)
}

// Close publishes and marks the end: nothing follows.
func (r *Ring[T]) Close() {
	r.Publish()
	r.closed.Store(true)
	r.bell.Ring()
}

// Take moves up to len(dst) values into dst and returns how many. The ring keeps
// no reference to them.
func (r *Ring[T]) Take(dst []T) int {
	taken := r.taken.Load()
	if r.filledSeen-taken < uint64(len(dst)) {
		r.filledSeen = r.filled.Load()
	}
	n := int(min(r.filledSeen-taken, uint64(len(dst))))
	if n == 0 {
		return 0
	}
	from := int(taken & r.mask)
	first := copy(dst[:n], r.slots[from:])
	clear(r.slots[from : from+first])
	copy(dst[first:n], r.slots)
	clear(r.slots[:n-first])
	r.taken.Store(taken + uint64(n))
	return n
}

// Release ends the count of so many bytes of values that were taken. It must
// follow every Take that returned some, for a producer may wait for their slots.
func (r *Ring[T]) Release(bytes int64) {
	freed := r.freed.Add(bytes)
	if !r.waiting.Load() {
		return
	}
	half := r.filled.Load()-r.taken.Load() <= uint64(len(r.slots)-r.Spare)/2 && r.published.Load()-freed <= r.limit/2
	if half && r.waiting.Swap(false) {
		r.room()
	}
}

// Empty reports whether there is nothing to take now, and whether there never
// will be.
func (r *Ring[T]) Empty() (now, forever bool) {
	closed := r.closed.Load() // before filled: what was put before the end is seen
	now = r.filled.Load() == r.taken.Load()
	return now, now && closed
}

// Bell wakes the consumer of one or more rings.
type Bell struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// NewBell returns a bell.
func NewBell() *Bell { return &Bell{wake: make(chan struct{}, 1)} }

// Ring wakes the consumer if it sleeps. Any goroutine may call it.
func (b *Bell) Ring() {
	if b.asleep.Load() && b.asleep.Swap(false) {
		select {
		case b.wake <- struct{}{}:
		default: // of a Wait that found out by itself
		}
	}
}

// Wait returns when idle, which it asks first, returns false, or after Ring. It
// may return without reason: the caller looks again.
func (b *Bell) Wait(idle func() bool) {
	b.asleep.Store(true)
	if !idle() {
		b.asleep.Store(false)
		return
	}
	<-b.wake
}
