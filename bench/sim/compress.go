// This file compresses what the server sends, with Discord's parameters: one
// context for the whole connection, flushed after every message and never
// ended; or stored, the same streams without a compressor behind them.

package sim

import (
	"compress/zlib" // its output is closer to that of Discord's zlib than klauspost's
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zstd"
)

// The values of the compress parameter.
const (
	compressNone = ""
	compressZlib = "zlib-stream"
	compressZstd = "zstd-stream"
)

// encoder is the compression context of one connection.
type encoder interface {
	// encode compresses a message. The result is valid until the next call.
	encode(msg []byte) ([]byte, error)
	// store gives a message as stored blocks of the same stream. It is only for
	// streams that were stored or recorded so far: an encoder with a history of
	// its own does not learn of it.
	store(msg []byte) []byte
	// release gives back what is pooled. The encoder can't be used afterwards.
	release()
}

// encode makes the payload of a WebSocket message out of a message.
func (c *conn) encode(msg []byte) (ws.OpCode, []byte, error) {
	if c.compress == compressNone {
		if c.payloadCompression() && len(msg) >= c.srv.opt.PayloadThreshold {
			p, err := deflateOnce(msg)
			return ws.OpBinary, p, err
		}
		return ws.OpText, msg, nil
	}
	if c.enc == nil {
		c.enc = newEncoder(c.compress)
	}
	if c.srv.opt.Stored || c.recorded() {
		return ws.OpBinary, c.enc.store(msg), nil
	}
	p, err := c.enc.encode(msg)
	return ws.OpBinary, p, err
}

func (c *conn) payloadCompression() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.payload
}

func newEncoder(compress string) encoder {
	if compress == compressZlib {
		return new(zlibEncoder)
	}
	return new(zstdEncoder)
}

// zstdHeader begins a frame without content size and checksum, with a window
// of 256 KiB.
var zstdHeader = [6]byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x40}

const zstdBlock = 128 << 10 // most bytes in a block

type zstdEncoder struct {
	begun bool
	w     *zstd.Encoder
	out   sliceWriter
}

var zstdPool sync.Pool // of *zstd.Encoder

func newZstdWriter(out *sliceWriter) (*zstd.Encoder, error) {
	if w, ok := zstdPool.Get().(*zstd.Encoder); ok {
		w.Reset(out)
		return w, nil
	}
	w, err := zstd.NewWriter(out, zstd.WithWindowSize(1<<18), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("sim: zstd: %w", err)
	}
	return w, nil
}

func (e *zstdEncoder) encode(msg []byte) ([]byte, error) {
	if e.w == nil {
		w, err := newZstdWriter(&e.out)
		if err != nil {
			return nil, err
		}
		e.w = w
	}
	e.out.b = e.out.b[:0]
	if _, err := e.w.Write(msg); err != nil {
		return nil, fmt.Errorf("sim: zstd: %w", err)
	}
	if err := e.w.Flush(); err != nil {
		return nil, fmt.Errorf("sim: zstd: %w", err)
	}
	return e.out.b, nil
}

func (e *zstdEncoder) store(msg []byte) []byte {
	b := e.out.b[:0]
	if !e.begun {
		b = append(b, zstdHeader[:]...)
		e.begun = true
	}
	e.out.b = appendRawBlocks(b, msg)
	return e.out.b
}

// appendRawBlocks appends msg as raw blocks, none of them the last.
func appendRawBlocks(b, msg []byte) []byte {
	for len(msg) > 0 {
		n := min(len(msg), zstdBlock)
		b = append(b, byte(n<<3), byte(n>>5), byte(n>>13))
		b = append(b, msg[:n]...)
		msg = msg[n:]
	}
	return b
}

func (e *zstdEncoder) release() {
	if e.w != nil {
		e.w.Reset(nil)
		zstdPool.Put(e.w)
		e.w = nil
	}
}

type zlibEncoder struct {
	begun bool
	w     *zlib.Writer
	out   sliceWriter
}

var zlibPool sync.Pool // of *zlib.Writer

func newZlibWriter(out *sliceWriter) *zlib.Writer {
	if w, ok := zlibPool.Get().(*zlib.Writer); ok {
		w.Reset(out)
		return w
	}
	return zlib.NewWriter(out)
}

func (e *zlibEncoder) encode(msg []byte) ([]byte, error) {
	if e.w == nil {
		e.w = newZlibWriter(&e.out)
	}
	e.out.b = e.out.b[:0]
	if _, err := e.w.Write(msg); err != nil {
		return nil, fmt.Errorf("sim: zlib: %w", err)
	}
	if err := e.w.Flush(); err != nil {
		return nil, fmt.Errorf("sim: zlib: %w", err)
	}
	return e.out.b, nil
}

func (e *zlibEncoder) store(msg []byte) []byte {
	b := e.out.b[:0]
	if !e.begun {
		b = append(b, 0x78, 0x9C)
		e.begun = true
	}
	e.out.b = appendStoredBlocks(b, msg)
	return e.out.b
}

// appendStoredBlocks appends msg as stored blocks and the empty one that ends a
// message.
func appendStoredBlocks(b, msg []byte) []byte {
	for {
		n := min(len(msg), 1<<16-1)
		b = append(b, 0)
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		b = binary.LittleEndian.AppendUint16(b, ^uint16(n))
		b = append(b, msg[:n]...)
		if n == 0 {
			return b
		}
		msg = msg[n:]
	}
}

func (e *zlibEncoder) release() {
	if e.w != nil {
		e.w.Reset(nil)
		zlibPool.Put(e.w)
		e.w = nil
	}
}

// deflateOnce compresses a message by itself, as payload compression does.
func deflateOnce(msg []byte) ([]byte, error) {
	out := new(sliceWriter)
	w := newZlibWriter(out)
	defer zlibPool.Put(w)
	if _, err := w.Write(msg); err != nil {
		return nil, fmt.Errorf("sim: zlib: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sim: zlib: %w", err)
	}
	return out.b, nil
}
