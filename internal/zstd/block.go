// This file decodes compressed blocks: their literals, and the header of their
// sequences.

package zstd

import (
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
	end := len(msg)
	literals, size, at, err := d.literals(o, msg, at)
	if err != nil {
		if err == errLimit || err == errBlockSize || err == ErrNoRoom {
			return err
		}
		return fmt.Errorf("literals: %w", err)
	}
	if at >= end {
		return fmt.Errorf("sequences: %w", errShort)
	}
	n := int(msg[at])
	at++
	switch {
	case n == 255:
		if at+2 > end {
			return fmt.Errorf("sequences: %w", errShort)
		}
		n = int(msg[at]) + int(msg[at+1])<<8 + 0x7f00
		at += 2
	case n >= 128:
		if at+1 > end {
			return fmt.Errorf("sequences: %w", errShort)
		}
		n = (n-128)<<8 + int(msg[at])
		at++
	}
	if n == 0 {
		if at != end {
			return errors.New("sequences: data behind their end")
		}
	} else {
		if at, err = d.seq.read(msg, at); err != nil {
			return fmt.Errorf("sequences: %w", err)
		}
		used, err := d.sequences(o, msg, at, n, literals, size)
		if err != nil {
			if err == errLimit || err == errBlockSize || err == ErrNoRoom {
				return err
			}
			return fmt.Errorf("sequences: %w", err)
		}
		literals, size = literals[used:], size-used
	}
	if err := o.room(size, size); err != nil {
		return err
	}
	o.n += copy(o.buf[o.n:], literals[:size])
	return nil
}

// errShort says that a section ends before it is complete.
var errShort = errors.New("the block is too short")

// literals decodes the literals at msg[at:] and returns them, how many they
// are, and where their section ends. They are borrowed until the output moves or
// comes to where they are: the slice goes on behind the literals, so that they
// can be copied in steps.
func (d *Decoder) literals(o *output, msg []byte, at int) (literals []byte, size, next int, err error) {
	if at >= len(msg) {
		return nil, 0, 0, errShort
	}
	var header uint64 // up to five bytes of it
	for i, b := range msg[at:min(len(msg), at+5)] {
		header |= uint64(b) << (8 * i)
	}
	kind, format := header&3, header>>2&3
	if kind == literalsRaw || kind == literalsRLE {
		switch format {
		case 0, 2:
			size = int(header >> 3 & (1<<5 - 1))
			next = at + 1
		case 1:
			size = int(header >> 4 & (1<<12 - 1))
			next = at + 2
		case 3:
			size = int(header >> 4 & (1<<20 - 1))
			next = at + 3
		}
		if kind == literalsRaw {
			if next+size > len(msg) {
				return nil, 0, 0, errShort
			}
			return msg[next:], size, next + size, nil
		}
		if next >= len(msg) {
			return nil, 0, 0, errShort
		}
		if literals, err = o.scratch(size); err != nil {
			return nil, 0, 0, err
		}
		fill(literals[:size], msg[next])
		return literals, size, next + 1, nil
	}
	var width, compressed int
	switch format {
	case 0, 1:
		width, next = 10, at+3
	case 2:
		width, next = 14, at+4
	case 3:
		width, next = 18, at+5
	}
	size = int(header >> 4 & (1<<width - 1))
	compressed = int(header >> (4 + width) & (1<<width - 1))
	end := next + compressed
	if end > len(msg) || size == 0 {
		return nil, 0, 0, errShort
	}
	if literals, err = o.scratch(size); err != nil {
		return nil, 0, 0, err
	}
	if kind == literalsCompressed {
		if d.huffman == nil {
			d.huffman = new(huffmanTable)
		}
		if next, err = d.huffman.read(msg[:end], next); err != nil {
			return nil, 0, 0, err
		}
	} else if d.huffman == nil {
		return nil, 0, 0, errRepeat
	}
	if format == 0 {
		err = d.huffman.decode(literals[:size], msg, next, end)
	} else {
		err = d.huffman.decode4(literals[:size], msg, next, end)
	}
	return literals, size, end, err
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
