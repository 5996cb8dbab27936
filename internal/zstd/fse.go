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
	var next [maxSymbols]uint16
	high := size
	for s, n := range c.n[:c.len] {
		if n < 0 {
			high--
			table[high] = entry(s)
			next[s] = 1
		} else {
			next[s] = uint16(n)
		}
	}
	step := size>>1 + size>>3 + 3
	at := 0
	for s, n := range c.n[:c.len] {
		for range n {
			table[at&mask] = entry(s)
			for at = (at + step) & mask; at >= high; {
				at = (at + step) & mask
			}
		}
	}
	for i := range table {
		s := table[i]
		x := next[s]
		next[s]++
		n := c.log + 1 - bits.Len16(x)
		table[i] = symbols[s] | entry(n)<<8 | entry(int(x)<<n-size)<<16
	}
}
