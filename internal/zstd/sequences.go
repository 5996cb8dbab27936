// This file decodes sequences and does what they say: copy so many literals,
// then so many bytes from so far back (RFC 8878, 3.1.1.3.2 and 3.1.1.4).

package zstd

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

var (
	errLiterals = errors.New("more literals than there are")
	errOffset   = errors.New("an offset beyond what was decoded, or the window")
	errOverread = errors.New("a bitstream that is too short")
	errLeftOver = errors.New("a bitstream that is too long")
	errBehind   = errors.New("data behind their end")
)

// sequence says to copy the next literals, then match bytes from offset bytes
// back. An offset of 0 is wrong.
type sequence struct {
	literals, match, offset uint32
}

const (
	// batchSize is how many sequences are read before they are executed.
	// Reading and executing each have enough to keep in registers.
	batchSize = 32

	// loaded is how many bits load returns at least.
	loaded = 57
)

// begin reads the section of sequences at msg[at:] as far as the first states,
// and returns how many there are.
func (d *Decoder) begin(r *sequenceReader, msg []byte, at int) (n int, err error) {
	end := len(msg)
	if at >= end {
		return 0, errShort
	}
	n = int(msg[at])
	at++
	switch {
	case n == 255:
		if at+2 > end {
			return 0, errShort
		}
		n = int(msg[at]) + int(msg[at+1])<<8 + 0x7f00
		at += 2
	case n >= 128:
		if at+1 > end {
			return 0, errShort
		}
		n = (n-128)<<8 + int(msg[at])
		at++
	}
	if n == 0 {
		if at != end {
			return 0, errBehind
		}
		return 0, nil
	}
	if at, err = d.seq.read(msg, at); err != nil {
		return 0, err
	}
	pos, err := streamEnd(msg, at, end)
	if err != nil {
		return 0, err
	}
	r.src, r.pos, r.first = msg, pos, at*8
	r.begin(&d.seq)
	return n, nil
}

// next reads the next sequences into batch. produced is how much there is of
// the frame in the output.
func (d *Decoder) next(r *sequenceReader, batch []sequence, last bool, produced int) error {
	if err := r.read(&d.seq, batch, last); err != nil {
		return err
	}
	d.resolve(batch, produced)
	return nil
}

// sequenceReader reads the sequences of a block.
type sequenceReader struct {
	src        []byte
	pos        int // in the bitstream, and first is its beginning
	first      int
	ll, of, ml uint
}

// begin reads the first states.
func (r *sequenceReader) begin(t *sequenceTables) {
	v := load(r.src, r.pos)
	state := func(log int) uint {
		v = bits.RotateLeft64(v, log)
		r.pos -= log
		return uint(v & lowBits[log])
	}
	r.ll = state(t.literalLengths.log)
	r.of = state(t.offsets.log)
	r.ml = state(t.matchLengths.log)
}

// batch returns how many sequences can be read at a time.
func (r *sequenceReader) batch() int {
	if r.first < 64 {
		return 4 // of at most 31+16+16+26 bits each, they are no longer than what is moved
	}
	return batchSize
}

// move returns a reader of what is left of the bitstream, moved to buf behind 8
// bytes of nothing, so that there are always 8 bytes to load. Only what begins
// within the first bytes of a message needs that: a block without literals.
func (r sequenceReader) move(buf *[8 + 48]byte) sequenceReader {
	if r.pos-r.first > 8*48 {
		return r
	}
	at := r.first >> 3
	if r.pos > r.first {
		copy(buf[8:], r.src[at:(r.pos+7)>>3])
	}
	r.src, r.pos, r.first = buf[:], r.pos-r.first+64, 64
	return r
}

// read reads the next sequences into batch, with offsets as they are written.
// last says that there are none behind them.
func (r *sequenceReader) read(t *sequenceTables, batch []sequence, last bool) error {
	lls, ofs, mls := t.literalLengths.states, t.offsets.states, t.matchLengths.states
	src, pos, first := r.src, r.pos, r.first
	ll, of, ml := r.ll, r.of, r.ml
	stateBits := 0
	for i := range batch {
		if pos < first {
			return errOverread
		}
		le, oe, me := lls[ll&511], ofs[of&511], mls[ml&511]
		v := loadWhole(src, pos)
		// The fields of an entry have room for the sum of three.
		sum := le + oe + me
		taken := int(sum & 0xff)
		stateBits = int(sum >> 8 & 0xff)
		s := &batch[i]
		ob, mb := int(oe&31), int(oe+me)&63
		if taken+stateBits <= loaded {
			pos -= taken + stateBits
			s.offset = uint32(oe>>32) + uint32(bits.RotateLeft64(v, ob)&lowBits[ob])
			s.match = uint32(me>>32) + uint32(bits.RotateLeft64(v, mb)&lowBits[me&31])
			s.literals = uint32(le>>32) + uint32(bits.RotateLeft64(v, taken)&lowBits[le&31])
			v = bits.RotateLeft64(v, taken+stateBits)
		} else {
			// The offset is far: above 8 MiB, or that with long lengths.
			v, pos = r.readLong(s, le, oe, me, pos)
		}
		// The states come in the order of lengths of literals, of matches, and
		// offsets, and are read from the last.
		ow, mw := int(oe>>8&15), int(me>>8&15)
		of = uint(uint16(oe>>16)) + uint(v&lowBits[ow])
		v = bits.RotateLeft64(v, -ow)
		ml = uint(uint16(me>>16)) + uint(v&lowBits[mw])
		v = bits.RotateLeft64(v, -mw)
		ll = uint(uint16(le>>16)) + uint(v&lowBits[le>>8&15])
	}
	if last {
		pos += stateBits // there are no further states
	}
	r.pos, r.ll, r.of, r.ml = pos, ll, of, ml
	if pos < first {
		return errOverread
	}
	return nil
}

