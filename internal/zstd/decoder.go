// This file holds the decoder: the frame's header, the blocks of a message,
// and the bounds that both are held to.

// Package zstd decodes one zstd frame (RFC 8878) that never ends, as a
// connection that is compressed as a whole sends it: message by message, each
// of whole blocks. A [Decoder] holds the frame's window and its tables, and
// nothing else: a message is decoded straight into the caller's buffer. Where a
// frame does end, as with servers that make one of each message, the next begins.
package zstd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// DefaultMaxWindow is the largest window that is accepted by default, in
// bytes: what the format recommends decoders to support (RFC 8878, 3.1.1.1.2).
const DefaultMaxWindow = 8 << 20

// ErrTooBig is wrapped by the error for a message that decodes to more than
// the caller's limit.
var ErrTooBig = errors.New("message too big")

const (
	magic = 0xFD2FB528

	// maxBlock is the most that one block decodes to, whatever the window
	// (RFC 8878, 3.1.1.2.4).
	maxBlock = 128 << 10

	// slack is how far behind the output copies may write, in bytes: short ones
	// are done in steps of 16 bytes, four at once to begin with.
	slack = 64
)

// The kinds of a block (RFC 8878, 3.1.1.2.2).
const (
	blockRaw = iota
	blockRLE
	blockCompressed
	blockReserved
)

// Decoder decodes a stream of frames. The zero value is ready for use; its memory grows
// with what was decoded, up to the window's size and about 16 KiB of tables.
// A Decoder is for one goroutine at a time.
//
// A frame with a dictionary is refused, and so is anything before a frame or
// between two. A content checksum is read over, not verified: where such a frame
// comes from, TLS has done that.
type Decoder struct {
	// MaxWindow is the largest window that is accepted, in bytes. 0 is
	// DefaultMaxWindow. It is read with a frame's header.
	MaxWindow int
	// Grow, if set, makes the larger buffers: a new one with what is in buf, and a
	// capacity of n bytes more at least. nil: the message is refused with ErrNoRoom.
	Grow func(buf []byte, n int) []byte
	// Keep, if set, is asked before n bytes of what was decoded are kept for later messages to
	// refer to: more than before, up to the window's size. false: ErrNoRoom.
	Keep func(n int) bool

	begun    bool // the frame's header was read, and its last block was not
	checksum bool // a checksum follows the last block
	sized    bool // size is known
	size     uint64
	window   int
	block    int    // the most that a block may be, encoded or decoded
	total    uint64 // decoded since the frame's beginning
	err      error

	history ring
	reps    [3]uint32
	huffman *huffmanTable // of the last block that brought one
	seq     sequenceTables
}

// Decode appends what the blocks of msg decode to to dst and returns the
// extended slice. msg holds whole blocks, a frame's first message also its
// header, which may stand alone. Not more than limit bytes are appended: where
// msg holds more, the error wraps ErrTooBig. Where msg ends within a block, it
// wraps io.ErrUnexpectedEOF. An error is final; dst is then returned as it was.
//
// msg is not kept; it must not overlap dst. dst may have grown, and what is
// between its length and its capacity may be written over: behind what is
// appended there are up to 128 KiB of scratch.
func (d *Decoder) Decode(dst, msg []byte, limit int) ([]byte, error) {
	if d.err != nil {
		return dst, d.err
	}
	out, err := d.decode(dst, msg, limit)
	if err != nil {
		if err == errLimit {
			err = fmt.Errorf("%w: more than %d bytes", ErrTooBig, limit)
		}
		d.err = fmt.Errorf("zstd: %w", err)
		return dst, d.err
	}
	return out, nil
}

// errLimit says that a message decodes to more than the limit.
var errLimit = errors.New("limit")

// ErrNoRoom is wrapped by the error for a message for which Decoder.Grow or Keep has no room.
var ErrNoRoom = errors.New("no capacity left")

func (d *Decoder) decode(dst, msg []byte, limit int) ([]byte, error) {
	o := output{buf: dst[:cap(dst)], n: len(dst), base: len(dst), frame: len(dst), limit: max(0, limit), make: d.Grow}
	for at := 0; at < len(msg); {
		if !d.begun {
			n, err := d.header(msg[at:])
			if err != nil {
				return nil, fmt.Errorf("frame header: %w", err)
			}
			d.begun, o.frame = true, o.n
			at += n
			continue
		}
		n, err := d.decodeBlock(&o, msg, at)
		if err != nil {
			return nil, err
		}
		at = n
	}
	out := o.buf[:o.n]
	if d.begun {
		d.total += uint64(o.n - o.frame)
		if n := d.history.size(o.n-o.frame, d.window); n > len(d.history.buf) && d.Keep != nil && !d.Keep(n) {
			return nil, ErrNoRoom
		}
		d.history.append(out[o.frame:], d.window)
	}
	return out, nil
}

