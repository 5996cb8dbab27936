// This file makes the tables by which sequences are decoded (RFC 8878, 4.1).

package zstd

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// entry is a state: what it stands for, and how to get to the next.
type entry struct {
	base  uint32 // of the value
	next  uint16 // base of the next state
	extra uint8  // bits to add to base
	bits  uint8  // bits to add to next
}

// maxStates is the size of the largest table. All have it, so that a state needs
// no check.
const maxStates = 512

// table is a kind of code's table as it is now.
type table struct {
	entries *[maxStates]entry // nil: there was none; 1<<log are used
	log     uint8
	own     *[maxStates]entry // for those of a table that was sent
}

// code is what a kind of code is made of.
type code struct {
	name    string
	values  []entry // by symbol: base and extra
	maxLog  uint8
	usual   []int16 // the predefined counts
	log     uint8   // of the predefined table
	prepare func() *[maxStates]entry
}

// codes are those for the lengths of literals, the offsets and the lengths of
// matches.
var lengthCode, offsetCode, matchCode = newCode("literal length", lengthValues(), 9, []int16{
	4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1}, 6),
	newCode("offset", offsetValues(), 8, []int16{
		1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}, 5),
	newCode("match length", matchValues(), 9, []int16{
		1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		-1, -1, -1, -1, -1, -1, -1}, 6)

func newCode(name string, values []entry, maxLog uint8, usual []int16, log uint8) *code {
	c := &code{name: name, values: values, maxLog: maxLog, usual: usual, log: log}
	c.prepare = sync.OnceValue(func() *[maxStates]entry {
		entries := new([maxStates]entry)
		c.fill(entries[:1<<log], c.usual, log)
		return entries
	})
	return c
}

// withExtra appends values of so many extra bits each, one behind the other's
// range.
func withExtra(values []entry, base uint32, extra ...uint8) []entry {
	for _, n := range extra {
		values = append(values, entry{base: base, extra: n})
		base += 1 << n
	}
	return values
}

func lengthValues() []entry {
	v := withExtra(nil, 0, make([]uint8, 16)...)
	v = withExtra(v, 16, 1, 1, 1, 1, 2, 2, 3, 3, 4)
	return withExtra(v, 64, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
}

func offsetValues() (v []entry) {
	for n := range uint8(32) {
		v = append(v, entry{base: 1 << n, extra: n})
	}
	return v
}

func matchValues() []entry {
	v := withExtra(nil, 3, make([]uint8, 32)...)
	v = withExtra(v, 35, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5)
	return withExtra(v, 131, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
}

// set makes t the table of the mode, which may follow in b, and returns what
// follows.
func (t *table) set(c *code, mode byte, b []byte) (rest []byte, err error) {
	switch mode {
	case 0:
		t.entries, t.log = c.prepare(), c.log
	case 1:
		if len(b) == 0 || int(b[0]) >= len(c.values) {
			return nil, corrupt("no " + c.name + " code")
		}
		t.use(0)[0] = c.values[b[0]]
		return b[1:], nil
	case 2:
		var counts [64]int16
		n, log, used := readCounts(counts[:len(c.values)], b, c.maxLog)
		if n == 0 {
			return nil, corrupt(c.name + " table")
		}
		c.fill(t.use(log), counts[:n], log)
		return b[used:], nil
	case 3:
		if t.entries == nil {
			return nil, corrupt(c.name + " table that was never sent")
		}
	}
	return b, nil
}

// use returns the entries of a new table of t's own.
func (t *table) use(log uint8) []entry {
	if t.own == nil {
		t.own = new([maxStates]entry)
	}
	t.entries, t.log = t.own, log
	return t.own[:1<<log]
}

// readCounts reads the counts of symbols at the start of b: how many symbols there
// are, the table's log, and the bytes used. No symbols mean that b is no such thing.
func readCounts(counts []int16, b []byte, maxLog uint8) (n int, log uint8, used int) {
	// Bits are read from a copy that goes on with zeros.
	var padded [128]byte
	limit := copy(padded[:len(padded)-8], b) * 8
	at := 0
	peek := func() uint32 { return uint32(binary.LittleEndian.Uint64(padded[at>>3:]) >> (at & 7)) }
	log = uint8(peek()&15) + 5
	at += 4
	if log > maxLog {
		return 0, 0, 0
	}
	left := 1<<log + 1
	threshold := 1 << log
	width := int(log) + 1
	for left > 1 {
		if n == len(counts) || at > limit {
			return 0, 0, 0
		}
		v := int(peek())
		most := 2*threshold - 1 - left
		count := v & (threshold - 1)
		if count < most {
			at += width - 1
		} else {
			if count = v & (2*threshold - 1); count >= threshold {
				count -= most
			}
			at += width
		}
		count-- // -1 is a count below one
		counts[n] = int16(count)
		n++
		if count < 0 {
			left--
		} else {
			left -= count
		}
		if left < 1 {
			return 0, 0, 0
		}
		for count == 0 {
			more := int(peek() & 3)
			at += 2
			if n += more; n > len(counts) || at > limit {
				return 0, 0, 0
			}
			if more < 3 {
				break
			}
		}
		for left < threshold {
			width--
			threshold >>= 1
		}
	}
	if at > limit {
		return 0, 0, 0
	}
	return n, log, (at + 7) / 8
}

// fill makes the states of a table out of the counts of its symbols.
func (c *code) fill(entries []entry, counts []int16, log uint8) {
	size := len(entries)
	var symbols [512]uint8
	var next [64]uint16
	high := size
	for s, n := range counts {
		next[s] = uint16(n)
		if n == -1 {
			high--
			symbols[high] = uint8(s)
			next[s] = 1
		}
	}
	step, at := size>>1+size>>3+3, 0
	for s, n := range counts {
		for range max(n, 0) {
			symbols[at] = uint8(s)
			for at = (at + step) & (size - 1); at >= high; at = (at + step) & (size - 1) {
			}
		}
	}
	for i := range entries {
		s := symbols[i]
		state := next[s]
		next[s]++
		e := c.values[s]
		e.bits = log - uint8(bits.Len16(state)-1)
		e.next = state<<e.bits - uint16(size)
		entries[i] = e
	}
}
