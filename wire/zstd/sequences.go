// This file decodes the sequences of a block and carries them out (RFC 8878,
// 3.1.1.3.2 and 3.1.1.4).

package zstd

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
)

// errRoom means that a block decodes to more than there may be.
var errRoom = errors.New("zstd: corrupt: a block decodes to more than it may")

var errBits = corrupt("too few bits of sequences")

// sequences reads the header of the sequences and their tables. It returns how
// many there are and the bits they are in.
func (d *Decoder) sequences(b []byte) (count int, rest []byte, err error) {
	const short = "sequences that are cut off"
	switch {
	case len(b) == 0:
		return 0, nil, corrupt(short)
	case b[0] < 128:
		count, b = int(b[0]), b[1:]
	case b[0] < 255:
		if len(b) < 2 {
			return 0, nil, corrupt(short)
		}
		count, b = int(b[0]-128)<<8|int(b[1]), b[2:]
	default:
		if len(b) < 3 {
			return 0, nil, corrupt(short)
		}
		count, b = int(b[1])|int(b[2])<<8+0x7F00, b[3:]
	}
	if count == 0 {
		return 0, b, nil
	}
	if len(b) == 0 {
		return 0, nil, corrupt(short)
	}
	modes := b[0]
	if modes&3 != 0 {
		return 0, nil, corrupt("reserved bits of the sequences")
	}
	b = b[1:]
	if b, err = d.lengths.set(lengthCode, modes>>6, b); err != nil {
		return 0, nil, err
	}
	if b, err = d.offsets.set(offsetCode, modes>>4&3, b); err != nil {
		return 0, nil, err
	}
	if b, err = d.matches.set(matchCode, modes>>2&3, b); err != nil {
		return 0, nil, err
	}
	return count, b, nil
}

// window64 returns the bits from the bit on, 57 at least. b goes on for 8 bytes
// behind the last bit that is asked for.
func window64(b []byte, bit int) uint64 {
	return binary.LittleEndian.Uint64(b[bit>>3:]) >> (bit & 7)
}

// tail64 is window64 where b may end.
func tail64(b []byte, bit int) uint64 {
	if i := bit >> 3; i+8 > len(b) {
		var padded [8]byte
		copy(padded[:], b[i:])
		return binary.LittleEndian.Uint64(padded[:]) >> (bit & 7)
	}
	return window64(b, bit)
}

// execute decodes count sequences from the bits in b, which are read from the end
// backwards, and carries each out at once: literals, then a match.
func (d *Decoder) execute(dst []byte, base int, b, literals []byte, count, room int, s *scratch) ([]byte, error) {
	if len(b) == 0 || b[len(b)-1] == 0 {
		return dst, corrupt("sequences without their end mark")
	}
	start := len(dst)
	dst = slices.Grow(dst, room+copySlack)
	out := dst[:cap(dst)]
	pos, end := start, start+room

	lengths, offsets, matches := d.lengths.entries, d.offsets.entries, d.matches.entries
	left := 8*len(b) - 9 + bits.Len8(b[len(b)-1]) // bits below the mark
	left -= int(d.lengths.log + d.offsets.log + d.matches.log)
	if left < 0 {
		return dst, errBits
	}
	s.bits = append(append(s.bits[:0], b...), make([]byte, 8)...)
	b = s.bits
	v := window64(b, left)
	m := v & (1<<d.matches.log - 1)
	v >>= d.matches.log
	o := v & (1<<d.offsets.log - 1)
	l := v >> d.offsets.log & (1<<d.lengths.log - 1)
	r0, r1, r2 := d.repeating[0], d.repeating[1], d.repeating[2]
	for {
		le, oe, me := &lengths[l&(maxStates-1)], &offsets[o&(maxStates-1)], &matches[m&(maxStates-1)]

		// From the top: what is added to the offset, the match's length and
		// that of the literals, and then, but for the last, to the next states.
		extra := int(le.extra + oe.extra + me.extra)
		states := int(le.bits + oe.bits + me.bits)
		if count == 1 {
			states = 0
		}
		if left -= extra + states; left < 0 {
			return dst, errBits
		}
		var offset, match, length int
		v := window64(b, left)
		if count > 1 {
			o = uint64(oe.next) + v&(1<<(oe.bits&63)-1)
			v >>= oe.bits & 63
			m = uint64(me.next) + v&(1<<(me.bits&63)-1)
			v >>= me.bits & 63
			l = uint64(le.next) + v&(1<<(le.bits&63)-1)
			v >>= le.bits & 63
		}
		if extra+states > 56 {
			v = window64(b, left+states)
		}
		length = int(le.base) + int(v&(1<<(le.extra&63)-1))
		v >>= le.extra & 63
		match = int(me.base) + int(v&(1<<(me.extra&63)-1))
		if extra > 56 {
			v = window64(b, left+states+int(le.extra+me.extra))
		} else {
			v >>= me.extra & 63
		}
		offset = int(oe.base) + int(v&(1<<(oe.extra&63)-1))
		if offset > 3 {
			offset -= 3
			r0, r1, r2 = offset, r0, r1
		} else {
			// One of the last three; without literals the next of them.
			if length == 0 {
				offset++
			}
			switch offset {
			case 1:
				offset = r0
			case 2:
				offset = r1
				r0, r1 = offset, r0
			case 3:
				offset = r2
				r0, r1, r2 = offset, r0, r1
			default:
				offset = r0 - 1
				r0, r1, r2 = offset, r0, r1
			}
		}

		// Literals.
		if length > len(literals) {
			return dst, corrupt("more literals used than sent")
		}
		if length+match > end-pos {
			return dst, errRoom
		}
		if length <= copySlack && len(literals) >= copySlack {
			*(*[copySlack]byte)(out[pos:]) = *(*[copySlack]byte)(literals)
		} else {
			copy(out[pos:], literals[:length])
		}
		literals = literals[length:]
		pos += length

		// Match: from the window what lies before the message.
		if offset <= 0 {
			return dst, corrupt("an offset of nothing")
		}
		if before := offset - (pos - base); before > 0 {
			if before > len(d.window) {
				return dst, corrupt("an offset beyond what was decoded")
			}
			from := d.at - before
			if from < 0 {
				from += len(d.window)
			}
			n := min(before, match)
			if n <= copySlack && from+copySlack <= len(d.window) {
				*(*[copySlack]byte)(out[pos:]) = *(*[copySlack]byte)(d.window[from:])
			} else if got := copy(out[pos:pos+n], d.window[from:]); got < n {
				copy(out[pos+got:pos+n], d.window)
			}
			pos += n
			match -= n
		}
		if match <= copySlack && offset >= copySlack && match > 0 {
			*(*[copySlack]byte)(out[pos:]) = *(*[copySlack]byte)(out[pos-offset:])
			pos += match
		} else {
			// What is copied may be copied again: then it doubles.
			for source := pos - offset; match > 0; {
				n := copy(out[pos:pos+match], out[source:pos])
				pos += n
				match -= n
			}
		}

		if count--; count == 0 {
			break
		}
	}
	if left != 0 {
		return dst, corrupt("bits of sequences that are not used")
	}
	if len(literals) > end-pos {
		return dst, errRoom
	}
	pos += copy(out[pos:], literals)
	d.repeating = [3]int{r0, r1, r2}
	return out[:pos], nil
}

// copySlack is what is copied at once where it is not known to be all: there is
// room for so many bytes behind every position.
const copySlack = 32
