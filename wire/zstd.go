// This file inflates zstd-stream.

package wire

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdBlock is the most that one block inflates to (RFC 8878, 3.1.1.2.4).
	zstdBlock = 128 << 10
	// zstdWindow is the largest window that is accepted. Discord's is 256 KiB;
	// 8 MiB is what the format recommends decoders to support.
	zstdWindow = 8 << 20
)

// zstdInflater decodes the blocks of a frame that never ends, without a
// goroutine: a synchronous Decoder with room for more than a block decodes
// exactly one block per Read and takes exactly that block from its source.
// A message therefore is read until its source is empty. Discord promises that
// a message never ends inside a block.
type zstdInflater struct {
	dec     *zstd.Decoder
	src     bytes.Reader
	limit   int
	started bool // the frame's header was read
	err     error
}

// source hides the type of the bytes.Reader, which the decoder would otherwise
// take for a whole stream.
type source struct{ r *bytes.Reader }

func (s source) Read(p []byte) (int, error) { return s.r.Read(p) }

func newZstdInflater(limit int) (*zstdInflater, error) {
	z := &zstdInflater{limit: limit}
	dec, err := zstd.NewReader(source{&z.src},
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return nil, fmt.Errorf("wire: inflate zstd: %w", err)
	}
	z.dec = dec
	return z, nil
}

func (z *zstdInflater) Inflate(dst, msg []byte) (out []byte, complete bool, err error) {
	if z.err != nil {
		return dst, false, z.err
	}
	base := len(dst)
	z.src.Reset(z.trim(msg))
	for z.src.Len() > 0 {
		dst = slices.Grow(dst, zstdBlock+1)
		n, err := z.dec.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			err = io.ErrUnexpectedEOF // the message ends inside a block
			fallthrough
		case err != nil:
			z.err = fmt.Errorf("wire: inflate zstd: %w", err)
		case len(dst)-base > z.limit:
			z.err = tooBig(z.limit)
		}
		if z.err != nil {
			return dst, false, z.err
		}
		z.started = true
	}
	return dst, true, nil
}

// trim cuts empty raw blocks off the end of a message. The decoder would look
// behind one for the next block and find the end of its source.
func (z *zstdInflater) trim(msg []byte) []byte {
	if !bytes.HasSuffix(msg, []byte{0, 0, 0}) {
		return msg
	}
	at := 0
	if !z.started {
		var h zstd.Header
		if h.Decode(msg) != nil {
			return msg // the decoder tells what is wrong
		}
		at = h.HeaderSize
	}
	end := at // of the last block that is not empty
	for at+3 <= len(msg) {
		header := int(msg[at]) | int(msg[at+1])<<8 | int(msg[at+2])<<16
		kind, size := header>>1&3, header>>3
		at += 3
		if kind == 1 {
			at++ // a run is one byte, whatever its size
		} else {
			at += size
		}
		if kind != 0 || size != 0 {
			end = at
		}
	}
	if at != len(msg) {
		return msg
	}
	return msg[:end]
}

func (z *zstdInflater) Close() { z.dec.Close() }
