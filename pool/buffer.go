// This file pools the buffers that events lie in.

package pool

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// Sizes of the classes in bytes: powers of two. A MESSAGE_CREATE of 0.75 kB
	// fits the third.
	minClass = 8  // 256 B
	maxClass = 20 // 1 MiB

	// SharedRoom is what a shared buffer has room for at least, in bytes.
	SharedRoom = 16 << 10
)

// Buffer is a byte slice to be used again. It has one owner at a time: who got
// it, until he hands it on or releases it. Of a shared one that is true of the room behind B, and each value in it
// is released by itself.
type Buffer struct {
	B []byte
	poison
	added int32 // values in a shared one; of its owner

	// The owner writes what is above for each value, and whoever releases them what is below.
	_ [cacheLine]byte

	left atomic.Int32 // values that are not released, and sharing while some may be added
}

// sharing is more than a buffer has values.
const sharing = 1 << 30

// Buffers keeps released buffers by size. The zero value is ready, for any
// number of goroutines. What lies unused for two cycles of the garbage collector
// is given up, so nothing is kept because it once was needed.
//
// Unlike bytebufferpool, which after some ten thousand returns drops whatever is
// larger than most of what came back, it keeps the rare large ones too, up to
// 1 MiB.
type Buffers struct {
	classes [maxClass - minClass + 1]sync.Pool
	shared  sync.Pool // those with room
}

// NewBuffer returns a buffer with one value, b.
func NewBuffer(b []byte) *Buffer {
	n := &Buffer{B: b}
	n.left.Store(1)
	return n
}

// Get returns an empty buffer with room for n bytes, for one value.
func (p *Buffers) Get(n int) *Buffer {
	b := p.get(classFor(n), n)
	b.left.Store(1)
	return b
}

func (p *Buffers) get(class, n int) *Buffer {
	if class > maxClass {
		return &Buffer{B: make([]byte, 0, n)}
	}
	b, ok := p.classes[class-minClass].Get().(*Buffer)
	if !ok {
		return &Buffer{B: make([]byte, 0, 1<<class)}
	}
	b.got()
	b.B = b.B[:0]
	return b
}

// Share returns a buffer with SharedRoom behind B, for values that are put there one behind the other, which
// saves copying and what a buffer of its own costs each. It is the caller's until Keep.
func (p *Buffers) Share() *Buffer {
	if b, ok := p.shared.Get().(*Buffer); ok {
		return b
	}
	b := p.get(sharedClass, 1<<sharedClass)
	b.added = 0
	b.left.Store(sharing)
	return b
}

// Room returns b, or another shared buffer in its place if b has no SharedRoom any more.
func (p *Buffers) Room(b *Buffer) *Buffer {
	if b.roomy() {
		return b
	}
	p.Keep(b)
	return p.Share()
}

// Keep takes a shared buffer, to be used by whoever calls Share next, or when all values in it are released.
func (p *Buffers) Keep(b *Buffer) {
	if b.roomy() {
		p.shared.Put(b)
		return
	}
	if b.left.Add(b.added-sharing) == 0 {
		p.recycle(b)
	}
}

// Space returns the room behind B, as a slice without elements.
func (b *Buffer) Space() []byte { return b.B[len(b.B):] }

// Add makes a value of the next n bytes of the room, and returns it: it is to be released by Put.
func (b *Buffer) Add(n int) []byte {
	from := len(b.B)
	b.B = b.B[:from+n]
	b.added++
	return b.B[from : from+n : from+n]
}

// roomy reports whether there is SharedRoom.
func (b *Buffer) roomy() bool { return cap(b.B)-len(b.B) >= SharedRoom }

// Put releases a buffer, or a value in a shared one. Neither must be used any more, nor what B was
// sliced to.
func (p *Buffers) Put(b *Buffer) {
	switch n := b.left.Add(-1); {
	case n == 0:
		p.recycle(b)
	case n < 0:
		panic("pool: buffer released twice")
	}
}

// recycle keeps a buffer of which everything is released.
func (p *Buffers) recycle(b *Buffer) {
	b.put(b.B)
	// A buffer that has grown belongs to the class that it can serve.
	class := bits.Len(uint(cap(b.B))) - 1
	if minClass <= class && cap(b.B) <= 1<<maxClass {
		p.classes[class-minClass].Put(b)
	}
}

// classFor returns the class whose buffers have room for n bytes.
func classFor(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }
