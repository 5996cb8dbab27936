// This file is the decoder: the frame, its blocks, and the window.

// Package zstd decodes a Zstandard frame (RFC 8878) that does not end, message by
// message, as Discord's zstd-stream is one.
//
// It stands in for klauspost/compress, whose decoder of streams holds some 700 KiB
// for a window of 256 KiB: a ring of the window and two blocks, and room for blocks
// before and after they are decoded. Here a message is decoded to where its
// reader wants it, and a Decoder holds the window, no larger than what it has
// decoded, and its tables.
package zstd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

const (
	magic = 0xFD2FB528
	// maxBlock bounds what one block decodes to (RFC 8878, 3.1.1.2.4).
	maxBlock = 128 << 10
	// DefaultMaxWindow is what the RFC recommends decoders to support, in bytes.
	DefaultMaxWindow = 8 << 20
	// minWindow is the smallest that a window is held with.
	minWindow = 1 << 10
)

// ErrTooBig means that a message decodes to more than is allowed.
var ErrTooBig = errors.New("zstd: message too big")

// errCorrupt is wrapped by the errors for what is no Zstandard.
var errCorrupt = errors.New("zstd: corrupt")

func corrupt(what string) error { return fmt.Errorf("%w: %s", errCorrupt, what) }

// Decoder decodes one frame. The zero value waits for its beginning. It is for one
// goroutine at a time.
type Decoder struct {
	// MaxWindow bounds the window that a frame may ask for, in bytes;
	// DefaultMaxWindow if zero.
	MaxWindow int

	begun    bool // the header was read
	checksum bool // four bytes follow the last block
	ended    bool
	err      error

	// The window: what was decoded last, without the message under way. It
	// grows up to size; from then on at is its oldest byte.
	size   int
	window []byte
	at     int

	huffman   huffman // the last table of literals
	lengths   table   // of literals
	offsets   table
	matches   table // their lengths
	repeating [3]int
}

// scratch is what decoding a block needs and a Decoder does not keep.
type scratch struct {
	literals []byte // maxBlock
	bits     []byte // of sequences, and 8 bytes
}

var scratches = sync.Pool{New: func() any { return &scratch{literals: make([]byte, 0, maxBlock)} }}

// Decode appends to dst what msg decodes to and returns the extended slice. msg
// holds whole blocks, and is not kept; the first one begins with the frame's
// header. An error is final. It is ErrTooBig if msg decodes to more than limit
// bytes, and wraps io.ErrUnexpectedEOF if msg ends inside a block.
func (d *Decoder) Decode(dst, msg []byte, limit int) ([]byte, error) {
	if d.err != nil || len(msg) == 0 {
		return dst, d.err
	}
	base := len(dst)
	rest := msg
	if !d.begun {
		if rest, d.err = d.header(rest); d.err != nil {
			return dst, d.err
		}
	}
	s := scratches.Get().(*scratch)
	for len(rest) > 0 && d.err == nil {
		if d.ended {
			d.err = corrupt("something behind the last block")
			break
		}
		dst, rest, d.err = d.block(dst, base, rest, limit, s)
	}
	scratches.Put(s)
	d.remember(dst[base:])
	return dst, d.err
}

// header reads the frame's header and returns what follows.
func (d *Decoder) header(b []byte) (rest []byte, err error) {
	const short = "a header that is cut off"
	if len(b) < 5 {
		return nil, fmt.Errorf("zstd: %w: %s", io.ErrUnexpectedEOF, short)
	}
	if binary.LittleEndian.Uint32(b) != magic {
		return nil, corrupt(fmt.Sprintf("begins with % x", b[:4]))
	}
	descriptor := b[4]
	b = b[5:]
	if descriptor&0x08 != 0 {
		return nil, corrupt("reserved bit in the header")
	}
	single := descriptor&0x20 != 0
	d.checksum = descriptor&0x04 != 0
	idSize := [4]int{0, 1, 2, 4}[descriptor&3]
	contentSize := [4]int{0, 2, 4, 8}[descriptor>>6]
	if single && contentSize == 0 {
		contentSize = 1
	}
	windowSize := 1
	if single {
		windowSize = 0
	}
	if len(b) < windowSize+idSize+contentSize {
		return nil, fmt.Errorf("zstd: %w: %s", io.ErrUnexpectedEOF, short)
	}
	var size uint64
	if !single {
		log, add := 10+b[0]>>3, uint64(b[0]&7)
		size = 1<<log + (1<<log)/8*add
		b = b[1:]
	}
	for _, c := range b[:idSize] {
		if c != 0 {
			return nil, corrupt("a dictionary is asked for")
		}
	}
	b = b[idSize:]
	if single {
		for i, c := range b[:contentSize] {
			size |= uint64(c) << (8 * i)
		}
		if contentSize == 2 {
			size += 256
		}
	}
	limit := d.MaxWindow
	if limit == 0 {
		limit = DefaultMaxWindow
	}
	if size > uint64(limit) {
		return nil, corrupt(fmt.Sprintf("a window of %d bytes, more than the %d allowed", size, limit))
	}
	d.size = max(int(size), minWindow)
	d.repeating = [3]int{1, 4, 8}
	d.begun = true
	return b[contentSize:], nil
}

