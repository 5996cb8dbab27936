// This file holds the tables of sequences: how a block says which to use, and
// the codes and the predefined tables of the format (RFC 8878, 3.1.1.3.2).

package zstd

import (
	"errors"
	"sync"
)

// The ways to say which table to use (RFC 8878, 3.1.1.3.2.1.2).
const (
	modePredefined = iota
	modeRLE
	modeCompressed
	modeRepeat
)

// states is a table of any of the three codes: 9 is the most bits for a state.
type states [1 << 9]entry

// sequenceTables are the tables of the last block that had sequences.
type sequenceTables struct {
	literalLengths, offsets, matchLengths stateTable
}

// stateTable is a table for one of the codes.
type stateTable struct {
	states *states // own, or one of the predefined
	log    int     // so many bits are the first state
	own    *states // nil until the first block that brings a table
}

// read reads which tables the block's sequences use, which begins at msg[at],
// and returns where the bitstream begins.
func (t *sequenceTables) read(msg []byte, at int) (int, error) {
	if at >= len(msg) {
		return 0, errShort
	}
	modes := msg[at]
	at++
	if modes&3 != 0 {
		return 0, errors.New("a reserved bit is set")
	}
	var err error
	if at, err = t.literalLengths.read(&literalLengthCode, modes>>6, msg, at); err != nil {
		return 0, err
	}
	if at, err = t.offsets.read(&offsetCode, modes>>4&3, msg, at); err != nil {
		return 0, err
	}
	return t.matchLengths.read(&matchLengthCode, modes>>2&3, msg, at)
}

func (t *stateTable) read(c *code, mode byte, msg []byte, at int) (int, error) {
	switch mode {
	case modePredefined:
		t.states, t.log = c.predefined(), c.counts.log
		return at, nil
	case modeRepeat:
		if t.states == nil {
			return 0, errRepeat
		}
		return at, nil
	}
	if t.own == nil {
		t.own = new(states)
	}
	t.states = t.own
	if mode == modeRLE {
		if at >= len(msg) {
			return 0, errShort
		}
		s := int(msg[at])
		if s >= len(c.symbols) {
			return 0, errTable
		}
		t.own[0], t.log = c.symbols[s], 0
		return at + 1, nil
	}
	var counts counts
	n, err := counts.read(msg[at:], len(c.symbols), c.maxLog)
	if err != nil {
		return 0, err
	}
	counts.build(t.own[:], c.symbols)
	t.log = counts.log
	return at + n, nil
}

// code is one of the three codes.
type code struct {
	symbols    []entry // the value of each, as far as it needs no extra bits
	maxLog     int
	counts     counts // of the predefined table
	predefined func() *states
}

var (
	literalLengthCode = newCode(9, 0,
		[]uint8{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		6, []int16{4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1})
	matchLengthCode = newCode(9, 3,
		[]uint8{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		6, []int16{1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
			1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1})
	offsetCode = newCode(8, 1,
		[]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
		5, []int16{1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1})
)

// newCode returns the code whose symbols take so many extra bits, which are
// added to base and to all that the symbols before can say.
func newCode(maxLog int, base uint64, extra []uint8, log int, predefined []int16) code {
	c := code{maxLog: maxLog, counts: counts{len: len(predefined), log: log}}
	for _, n := range extra {
		c.symbols = append(c.symbols, entry(base<<32|uint64(n)))
		base += 1 << n
	}
	copy(c.counts.n[:], predefined)
	symbols, counts := c.symbols, c.counts
	c.predefined = sync.OnceValue(func() *states {
		t := new(states)
		counts.build(t[:], symbols)
		return t
	})
	return c
}