// header reads the frame's header and returns its length (RFC 8878, 3.1.1.1).
func (d *Decoder) header(msg []byte) (int, error) {
	if len(msg) < 5 {
		return 0, io.ErrUnexpectedEOF
	}
	switch m := binary.LittleEndian.Uint32(msg); {
	case m == magic:
	case m&^0xf == 0x184D2A50:
		return 0, errors.New("a skippable frame")
	default:
		return 0, fmt.Errorf("magic number %#08x", m)
	}
	descriptor := msg[4]
	single := descriptor&0x20 != 0
	d.checksum = descriptor&4 != 0
	if descriptor&8 != 0 {
		return 0, errors.New("the reserved bit is set")
	}
	windowLen, idLen := 1, [...]int{0, 1, 2, 4}[descriptor&3]
	sizeLen := [...]int{0, 2, 4, 8}[descriptor>>6]
	if single {
		windowLen = 0
		sizeLen = max(1, sizeLen)
	}
	end := 5 + windowLen + idLen + sizeLen
	if len(msg) < end {
		return 0, io.ErrUnexpectedEOF
	}
	var field [8]byte
	copy(field[:], msg[end-sizeLen:end])
	d.sized, d.size = sizeLen > 0, binary.LittleEndian.Uint64(field[:])
	if sizeLen == 2 {
		d.size += 256
	}
	for _, b := range msg[5+windowLen : end-sizeLen] {
		if b != 0 {
			return 0, errors.New("a dictionary is needed")
		}
	}
	window := d.size
	if !single {
		base := uint64(1) << (10 + msg[5]>>3)
		window = base + base/8*uint64(msg[5]&7)
	}
	most := d.MaxWindow
	if most == 0 {
		most = DefaultMaxWindow
	}
	if window > uint64(max(0, most)) {
		return 0, fmt.Errorf("a window of %d bytes, more than %d", window, most)
	}
	d.window = int(window)
	d.block = min(d.window, maxBlock)
	d.reps = [3]uint32{1, 4, 8}
	return end, nil
}

// decodeBlock decodes the block at msg[at:] and returns where it ends.
func (d *Decoder) decodeBlock(o *output, msg []byte, at int) (int, error) {
	if len(msg)-at < 3 {
		return 0, cutOff("block header")
	}
	header := int(msg[at]) | int(msg[at+1])<<8 | int(msg[at+2])<<16
	at += 3
	kind, size := header>>1&3, header>>3
	if size > d.block {
		return 0, fmt.Errorf("a block of %d bytes, more than %d", size, d.block)
	}
	end := at + size
	if kind == blockRLE {
		end = at + 1
	}
	if end > len(msg) {
		return 0, cutOff("block")
	}
	o.end, o.free = o.n+d.block, len(o.buf)
	var err error
	switch kind {
	case blockRaw:
		if err = o.room(size, size); err == nil {
			o.n += copy(o.buf[o.n:], msg[at:end])
		}
	case blockRLE:
		if err = o.room(size, size); err == nil {
			fill(o.buf[o.n:o.n+size], msg[at])
			o.n += size
		}
	case blockCompressed:
		// Positions in it are bits; 8 bytes before it are there to be loaded.
		lead := min(at, 8)
		err = d.decodeCompressed(o, msg[at-lead:end], lead)
	case blockReserved:
		err = errors.New("a block of the reserved kind")
	}
	if err != nil {
		return 0, err
	}
	decoded := d.total + uint64(o.n-o.frame)
	if d.sized && decoded > d.size {
		return 0, errors.New("more content than the frame's header says")
	}
	if header&1 == 0 {
		return end, nil
	}
	if d.sized && decoded != d.size {
		return 0, errors.New("less content than the frame's header says")
	}
	if d.checksum {
		if end += 4; end > len(msg) {
			return 0, cutOff("checksum")
		}
	}
	d.begun, d.total = false, 0
	d.history, d.huffman, d.seq = ring{}, nil, sequenceTables{}
	return end, nil
}

func cutOff(what string) error { return fmt.Errorf("%s: %w", what, io.ErrUnexpectedEOF) }

// output is where a message is decoded to.
type output struct {
	buf   []byte                         // the caller's, with its whole capacity
	n     int                            // what of it is in use
	base  int                            // where the message begins
	frame int                            // where what it has of the frame begins
	limit int                            // the most that a message may be
	end   int                            // the most that n may become with this block
	free  int                            // where the block's literals are in buf, or its end
	make  func(buf []byte, n int) []byte // Decoder.Grow
}

// room sees to it that n more bytes fit. total is the least that the block as
// a whole will need from here, which is checked as well.
func (o *output) room(n, total int) error {
	if total > o.end-o.n {
		return errBlockSize
	}
	if total > o.limit-(o.n-o.base) {
		return errLimit
	}
	if n > len(o.buf)-o.n {
		return o.grow(n)
	}
	return nil
}

// grow moves the output to where n more bytes fit, and the message may become
// twice as large, if the limit allows. It always moves: what lies behind the
// output in the present buffer may still be in use as literals.
func (o *output) grow(n int) error {
	if o.make != nil {
		b := o.make(o.buf[:o.n:o.n], n)
		if b == nil {
			return ErrNoRoom
		}
		o.buf = b[:cap(b)]
	} else {
		size := o.n - o.base
		b := slices.Grow(o.buf[:o.n:o.n], max(n, min(size, o.limit-size)+slack))
		o.buf = b[:cap(b)]
	}
	o.free = len(o.buf)
	return nil
}

// last is how far the output may go for copies to write slack behind it.
func (o *output) last() int { return o.free - slack }

var errBlockSize = errors.New("a block decodes to more than a block may")

func fill(p []byte, b byte) {
	if b == 0 {
		clear(p)
		return
	}
	for i := range p {
		p[i] = b
	}
}
