// This file throws arbitrary bytes at the decoder, and arbitrary messages.

package zstd

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	kzstd "github.com/klauspost/compress/zstd"
)

// FuzzDecode holds that arbitrary bytes are decoded as klauspost's decoder
// does, or refused, and that it does not matter how a stream's blocks are
// divided into messages.
//
// klauspost's accepts more: frames with what stands before or behind them, and
// the blocks before one that is wrong. It refuses a wrong checksum, which is
// not looked at here, and a Huffman table whose weights end with less bits than
// the next state would take, but not without any: the reference implementation
// accepts that, and so does the decoder (RFC 8878, 4.2.1.2).
//
// With -libzstd it is compared with that one too (make libzstd-fuzz).
func FuzzDecode(f *testing.F) {
	for _, name := range referenceStreams {
		stream, _ := recorded(f, name)
		f.Add(bytes.Join(stream[:3], nil), uint16(len(stream[0])))
		f.Add(bytes.Join(stream[:5], nil), uint16(len(stream[0])+len(stream[1])))
	}
	f.Add(bytes.Join([][]byte{discord, raw('a'), match(3 + 1), repeat(2), block(blockRLE, 9, 'b')}, nil), uint16(len(discord)))
	f.Add(bytes.Join([][]byte{single(3), last(raw('a', 'b', 'c'))}, nil), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		const limit = 1 << 22
		d := Decoder{MaxWindow: 1 << 20}
		own, err := d.Decode(nil, in, limit)
		if len(own) > limit {
			t.Fatalf("%d bytes", len(own))
		}
		dec, e := kzstd.NewReader(bytes.NewReader(in), kzstd.WithDecoderConcurrency(1),
			kzstd.WithDecoderMaxWindow(1<<20), kzstd.IgnoreChecksum(true))
		if e != nil {
			t.Fatal(e)
		}
		defer dec.Close()
		other, e := io.ReadAll(io.LimitReader(dec, limit+1))
		if err == nil {
			open := errors.Is(e, io.ErrUnexpectedEOF) && d.begun
			weights := e != nil && strings.Contains(e.Error(), "fse decompress returned: unexpected EOF")
			if weights && bytes.HasPrefix(own, other) {
				return
			}
			if !bytes.Equal(own, other) || e != nil && !open {
				t.Fatalf("%d bytes that klauspost has as %d, %v", len(own), len(other), e)
			}
		} else if e == nil && len(other) <= limit && oneFrame(in) {
			t.Fatalf("%v, and klauspost has %d bytes", err, len(other))
		}

		if *libzstd != "" && err == nil && len(in) > 4 && in[4]&4 == 0 { // it verifies checksums
			compareLibzstd(t, in, own, limit)
		}

		// Cut into two messages, at any place.
		at := min(int(cut), len(in))
		two := Decoder{MaxWindow: 1 << 20}
		first, e1 := two.Decode(nil, in[:at], limit)
		if e1 != nil {
			return // within a block, or wrong anyway
		}
		second, e2 := two.Decode(bytes.Clone(first), in[at:], limit-len(first))
		if (e2 == nil) != (err == nil) || e2 == nil && !bytes.Equal(second, own) {
			t.Fatalf("in two messages %d bytes, %v; in one %d, %v", len(second), e2, len(own), err)
		}
	})
}

// reference is libzstd behind a pipe, for each process that fuzzes.
var reference = sync.OnceValues(func() (func(in []byte) (right bool, read int, out []byte, err error), error) {
	cmd := exec.Command(*libzstd, "decode")
	cmd.Stderr = os.Stderr
	to, e1 := cmd.StdinPipe()
	pipe, e2 := cmd.StdoutPipe()
	if err := cmp.Or(e1, e2); err != nil {
		return nil, err
	}
	from := bufio.NewReader(pipe)
	return func(in []byte) (bool, int, []byte, error) {
		if _, err := to.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(in))), in...)); err != nil {
			return false, 0, nil, err
		}
		var head [9]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return false, 0, nil, err
		}
		out := make([]byte, binary.LittleEndian.Uint32(head[5:]))
		_, err := io.ReadFull(from, out)
		return head[0] != 0, int(binary.LittleEndian.Uint32(head[1:])), out, err
	}, cmd.Start()
})

// compareLibzstd holds that libzstd has the same, which ends with the first frame. What
// is refused is not compared: libzstd accepts some frames that this decoder refuses, an empty
// compressed block for one. No encoder is known to make them.
func compareLibzstd(t *testing.T, in, own []byte, limit int) {
	ask, err := reference()
	if err != nil {
		t.Fatal(err)
	}
	right, read, other, err := ask(in)
	if err != nil {
		t.Fatal(err)
	}
	if read < len(in) {
		d := Decoder{MaxWindow: 1 << 20}
		if own, err = d.Decode(nil, in[:read], limit); err != nil {
			t.Fatalf("%v, before where libzstd has the end of the frame", err)
		}
	}
	if !right || !bytes.Equal(own, other) {
		t.Fatalf("%d bytes that libzstd has as %d, right: %v", len(own), len(other), right)
	}
}

// oneFrame reports whether in is a frame without a dictionary, of which nothing
// follows the last block that its checksum does not account for.
func oneFrame(in []byte) bool {
	var h kzstd.Header
	if h.Decode(in) != nil || h.Skippable || h.DictionaryID != 0 {
		return false
	}
	at := h.HeaderSize
	for at+3 <= len(in) {
		header := int(in[at]) | int(in[at+1])<<8 | int(in[at+2])<<16
		if at += 3; header>>1&3 == blockRLE {
			at++
		} else {
			at += header >> 3
		}
		if header&1 != 0 {
			if h.HasCheckSum {
				at += 4
			}
			return at == len(in)
		}
	}
	return false
}

// FuzzRoundTrip compresses what it is given, as messages, and decodes it again.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(`{"op":11}{"op":11}{"op":11,"d":null}`), uint16(9), uint8(0))
	f.Add(bytes.Repeat([]byte("abcdefg"), 99), uint16(1), uint8(1))
	f.Add(bytes.Repeat([]byte{0}, 999), uint16(500), uint8(3))
	_, messages := recorded(f, "level6")
	for i, m := range messages[:20] {
		f.Add(bytes.Repeat(m, 1+i%3), uint16(100*i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16, level uint8) {
		if len(in) > 1<<20 {
			return
		}
		var messages [][]byte
		for step := max(1, int(cut), len(in)/100); len(in) > 0; {
			n := min(step, len(in))
			messages = append(messages, in[:n])
			in = in[n:]
		}
		check(t, compress(t, levels[int(level)%len(levels)], messages), messages)
	})
}