// block decodes the block at the start of b. The message's output begins at base.
func (d *Decoder) block(dst []byte, base int, b []byte, limit int, s *scratch) (out, rest []byte, err error) {
	if len(b) < 3 {
		return dst, nil, fmt.Errorf("zstd: %w: inside a block's header", io.ErrUnexpectedEOF)
	}
	header := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	b = b[3:]
	last, kind, size := header&1 != 0, header>>1&3, header>>3
	most := min(maxBlock, d.size)
	if size > most {
		return dst, nil, corrupt("a block above the largest size")
	}
	stored := size
	if kind == 1 {
		stored = 1
	}
	if len(b) < stored {
		return dst, nil, fmt.Errorf("zstd: %w: inside a block", io.ErrUnexpectedEOF)
	}
	content := b[:stored]
	b = b[stored:]
	left := limit - (len(dst) - base)
	switch kind {
	case 0, 1:
		if size > left {
			return dst, nil, ErrTooBig
		}
		if kind == 0 {
			dst = append(dst, content...)
			break
		}
		dst = slices.Grow(dst, size)
		for range size {
			dst = append(dst, content[0])
		}
	case 2:
		if dst, err = d.compressed(dst, base, content, min(most, left), s); err != nil {
			if left < most && errors.Is(err, errRoom) {
				err = ErrTooBig
			}
			return dst, nil, err
		}
	default:
		return dst, nil, corrupt("a block of the reserved type")
	}
	if last {
		d.ended = true
		if d.checksum {
			if len(b) < 4 {
				return dst, nil, fmt.Errorf("zstd: %w: inside the checksum", io.ErrUnexpectedEOF)
			}
			b = b[4:] // TLS has its own
		}
	}
	return dst, b, nil
}

// compressed decodes the content of a compressed block, to room bytes at most.
func (d *Decoder) compressed(dst []byte, base int, b []byte, room int, s *scratch) ([]byte, error) {
	literals, b, err := d.literals(b, s)
	if err != nil {
		return dst, err
	}
	count, b, err := d.sequences(b)
	if err != nil {
		return dst, err
	}
	if count == 0 {
		if len(b) > 0 {
			return dst, corrupt("something behind a block without sequences")
		}
		if len(literals) > room {
			return dst, errRoom
		}
		return append(dst, literals...), nil
	}
	return d.execute(dst, base, b, literals, count, room, s)
}

// remember puts a message into the window.
func (d *Decoder) remember(p []byte) {
	if len(p) >= d.size {
		if cap(d.window) < d.size {
			d.window = make([]byte, d.size)
		}
		d.window, d.at = d.window[:d.size], 0
		copy(d.window, p[len(p)-d.size:])
		return
	}
	if free := d.size - len(d.window); free > 0 {
		n := min(free, len(p))
		if need := len(d.window) + n; need > cap(d.window) {
			// Doubling, up to the window's size and not beyond.
			w := make([]byte, len(d.window), min(d.size, max(2*cap(d.window), need, minWindow)))
			copy(w, d.window)
			d.window = w
		}
		d.window = append(d.window, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(d.window[d.at:], p)
		p = p[n:]
		if d.at += n; d.at == len(d.window) {
			d.at = 0
		}
	}
}
