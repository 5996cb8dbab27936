// This file reads and builds the tables of finite state entropy coding
// (RFC 8878, 4.1.1).

package zstd

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// maxSymbols is the most symbols that any table of the format has: the codes
// of match lengths.
const maxSymbols = 53

var errTable = errors.New("a corrupt table")

// counts are the normalized counts of the symbols of a table. -1 stands for
// less than one.
type counts struct {
	n   [maxSymbols]int16
	len int // how many symbols there are
	log int // what they sum up to, as a power of two
}

// read reads the counts at the beginning of src (RFC 8878, 4.1.1) and returns
// how many bytes they took. There may be up to symbols of them, with a sum of
// up to 1<<maxLog.
func (c *counts) read(src []byte, symbols, maxLog int) (int, error) {
	// value returns 25 bits or more from bit on; behind src there are zeros.
	value := func(bit int) uint32 {
		at := bit >> 3
		if at+4 <= len(src) {
			return binary.LittleEndian.Uint32(src[at:]) >> (bit & 7)
		}
		var padded [4]byte
		copy(padded[:], src[min(at, len(src)):])
		return binary.LittleEndian.Uint32(padded[:]) >> (bit & 7)
	}
	c.log = int(value(0)&15) + 5
	if c.log > maxLog {
		return 0, errTable
	}
	bit := 4
	left := 1<<c.log + 1 // one more than what is still to be given
	c.len = 0
	for left > 1 {
		if c.len >= symbols || bit > len(src)*8 {
			return 0, errTable
		}
		width := bits.Len(uint(left)) // of the largest value, which is left
		v := int(value(bit))
		short := 1<<width - 1 - left // so many values take a bit less
		if low := v & (1<<(width-1) - 1); low < short {
			v = low
			bit += width - 1
		} else {
			if v &= 1<<width - 1; v >= 1<<(width-1) {
				v -= short
			}
			bit += width
		}
		count := v - 1
		c.n[c.len] = int16(count)
		c.len++
		if count < 0 {
			left--
		} else {
			left -= count
		}
		if left < 1 {
			return 0, errTable
		}
		if count != 0 {
			continue
		}
		for {
			zeros := int(value(bit) & 3)
			bit += 2
			if c.len+zeros > symbols || bit > len(src)*8 {
				return 0, errTable
			}
			clear(c.n[c.len : c.len+zeros])
			c.len += zeros
			if zeros < 3 {
				break
			}
		}
	}
	n := (bit + 7) >> 3
	if n > len(src) {
		return 0, errTable
	}
	return n, nil
}

// entry is a state of a table: from the lowest bit on, 8 bits for how many
// extra bits its symbol's value takes, 8 for how many bits the next state
// takes, 16 for what is added to these, and 32 for what is added to the extra
// bits.
type entry uint64

// build fills table, which is as long as the counts' sum, with a state for
// each of them. symbols are the entries of the symbols, without a state.
func (c *counts) build(table []entry, symbols []entry) {
	size := 1 << c.log
	mask := size - 1
	table = table[:size]
	var next [64]uint16
	// Each symbol as often as it is counted, written in steps of 8.
	var order [len(states{}) + 8]uint8
	n := 0
	for s, count := range c.n[:c.len] {
		next[s] = uint16(max(count, -count)) // 1 for less than one
		for i := 0; i < int(count); i += 8 {
			binary.LittleEndian.PutUint64(order[n+i:], uint64(s)*0x0101010101010101)
		}
		n += max(0, int(count))
	}
	// State i*step is of the symbol order[i], so that state i is of
	// order[i*turn] with the inverse of step, which is right to 3 bits as
	// its own inverse, and to twice as many with each turn of Newton's method.
	step := size>>1 + size>>3 + 3
	turn := step * (2 - step*step)
	turn *= 2 - step*turn
	if n < size {
		c.place(&order, n, step)
		turn = 1
	}
	at := 0
	for i := range table {
		s := order[at&(len(states{})-1)] & 63
		at = (at + turn) & mask
		x := next[s]
		next[s]++
		n := c.log + 1 - bits.Len16(x)
		table[i] = symbols[s] | entry(n)<<8 | entry(int(x)<<(n&15)-size)<<16
	}
}

// place brings the first n symbols of order to their states, of which the last
// ones are for the symbols that are counted less than once.
func (c *counts) place(order *[len(states{}) + 8]uint8, n, step int) {
	size := 1 << c.log
	var placed [len(order)]uint8
	high := size
	for s, count := range c.n[:c.len] {
		if count < 0 {
			high--
			placed[high] = uint8(s)
		}
	}
	at := 0
	for _, s := range order[:n] {
		placed[at] = s
		for at = (at + step) & (size - 1); at >= high; {
			at = (at + step) & (size - 1)
		}
	}
	*order = placed
}
