// This file pools the buffers that events lie in.

package pool

import (
	"math/bits"
	"sync"
)

const (
	// Sizes of the classes in bytes: powers of two. A MESSAGE_CREATE of 0.75 kB
	// fits the third.
	minClass = 8  // 256 B
	maxClass = 20 // 1 MiB
)

// Buffer is a byte slice to be used again. It has one owner at a time: who got
// it, until he hands it on or releases it.
type Buffer struct {
	B []byte
	poison
}

// Buffers keeps released buffers by size. The zero value is ready, for any
// number of goroutines. What lies unused for two cycles of the garbage collector
// is given up, so nothing is kept because it once was needed.
//
// Unlike bytebufferpool, which after some ten thousand returns drops whatever is
// larger than most of what came back, it keeps the rare large ones too, up to
// 1 MiB.
type Buffers struct {
	classes [maxClass - minClass + 1]sync.Pool
}

// Get returns an empty buffer with room for n bytes.
func (p *Buffers) Get(n int) *Buffer {
	class := classFor(n)
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

// Put takes back a buffer, which must not be used any more, nor what B was
// sliced to.
func (p *Buffers) Put(b *Buffer) {
	b.put(b.B)
	// A buffer that has grown belongs to the class that it can serve.
	class := bits.Len(uint(cap(b.B))) - 1
	if minClass <= class && cap(b.B) <= 1<<maxClass {
		p.classes[class-minClass].Put(b)
	}
}

// classFor returns the class whose buffers have room for n bytes.
func classFor(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }
