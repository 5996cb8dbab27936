// This file recycles large buffers.

package wire

import (
	"math/bits"
	"sync"
)

// A slab is a buffer of a power of two of bytes, from 64 KiB on. What a peer makes us use again and
// again is recycled: as garbage it would come to many times what is in use at a time. What lies
// unused for two cycles of the garbage collector is given up.
const minSlab = 16 // bits

var slabs [48]sync.Pool

// getSlab returns an empty slab of at least n bytes.
func getSlab(n int) []byte {
	class := max(minSlab, bits.Len(uint(max(n, 1)-1)))
	if b, ok := slabs[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// putSlab recycles a slab, which must not be used any more. Any other buffer is left to the
// garbage collector.
func putSlab(b []byte) {
	if class := bits.Len(uint(cap(b))) - 1; class >= minSlab && cap(b) == 1<<class {
		slab := b // allocated here alone
		slabs[class].Put(&slab)
	}
}
