// This file reads Huffman tables and what is written with them (RFC 8878, 4.2).

package zstd

import (
	"encoding/binary"
	"math/bits"
)

// maxHuffmanLog is the length of the longest code.
const maxHuffmanLog = 11

// huffman is a table by the next log bits: the symbol below, its number of bits
// above. The zero value was never read.
type huffman struct {
	entries *[1 << maxHuffmanLog]uint16 // 1<<log are used
	log     uint8
}

// weightCode is what the weights of a table are written with: symbols that stand
// for themselves.
var weightCode = &code{name: "weight", values: withExtra(nil, 0, make([]uint8, maxHuffmanLog+2)...)}

// read reads the table at the start of b and returns what follows.
func (h *huffman) read(b []byte) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, corrupt("Huffman table")
	}
	var weights [256]uint8
	n := 0
	if size := int(b[0]); size < 128 {
		if len(b) < 1+size {
			return nil, corrupt("Huffman table")
		}
		if n = readWeights(weights[:255], b[1:1+size]); n == 0 {
			return nil, corrupt("Huffman table")
		}
		rest = b[1+size:]
	} else {
		n = size - 127
		if len(b) < 1+(n+1)/2 {
			return nil, corrupt("Huffman table")
		}
		for i := range n {
			weights[i] = b[1+i/2] >> (4 * (1 - i&1)) & 15
		}
		rest = b[1+(n+1)/2:]
	}

	// The last weight makes the sum a power of two.
	var counts [16]int
	for _, w := range weights[:n] {
		if w > 0 { // most are not, and one counter written again and again is slow
			counts[w&15]++
		}
	}
	sum := 0
	for w, c := range counts[1:] {
		sum += c << w
	}
	log := bits.Len(uint(sum))
	left := 1<<log - sum
	if sum == 0 || log > maxHuffmanLog || left&(left-1) != 0 {
		return nil, corrupt("Huffman table")
	}
	last := uint8(bits.Len(uint(left)))
	weights[n] = last
	counts[last]++
	n++

	if h.entries == nil {
		h.entries = new([1 << maxHuffmanLog]uint16)
	}
	h.log = uint8(log)
	// Codes of the least weight, which are the longest, come first.
	var at [16]int
	for w, next := 1, 0; w <= log; w++ {
		at[w] = next
		next += counts[w] << (w - 1)
	}
	for s, w := range weights[:n] {
		if w == 0 {
			continue
		}
		e := uint16(log+1-int(w))<<8 | uint16(s)
		from := at[w]
		at[w] = from + 1<<(w-1)
		part := h.entries[from:at[w]]
		for i := range part {
			part[i] = e
		}
	}
	return rest, nil
}

// readWeights reads the weights in b and returns how many there are; 0 means
// that b is none.
func readWeights(weights []uint8, b []byte) (n int) {
	var counts [maxHuffmanLog + 2]int16
	symbols, log, used := readCounts(counts[:], b, 6)
	if symbols == 0 {
		return 0
	}
	var table [64]entry
	states := table[:1<<log]
	weightCode.fill(states, counts[:symbols], log)
	b = b[used:]
	if len(b) == 0 || b[len(b)-1] == 0 {
		return 0
	}
	left := 8*len(b) - 9 + bits.Len8(b[len(b)-1])
	if left -= 2 * int(log); left < 0 {
		return 0
	}
	// Two states take turns until the bits are used up. Nine steps of six bits lie
	// in what one look gives.
	var padded [8 + 128 + 8]byte
	copy(padded[8:8+128], b)
	left += 64 // the padding below
	v := window64(padded[:], left)
	other := v & (1<<log - 1)
	state := v >> log & (1<<log - 1)
	for {
		at := left - 56
		v := window64(padded[:], at)
		s := uint8(56)
		for range 9 {
			e := &table[state&63]
			if n >= len(weights)-1 {
				return 0
			}
			weights[n] = uint8(e.base)
			n++
			s -= e.bits
			if at+int(s) < 64 {
				weights[n] = uint8(table[other&63].base)
				return n + 1
			}
			state, other = other, uint64(e.next)+v>>(s&63)&(1<<(e.bits&63)-1)
		}
		left = at + int(s)
	}
}

// decode fills out with what b holds, which it must use up.
func (h *huffman) decode(out, b []byte) bool {
	if len(b) == 0 || b[len(b)-1] == 0 {
		return false
	}
	left := 8*len(b) - 9 + bits.Len8(b[len(b)-1])
	log := h.log
	mask := uint64(1)<<log - 1
	entries := h.entries
	const all = 1<<maxHuffmanLog - 1
	i := 0
	// Five codes of 11 bits lie in 56 bits, which one look gives.
	for ; left >= 64 && i+5 <= len(out); i += 5 {
		at := left - 56
		v := binary.LittleEndian.Uint64(b[at>>3:]) >> (at & 7)
		s := uint8(56)
		o := out[i : i+5 : i+5]
		for j := range o {
			e := entries[v>>((s-log)&63)&mask&all]
			o[j] = byte(e)
			s -= uint8(e >> 8)
		}
		left = at + int(s)
	}
	for ; i < len(out); i++ {
		var v uint64
		if left >= int(log) {
			v = tail64(b, left-int(log))
		} else {
			v = tail64(b, 0) & (1<<left - 1) << (int(log) - left)
		}
		e := entries[v&mask&all]
		out[i] = byte(e)
		if left -= int(e >> 8); left < 0 {
			return false
		}
	}
	return left == 0
}

// decode4 is decode for four streams, behind the sizes of three.
func (h *huffman) decode4(out, b []byte) bool {
	if len(b) < 6 || len(out) < 4 {
		return false
	}
	part := (len(out) + 3) / 4
	if 3*part > len(out) {
		return false
	}
	sizes := b[:6]
	b = b[6:]
	for i := range 3 {
		n := int(binary.LittleEndian.Uint16(sizes[2*i:]))
		if n > len(b) || !h.decode(out[:part], b[:n]) {
			return false
		}
		out, b = out[part:], b[n:]
	}
	return h.decode(out, b)
}
