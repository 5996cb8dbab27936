// This file recycles the pieces in which large messages arrive.

package wire

import "sync"

// slabSize is the size of a piece in bytes. What a peer makes us use again and again is recycled:
// as garbage it would come to many times what is in use at a time.
const slabSize = 64 << 10

var slabPool = sync.Pool{New: func() any { return new([slabSize]byte) }}

// slabs is a message as it arrives: in pieces, since one buffer would leave as much behind as it
// grows. The zero value is empty.
type slabs struct {
	pieces []*[slabSize]byte
	size   int // bytes in all
}

// append copies b behind what is there.
func (s *slabs) append(b []byte) {
	for len(b) > 0 {
		at := s.size % slabSize
		if at == 0 {
			s.pieces = append(s.pieces, slabPool.Get().(*[slabSize]byte))
		}
		n := copy(s.pieces[len(s.pieces)-1][at:], b)
		s.size += n
		b = b[n:]
	}
}

// held is what the pieces take, in bytes.
func (s *slabs) held() int { return len(s.pieces) * slabSize }

// piece returns the bytes of a piece; they are borrowed until reset.
func (s *slabs) piece(i int) []byte {
	return s.pieces[i][:min(slabSize, s.size-i*slabSize)]
}

// moveTo appends all of it to dst, which has room, and is empty then: a piece is another's as
// soon as it has been copied.
func (s *slabs) moveTo(dst []byte) []byte {
	for i, p := range s.pieces {
		dst = append(dst, s.piece(i)...)
		slabPool.Put(p)
	}
	clear(s.pieces)
	s.pieces = s.pieces[:0]
	s.reset()
	return dst
}

// reset empties it.
func (s *slabs) reset() {
	for _, p := range s.pieces {
		slabPool.Put(p)
	}
	clear(s.pieces)
	s.pieces, s.size = s.pieces[:0], 0
	if cap(s.pieces) > 16 {
		s.pieces = nil
	}
}