// loadWhole is load where there are 8 bytes for sure.
func loadWhole(src []byte, pos int) uint64 {
	at := uint(pos-57) >> 3
	return binary.LittleEndian.Uint64(src[at:at+8:at+8]) << (uint(-pos) & 7)
}

// readLong reads a sequence that is longer than what is loaded at once. It
// returns the bits of the states, and the position behind them.
//
//go:noinline
func (r *sequenceReader) readLong(s *sequence, le, oe, me entry, pos int) (uint64, int) {
	next := func(n int) uint32 {
		v := bits.RotateLeft64(load(r.src, pos), n) & lowBits[n]
		pos -= n
		return uint32(v)
	}
	s.offset = uint32(oe>>32) + next(int(oe&31))
	s.match = uint32(me>>32) + next(int(me&31))
	s.literals = uint32(le>>32) + next(int(le&31))
	n := int((le + oe + me) >> 8 & 0xff)
	return bits.RotateLeft64(load(r.src, pos), n), pos - n
}

// resolve makes offsets of what is written for them (RFC 8878, 3.1.1.5). It
// reads the first byte of what will be copied from before the
// message, of which there are produced bytes by now: a window is seldom in a
// cache, and what is waited for here at once would be waited for in turn when it
// is copied. The sum of these bytes is returned for them to be read.
//
//go:noinline
func (d *Decoder) resolve(batch []sequence, produced int) (read byte) {
	rep0, rep1, rep2 := d.reps[0], d.reps[1], d.reps[2]
	window, at := d.history.buf, d.history.next+produced
	for i := range batch {
		s := &batch[i]
		offset := s.offset
		if offset > 3 {
			offset -= 3
			rep0, rep1, rep2 = offset, rep0, rep1
		} else {
			if s.literals == 0 {
				offset++
			}
			switch offset {
			case 1:
				offset = rep0
			case 2:
				offset = rep1
				rep0, rep1 = offset, rep0
			case 3:
				offset = rep2
				rep0, rep1, rep2 = offset, rep0, rep1
			default:
				offset = rep0 - 1
				rep0, rep1, rep2 = offset, rep0, rep1
			}
		}
		s.offset = offset
		at += int(s.literals)
		from := at - int(offset)
		from += len(window) & (from >> 63) // where it goes round
		at += int(s.match)
		if uint(from) < uint(len(window)) {
			read += window[from]
		}
	}
	d.reps = [3]uint32{rep0, rep1, rep2}
	return read
}

// execute does the sequences. literals[used:size] are the literals that are
// left; it returns used anew.
func (d *Decoder) execute(o *output, batch []sequence, literals []byte, used, size int) (int, error) {
	window := uint(d.window)
	history := &d.history
	buf, out, base := o.buf, o.n, o.frame
	last := o.last()
	for i := range batch {
		s := &batch[i]
		lits, match, offset := int(s.literals), int(s.match), uint(s.offset)
		if lits > size-used {
			return 0, errLiterals
		}
		if n := lits + match; n > last-out {
			o.n = out
			if err := o.room(n+slack, n); err != nil {
				return 0, err
			}
			if n > o.last()-out {
				if err := o.grow(n + slack); err != nil {
					return 0, err
				}
			}
			buf, last = o.buf, o.last()
		}
		if lits <= 16 && len(literals)-used >= 16 {
			copy16(buf, out, literals, used)
		} else {
			copy(buf[out:out+lits], literals[used:])
		}
		out += lits
		used += lits

		end := out + match
		produced := uint(out - base)
		if offset-1 >= min(window, produced) { // 0 is beyond as well
			if offset-1 >= min(window, uint(history.held)+produced) {
				return 0, errOffset
			}
			// It begins before the message.
			back := int(offset - produced)
			from := history.next - back
			if from < 0 {
				from += len(history.buf)
			}
			if match <= 192 && match <= back && len(history.buf)-from >= match+slack-3 {
				copy16(buf, out, history.buf, from)
				copy16(buf, out+16, history.buf, from+16)
				copy16(buf, out+32, history.buf, from+32)
				copy16(buf, out+48, history.buf, from+48)
				for i := 64; i < match; i += 32 {
					copy16(buf, out+i, history.buf, from+i)
					copy16(buf, out+i+16, history.buf, from+i+16)
				}
				out = end
				continue
			}
			if out += history.copyTo(buf[out:end], back); out == end {
				continue
			}
		}
		from := out - int(offset)
		if offset >= 16 && end-out <= 128 {
			copy16(buf, out, buf, from)
			copy16(buf, out+16, buf, from+16)
			for out += 32; out < end; out += 16 {
				copy16(buf, out, buf, out-int(offset))
			}
			out = end
			continue
		}
		// What a copy adds is the same over again, so that the next one may
		// take twice as much.
		for out < end {
			out += copy(buf[out:end], buf[from:out])
		}
	}
	o.n = out
	return used, nil
}

// copy16 copies 16 bytes from src[j:] to dst[i:]. The slices' capacities are
// bounded so that the compiler can prove that bytes follow i and j.
func copy16(dst []byte, i int, src []byte, j int) {
	*(*[16]byte)(dst[i : i+16 : i+16]) = *(*[16]byte)(src[j : j+16 : j+16])
}
