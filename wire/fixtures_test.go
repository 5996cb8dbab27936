// This file holds what the tests of this package share: recorded payloads and
// the server's side of the compressions and of WebSocket frames.

package wire

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// payloads are the names of the messages in testdata/wire.
var payloads = []string{"hello", "ready", "guild_create", "message_create"}

func payload(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "wire", name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// compressor is the server's side of an inflater.
type compressor struct {
	buf   bytes.Buffer
	zstd  *zstd.Encoder
	zlib  *zlib.Writer
	whole bool // every message is a stream of its own
}

func newCompressor(tb testing.TB, c Compression) *compressor {
	tb.Helper()
	s := new(compressor)
	var err error
	switch c {
	case CompressionZstd:
		// Discord's window, and a frame without a checksum that never ends.
		s.zstd, err = zstd.NewWriter(&s.buf, zstd.WithWindowSize(256<<10), zstd.WithEncoderCRC(false),
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	case CompressionZlib, CompressionPayload:
		s.zlib = zlib.NewWriter(&s.buf)
		s.whole = c == CompressionPayload
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// reset begins a new connection.
func (s *compressor) reset() {
	s.buf.Reset()
	if s.zstd != nil {
		s.zstd.Reset(&s.buf)
	} else {
		s.zlib.Reset(&s.buf)
	}
}

// message compresses one message into memory of its own.
func (s *compressor) message(tb testing.TB, msg []byte) []byte {
	tb.Helper()
	s.buf.Reset()
	var err error
	switch {
	case s.zstd != nil:
		if _, err = s.zstd.Write(msg); err == nil {
			err = s.zstd.Flush()
		}
	case s.whole:
		s.zlib.Reset(&s.buf)
		if _, err = s.zlib.Write(msg); err == nil {
			err = s.zlib.Close()
		}
	default:
		if _, err = s.zlib.Write(msg); err == nil {
			err = s.zlib.Flush()
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Clone(s.buf.Bytes())
}

func newInflater(tb testing.TB, c Compression, limit int) Inflater {
	tb.Helper()
	inf, err := NewInflater(c, limit, Bounds{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(inf.Close)
	return inf
}

// serverFrame appends a frame as a server sends it: not masked.
func serverFrame(dst []byte, fin bool, op ws.OpCode, payload []byte) []byte {
	first := byte(op)
	if fin {
		first |= 0x80
	}
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, first, byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
	return append(dst, payload...)
}
