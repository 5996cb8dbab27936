// This file reads the bitstreams that are written from their end to their
// beginning (RFC 8878, 4.1).

package zstd

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// A position in such a stream is a number of bits in the message that holds
// it: the next bit to read is the one before. What is read beyond the stream's
// beginning is whatever lies there; the position shows that it happened.

// load returns the 57 bits or more before pos, the next one on top. What lies
// before src is read as zeros.
func load(src []byte, pos int) uint64 {
	end := (pos + 7) >> 3
	if end < 8 {
		return loadFirst(src, pos)
	}
	return binary.LittleEndian.Uint64(src[end-8:]) << (uint(-pos) & 7)
}

// loadFirst is load within the first eight bytes, and before them. It is rare.
//
//go:noinline
func loadFirst(src []byte, pos int) uint64 {
	if pos <= 0 {
		return 0
	}
	var first [8]byte
	copy(first[8-(pos+7)>>3:], src[:(pos+7)>>3])
	return binary.LittleEndian.Uint64(first[:]) << (uint(-pos) & 7)
}

// streamEnd returns the position at which the stream src[start:end] begins to
// be read: below the highest bit of its last byte that is set.
func streamEnd(src []byte, start, end int) (int, error) {
	if start >= end || src[end-1] == 0 {
		return 0, errStream
	}
	return end*8 - 9 + bits.Len8(src[end-1]), nil
}

var errStream = errors.New("a bitstream without an end")

// lowBits are the masks for the lowest so many bits. A value of n bits is read
// by rotating them to the low end, which leaves what follows on top.
var lowBits = [32]uint64{
	0, 1<<1 - 1, 1<<2 - 1, 1<<3 - 1, 1<<4 - 1, 1<<5 - 1, 1<<6 - 1, 1<<7 - 1,
	1<<8 - 1, 1<<9 - 1, 1<<10 - 1, 1<<11 - 1, 1<<12 - 1, 1<<13 - 1, 1<<14 - 1, 1<<15 - 1,
	1<<16 - 1, 1<<17 - 1, 1<<18 - 1, 1<<19 - 1, 1<<20 - 1, 1<<21 - 1, 1<<22 - 1, 1<<23 - 1,
	1<<24 - 1, 1<<25 - 1, 1<<26 - 1, 1<<27 - 1, 1<<28 - 1, 1<<29 - 1, 1<<30 - 1, 1<<31 - 1,
}
