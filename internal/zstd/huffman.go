// This file reads the Huffman tables of literals and decodes with them
// (RFC 8878, 4.2).

package zstd

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// maxHuffmanBits is the length of the longest code.
const maxHuffmanBits = 11

var errHuffman = errors.New("corrupt literals")

// huffmanTable says for each value of the next log bits what symbol begins
// there, in the upper 8 bits, and how many bits it takes, in the lower.
type huffmanTable struct {
	log     uint8
	symbols [1 << maxHuffmanBits]uint16
}

// read reads the description of a table that begins at src[at] (RFC 8878,
// 4.2.1) and returns where it ends. After an error the table is of no use.
func (h *huffmanTable) read(src []byte, at int) (int, error) {
	if at >= len(src) {
		return 0, errTable
	}
	var weights [256]uint8
	var n int // how many there are
	size := int(src[at])
	at++
	if size >= 128 {
		n = size - 127
		size = (n + 1) / 2
		if size > len(src)-at {
			return 0, errTable
		}
		for i, b := range src[at : at+size] {
			weights[2*i], weights[2*i+1] = b>>4, b&15
		}
	} else {
		if size > len(src)-at {
			return 0, errTable
		}
		var err error
		if n, err = readWeights(weights[:255], src[:at+size], at); err != nil {
			return 0, err
		}
	}
	// Weights often repeat, so that four histograms keep an
	// increment from waiting for the last one.
	var parts [4][16]uint16
	seen := uint8(0)
	for i := 0; i < n; i += 4 { // those behind the last are 0
		w := (*[4]uint8)(weights[i:])
		parts[0][w[0]&15]++
		parts[1][w[1]&15]++
		parts[2][w[2]&15]++
		parts[3][w[3]&15]++
		seen |= w[0] | w[1] | w[2] | w[3]
	}
	// The last weight is not written: it makes the sum a power of two.
	var ranks [16]int
	sum := 0
	for w := 1; w < len(ranks); w++ {
		ranks[w] = int(parts[0][w] + parts[1][w] + parts[2][w] + parts[3][w])
		sum += ranks[w] << w >> 1
	}
	log := bits.Len(uint(sum))
	if seen > 15 || sum == 0 || log > maxHuffmanBits {
		return 0, errTable
	}
	rest := 1<<log - sum
	if rest&(rest-1) != 0 {
		return 0, errTable
	}
	weights[n] = uint8(bits.Len(uint(rest)))
	ranks[weights[n]]++
	n++
	// The two longest codes differ in their last bit alone.
	if ranks[1] < 2 || ranks[1]&1 != 0 {
		return 0, errTable
	}
	h.log = uint8(log)
	next := 0
	for w := 1; w <= log; w++ {
		count := ranks[w]
		ranks[w] = next
		next += count << w >> 1
	}
	for i := 0; i < n; i += 8 {
		eight := weights[i : i+8 : i+8]
		if binary.LittleEndian.Uint64(eight) == 0 {
			continue // of 256 symbols, few are in use
		}
		for j, w := range eight {
			if w == 0 {
				continue
			}
			w &= 15
			run := h.symbols[ranks[w] : ranks[w]+1<<w>>1]
			ranks[w] += len(run)
			e := uint16(i+j)<<8 | uint16(log+1-int(w))
			for len(run) >= 4 {
				run[0], run[1], run[2], run[3] = e, e, e, e
				run = run[4:]
			}
			for k := range run {
				run[k] = e
			}
		}
	}
	return at + size, nil
}

// touch reads the table, so that it comes to the cache at once and not as the
// codes have it.
//
//go:noinline
func (h *huffmanTable) touch() (sum uint16) {
	const line = 32 // entries
	for i := 0; i < 1<<min(h.log, 8); i += line {
		sum += h.symbols[i]
	}
	return sum
}

// readWeights decodes weights that are compressed themselves, src[at:] (RFC
// 8878, 4.2.1.2), and returns how many there are.
func readWeights(weights []uint8, src []byte, at int) (int, error) {
	const maxLog = 6
	var c counts
	size, err := c.read(src[at:], maxHuffmanBits+1, maxLog)
	if err != nil {
		return 0, err
	}
	at += size
	var table [1 << maxLog]entry
	c.build(table[:], weightCodes[:])
	pos, err := streamEnd(src, at, len(src))
	if err != nil {
		return 0, err
	}
	start := at * 8
	// Two states take turns. The end is where one lacks the bits for its next.
	v := load(src, pos)
	s0 := uint(v >> (64 - c.log))
	s1 := uint(v << c.log >> (64 - c.log))
	if pos -= 2 * c.log; pos < start {
		return 0, errTable
	}
	n := 0
	for n+8 < len(weights) {
		v := load(src, pos)
		eight := (*[8]uint8)(weights[n:])
		t0, t1, at := s0, s1, pos
		for i := 0; i < 8; i += 2 {
			e0, e1 := table[t0&63], table[t1&63]
			eight[i], eight[i+1] = uint8(e0), uint8(e1)
			// The next states begin with the bits on top, of which there may be none.
			w0, w1 := e0>>8&7, e1>>8&7
			t0 = uint(e0>>16) + uint(v>>1>>(63-w0&63))
			v <<= w0
			t1 = uint(e1>>16) + uint(v>>1>>(63-w1&63))
			v <<= w1
			at -= int(w0 + w1)
		}
		if at < start {
			break // the end is among these
		}
		s0, s1, pos = t0, t1, at
		n += 8
	}
	v = load(src, pos) // all that is left, unless there are too many
	for ; n < len(weights)-1; n++ {
		e := table[s0&63]
		weights[n] = uint8(e)
		width := int(e >> 8 & 7)
		if pos -= width; pos < start {
			weights[n+1] = uint8(table[s1&63])
			clear(weights[n+2 : min(n+8, len(weights))]) // what was read beyond the end
			return n + 2, nil
		}
		v = bits.RotateLeft64(v, width)
		s0, s1 = s1, uint(e>>16)+uint(v&lowBits[width])
	}
	return 0, errTable
}

