// This file finds where a JSON value ends.

package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// valueLen returns the length of the JSON value at the start of b, or 0 if it
// does not end. Objects and arrays are only followed to where they close.
func valueLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		return stringLen(b)
	case '{', '[':
		return nestedLen(b)
	}
	n := 0
	for n < len(b) && isLiteralByte(b[n]) {
		n++
	}
	return n
}

// stringLen returns the length of the JSON string at the start of b, quotes
// included, or 0 if it does not end.
func stringLen(b []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return 0
		}
		i += n
		// A quote behind an odd number of backslashes is escaped.
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		i++
		if slashes%2 == 0 {
			return i
		}
	}
}

// isLiteralByte reports whether c can be part of a number, true, false or null.
func isLiteralByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// nestedLen returns the length of the object or array at the start of b, or 0 if
// it does not close: the brackets outside strings are counted, whatever their
// kind. It works on blocks of 64 bytes and follows single brackets only where
// the last of them may close. By the byte, this would be more than half of the
// work on an event without compression.
func nestedLen(b []byte) int {
	depth := 1
	inString := uint64(0) // all ones if the block begins in a string
	escaped := false      // the block begins with an escaped byte
	for at := 1; at < len(b); at += 64 {
		var block *[64]byte
		if len(b)-at >= 64 {
			block = (*[64]byte)(b[at:])
		} else {
			block = new([64]byte)
			copy(block[:], b[at:])
		}
		quotes, slashes, brackets, closing := masks(block)
		if slashes != 0 || escaped {
			quotes, escaped = unescaped(quotes, slashes, inString, escaped)
		}
		within := odd(quotes) ^ inString
		inString = -(within >> 63)
		brackets &^= within
		if brackets == 0 {
			continue
		}
		closing &= brackets
		opening := brackets &^ closing
		ups, downs := bits.OnesCount64(opening), bits.OnesCount64(closing)
		// An empty object or array changes no depth, and is the commonest.
		empty := bits.OnesCount64(opening & before(closing))
		if depth <= downs-empty {
			d := depth
			for m := transpose(brackets); m != 0; m &= m - 1 {
				i := bits.TrailingZeros64(m)
				d += 1 - int(block[i]&4)/2 // 1 for what opens, -1 for what closes
				if d == 0 {
					return at + i + 1
				}
			}
		}
		depth += ups - downs
	}
	return 0
}

// A mask has a bit for each byte of a block: byte 8*i+j's is bit 8*j+i. Masks in
// this order are cheaply had, and all that follows but transpose knows it.

const (
	everyByte = 0x0101010101010101
	firstByte = 0xff // of a mask: the bytes 0, 8, 16 …
)

// masks returns where a block has quotes, backslashes and brackets; among the
// brackets, the bits of closing are set for those that close.
//
// The block is turned by exchanging bits between its eight words until each
// word holds one bit of every byte. Then an operation is one on 64 bytes.
func masks(block *[64]byte) (quotes, slashes, brackets, closing uint64) {
	b0 := binary.LittleEndian.Uint64(block[0:8])
	b1 := binary.LittleEndian.Uint64(block[8:16])
	b2 := binary.LittleEndian.Uint64(block[16:24])
	b3 := binary.LittleEndian.Uint64(block[24:32])
	b4 := binary.LittleEndian.Uint64(block[32:40])
	b5 := binary.LittleEndian.Uint64(block[40:48])
	b6 := binary.LittleEndian.Uint64(block[48:56])
	b7 := binary.LittleEndian.Uint64(block[56:64])
	b0, b4 = exchange(b0, b4, 4, 0x0f*everyByte)
	b1, b5 = exchange(b1, b5, 4, 0x0f*everyByte)
	b2, b6 = exchange(b2, b6, 4, 0x0f*everyByte)
	b3, b7 = exchange(b3, b7, 4, 0x0f*everyByte)
	b0, b2 = exchange(b0, b2, 2, 0x33*everyByte)
	b1, b3 = exchange(b1, b3, 2, 0x33*everyByte)
	b4, b6 = exchange(b4, b6, 2, 0x33*everyByte)
	b5, b7 = exchange(b5, b7, 2, 0x33*everyByte)
	b0, b1 = exchange(b0, b1, 1, 0x55*everyByte)
	b2, b3 = exchange(b2, b3, 1, 0x55*everyByte)
	b4, b5 = exchange(b4, b5, 1, 0x55*everyByte)
	b6, b7 = exchange(b6, b7, 1, 0x55*everyByte)
	quotes = b1 & b5 &^ (b0 | b2 | b3 | b4 | b6 | b7) // 0010 0010
	high := b3 & b4 & b6 &^ b7                        // 01.1 1...
	slashes = high & b2 &^ (b0 | b1 | b5)             // 0101 1100
	brackets = high & b0 & (b1 ^ b2)                  // 01.1 1011 opens, 01.1 1101 closes
	return quotes, slashes, brackets, b2
}

// exchange exchanges the bits of a that are n above those of mask with the bits
// of b in mask.
func exchange(a, b uint64, n int, mask uint64) (uint64, uint64) {
	t := (a>>n ^ b) & mask
	return a ^ t<<n, b ^ t
}

// odd returns the bytes up to which, themselves included, m has an odd number
// of bits: for quotes, the strings with what opens and without what closes them.
func odd(m uint64) uint64 {
	m ^= m << 8
	m ^= m << 16
	m ^= m << 32
	words := m >> 56 // the parity of each eight bytes
	words ^= words << 1
	words ^= words << 2
	words ^= words << 4
	return m ^ words<<1&0xff*everyByte
}

// before returns the bytes that stand right before those of m in their block.
func before(m uint64) uint64 { return m>>8 | m&firstByte>>1<<56 }

// after returns the bytes that stand right behind those of m in their block.
func after(m uint64) uint64 { return m<<8 | m>>56<<1&firstByte }

// transpose puts a mask into the order of the bytes, and back.
func transpose(m uint64) uint64 {
	t := (m ^ m>>7) & 0x00aa00aa00aa00aa
	m ^= t ^ t<<7
	t = (m ^ m>>14) & 0x0000cccc0000cccc
	m ^= t ^ t<<14
	t = (m ^ m>>28) & 0x00000000f0f0f0f0
	return m ^ t ^ t<<28
}

// unescaped returns the quotes that no backslash in their string takes away,
// and whether the next block begins with an escaped byte.
func unescaped(quotes, slashes, inString uint64, escaped bool) (uint64, bool) {
	behind := after(slashes)
	if alone := quotes &^ behind; !escaped && slashes&(behind|^(odd(alone)^inString)) == 0 {
		return alone, slashes>>63 != 0 // each backslash stands alone, and in a string
	}
	quotes, slashes = transpose(quotes), transpose(slashes)
	m := quotes | slashes
	if escaped {
		quotes &^= 1
		m &^= 1
	}
	escaped = false
	within := inString != 0
	for m != 0 {
		bit := m & -m
		m &^= bit
		if quotes&bit != 0 {
			within = !within
		} else if within {
			quotes &^= bit << 1
			m &^= bit << 1
			escaped = bit == 1<<63
		}
	}
	return transpose(quotes), escaped
}
