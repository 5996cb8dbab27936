// This file decodes compressed blocks, and their literals.

package zstd

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of literals (RFC 8878, 3.1.1.3.1.1).
const (
	literalsRaw = iota
	literalsRLE
	literalsCompressed
	literalsTreeless
)

// decodeCompressed decodes the compressed block msg[at:].
func (d *Decoder) decodeCompressed(o *output, msg []byte, at int) error {
	section, err := d.literalsHeader(msg, at)
	if err != nil {
		return fmt.Errorf("literals: %w", err)
	}
	// The first sequences are read before the literals, so that what they copy
	// comes from memory while those are decoded.
	var batch [batchSize]sequence
	var moved [8 + 48]byte
	var r sequenceReader // filled in place: it is more than results are returned in registers for
	n, sequencesErr := d.begin(&r, msg, section.end)
	most := r.batch()
	k := min(n, most)
	if k > 0 {
		if r.first < 64 {
			r = r.move(&moved)
		}
		sequencesErr = d.next(&r, batch[:k], k == n, o.n-o.frame)
	}
	literals, err := d.literals(o, msg, section)
	if err != nil {
		if err == errLimit || err == errBlockSize || err == ErrNoRoom {
			return err
		}
		return fmt.Errorf("literals: %w", err)
	}
	size, used := section.size, 0
	for sequencesErr == nil && k > 0 {
		if used, sequencesErr = d.execute(o, batch[:k], literals, used, size); sequencesErr != nil {
			break
		}
		if n -= k; n == 0 {
			if r.pos != r.first {
				sequencesErr = errLeftOver
			}
			break
		}
		k = min(n, most)
		if r.first < 64 {
			r = r.move(&moved)
		}
		sequencesErr = d.next(&r, batch[:k], k == n, o.n-o.frame)
	}
	if err := sequencesErr; err != nil {
		if err == errLimit || err == errBlockSize || err == ErrNoRoom {
			return err
		}
		return fmt.Errorf("sequences: %w", err)
	}
	literals, size = literals[used:], size-used
	if err := o.room(size, size); err != nil {
		return err
	}
	o.n += copy(o.buf[o.n:], literals[:size])
	return nil
}

// errShort says that a section ends before it is complete.
var errShort = errors.New("the block is too short")

// literalsSection is what the header of a block's literals says.
type literalsSection struct {
	kind  uint8
	four  bool // four bitstreams
	size  int  // how many literals there are
	start int  // where they are in the message, encoded
	end   int
}

// literalsHeader reads the header at msg[at:].
func (d *Decoder) literalsHeader(msg []byte, at int) (l literalsSection, err error) {
	if at >= len(msg) {
		return l, errShort
	}
	var header uint64 // up to five bytes of it
	if at+8 <= len(msg) {
		header = binary.LittleEndian.Uint64(msg[at:])
	} else {
		for i, b := range msg[at:] {
			header |= uint64(b) << (8 * i)
		}
	}
	format := header >> 2 & 3
	l.kind = uint8(header & 3)
	if l.kind == literalsRaw || l.kind == literalsRLE {
		switch format {
		case 0, 2:
			l.size = int(header >> 3 & (1<<5 - 1))
			l.start = at + 1
		case 1:
			l.size = int(header >> 4 & (1<<12 - 1))
			l.start = at + 2
		case 3:
			l.size = int(header >> 4 & (1<<20 - 1))
			l.start = at + 3
		}
		l.end = l.start + l.size
		if l.kind == literalsRLE {
			l.end = l.start + 1
		}
		if l.end > len(msg) {
			return l, errShort
		}
		return l, nil
	}
	var width int
	switch format {
	case 0, 1:
		width, l.start = 10, at+3
	case 2:
		width, l.start = 14, at+4
	case 3:
		width, l.start = 18, at+5
	}
	l.four = format != 0
	l.size = int(header >> 4 & (1<<width - 1))
	l.end = l.start + int(header>>(4+width)&(1<<width-1))
	if l.end > len(msg) || l.size == 0 {
		return l, errShort
	}
	if l.kind == literalsTreeless && d.huffman != nil {
		d.huffman.touch()
	}
	return l, nil
}

// literals returns the section's literals. They are borrowed until the output
// moves or comes to where they are: the slice goes on behind the literals, so
// that they can be copied in steps.
func (d *Decoder) literals(o *output, msg []byte, l literalsSection) (literals []byte, err error) {
	if l.kind == literalsRaw {
		return msg[l.start:], nil
	}
	if literals, err = o.scratch(l.size); err != nil {
		return nil, err
	}
	at := l.start
	switch l.kind {
	case literalsRLE:
		fill(literals[:l.size], msg[at])
		return literals, nil
	case literalsCompressed:
		if d.huffman == nil {
			d.huffman = new(huffmanTable)
		}
		if at, err = d.huffman.read(msg[:l.end], at); err != nil {
			return nil, err
		}
	case literalsTreeless:
		if d.huffman == nil {
			return nil, errRepeat
		}
	}
	if l.four {
		return literals, d.huffman.decode4(literals[:l.size], msg, at, l.end)
	}
	return literals, d.huffman.decode(literals[:l.size], msg, at, l.end)
}

var errRepeat = errors.New("a table is used again before there was one")

// scratch returns room for n literals, which is at the end of the output's
// buffer. It sees to it that a block of these literals alone fits before them.
func (o *output) scratch(n int) ([]byte, error) {
	if err := o.room(2*(n+slack), n); err != nil {
		return nil, err
	}
	o.free = len(o.buf) - n - slack
	return o.buf[o.free:], nil
}