// weightCodes are the weights in the form that build takes.
var weightCodes = [maxHuffmanBits + 1]entry{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}

// decode fills dst from one bitstream, src[start:end].
func (h *huffmanTable) decode(dst, src []byte, start, end int) error {
	pos, err := streamEnd(src, start, end)
	if err != nil {
		return err
	}
	shift := 64 - h.log
	symbols := &h.symbols
	const mask = 1<<maxHuffmanBits - 1
	first := start * 8
	for len(dst) >= 5 {
		if pos < first {
			return errHuffman
		}
		v := load(src, pos)
		out := dst[:5]
		e0 := symbols[v>>(shift&63)&mask]
		v <<= e0 & 63
		e1 := symbols[v>>(shift&63)&mask]
		v <<= e1 & 63
		e2 := symbols[v>>(shift&63)&mask]
		v <<= e2 & 63
		e3 := symbols[v>>(shift&63)&mask]
		v <<= e3 & 63
		e4 := symbols[v>>(shift&63)&mask]
		out[0], out[1], out[2], out[3], out[4] = byte(e0>>8), byte(e1>>8), byte(e2>>8), byte(e3>>8), byte(e4>>8)
		pos -= int((e0 + e1 + e2 + e3 + e4) & 0xff) // five codes do not carry
		dst = dst[5:]
	}
	for i := range dst {
		e := symbols[load(src, pos)>>(shift&63)&(1<<maxHuffmanBits-1)]
		dst[i] = byte(e >> 8)
		pos -= int(e & 15)
	}
	if pos != first {
		return errHuffman
	}
	return nil
}

// decode4 fills dst from four bitstreams, src[start:end], which begin with the
// sizes of three (RFC 8878, 3.1.1.3.1.6).
func (h *huffmanTable) decode4(dst, src []byte, start, end int) error {
	if end-start < 6 {
		return errHuffman
	}
	var from [5]int // where the streams begin, in bytes
	from[0] = start + 6
	for i := range 3 {
		from[i+1] = from[i] + int(src[start+2*i]) + int(src[start+2*i+1])<<8
	}
	from[4] = end
	part := (len(dst) + 3) / 4
	if from[3] > end || 3*part > len(dst) {
		return errHuffman
	}
	var pos, first [4]int
	for i := range pos {
		var err error
		if pos[i], err = streamEnd(src, from[i], from[i+1]); err != nil {
			return err
		}
		first[i] = from[i] * 8
	}
	done, err := h.decodeSteps(dst, src, &pos, first)
	if err != nil {
		return err
	}
	// The last symbols of each, which are too few for a step.
	shift := 64 - h.log
	for i := range pos {
		out := dst[i*part:]
		if i < 3 {
			out = out[:part]
		}
		p := pos[i]
		for j := range out[done:] {
			e := h.symbols[load(src, p)>>(shift&63)&(1<<maxHuffmanBits-1)]
			out[done+j] = byte(e >> 8)
			p -= int(e & 15)
		}
		if p != first[i] {
			return errHuffman
		}
	}
	return nil
}

// decodeSteps decodes five symbols of each of four bitstreams at a time, as
// long as all have so many, and returns how many it has of each. The streams
// do not depend on each other, which is what the processor makes use of.
func (h *huffmanTable) decodeSteps(dst, src []byte, pos *[4]int, first [4]int) (int, error) {
	part := (len(dst) + 3) / 4
	d0, d1, d2, d3 := dst[:part], dst[part:2*part], dst[2*part:3*part], dst[3*part:]
	p0, p1, p2, p3 := pos[0], pos[1], pos[2], pos[3]
	shift := (64 - h.log) & 63
	symbols := &h.symbols
	const mask = 1<<maxHuffmanBits - 1
	done := 0
	for ; done+5 <= len(d3); done += 5 { // the last is the shortest
		if (p0-first[0])|(p1-first[1])|(p2-first[2])|(p3-first[3]) < 0 {
			return 0, errHuffman
		}
		// The lower 8 bits of the sum of five entries are how many bits those take.
		v, w := loadWhole(src, p0), loadWhole(src, p1)
		x, y := (*[5]byte)(d0[done:done+5:done+5]), (*[5]byte)(d1[done:done+5:done+5])
		e, f := symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[0], y[0] = byte(e>>8), byte(f>>8)
		s, u := e, f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[1], y[1] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[2], y[2] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[3], y[3] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		x[4], y[4] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		p0, p1 = p0-int(s&0xff), p1-int(u&0xff)

		v, w = loadWhole(src, p2), loadWhole(src, p3)
		x, y = (*[5]byte)(d2[done:done+5:done+5]), (*[5]byte)(d3[done:done+5:done+5])
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[0], y[0] = byte(e>>8), byte(f>>8)
		s, u = e, f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[1], y[1] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[2], y[2] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		v, w = v<<(e&63), w<<(f&63)
		x[3], y[3] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		e, f = symbols[v>>shift&mask], symbols[w>>shift&mask]
		x[4], y[4] = byte(e>>8), byte(f>>8)
		s, u = s+e, u+f
		p2, p3 = p2-int(s&0xff), p3-int(u&0xff)
	}
	*pos = [4]int{p0, p1, p2, p3}
	return done, nil
}
