// This file tests the fields of a frame's header (RFC 8878, 3.1.1.1), each in all its lengths.

package zstd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// content returns the blocks of n bytes, the last marked.
func content(n int) []byte {
	var b []byte
	for ; n > maxBlock; n -= maxBlock {
		b = append(b, block(blockRLE, maxBlock, 'a')...)
	}
	return append(b, last(block(blockRLE, n, 'a'))...)
}

// A size of one byte is itself, one of two bytes is 256 less than the content, the longer ones
// are themselves again. Neither more nor less content may follow.
func TestHeaderSize(t *testing.T) {
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	for _, tt := range []struct {
		descriptor byte
		field      []byte
		size       int
	}{
		{0x20, []byte{1}, 1},
		{0x20, []byte{255}, 255},
		{0x60, []byte{0, 0}, 256},
		{0x60, []byte{1, 0}, 257},
		{0x60, []byte{0, 1}, 512},
		{0x60, []byte{255, 255}, 65791},
		{0x40, []byte{1, 0}, 257},
		{0xa0, []byte{1, 0, 0, 0}, 1},
		{0xa0, []byte{0, 0, 2, 0}, 1 << 17},
		{0x80, []byte{0, 0, 0, 1}, 1 << 24},
		{0xe0, []byte{1, 1, 0, 0, 0, 0, 0, 0}, 257},
		{0xc0, []byte{1, 1, 0, 0, 0, 0, 0, 0}, 257},
	} {
		header := append(bytes.Clone(magic), tt.descriptor)
		if tt.descriptor&0x20 == 0 {
			header = append(header, 0x40) // a window of 256 KiB
		}
		header = append(header, tt.field...)
		for _, n := range []int{tt.size - 1, tt.size, tt.size + 1} {
			var d Decoder
			out, err := d.Decode(nil, slices.Concat(header, content(n)), noLimit)
			if (err == nil) != (n == tt.size) || err == nil && len(out) != n {
				t.Errorf("descriptor %#x, field %v: %d bytes of %d: %v", tt.descriptor, tt.field, len(out), n, err)
			}
		}
		for cut := range header {
			var d Decoder
			if _, err := d.Decode(nil, header[:cut], noLimit); cut > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("descriptor %#x: %d bytes of the header: %v", tt.descriptor, cut, err)
			}
		}
	}
}

// The window is 1 KiB shifted by the exponent, and as many eighths of it more as the mantissa
// says; of a single segment it is the content.
func TestHeaderWindow(t *testing.T) {
	accepts := func(header []byte, most int) error {
		d := Decoder{MaxWindow: most}
		_, err := d.Decode(nil, header, noLimit)
		return err
	}
	for exponent := range 32 {
		for mantissa := range 8 {
			window := (8 + mantissa) << (7 + exponent)
			header := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(exponent<<3 | mantissa)}
			if err := accepts(header, window); err != nil {
				t.Errorf("%d<<3 | %d: %v", exponent, mantissa, err)
			}
			if err := accepts(header, window-1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("a window of %d bytes", window)) {
				t.Errorf("%d<<3 | %d: %v, want a window of %d", exponent, mantissa, err, window)
			}
		}
	}
	header := binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, 1<<20)
	if err := accepts(header, 1<<20); err != nil {
		t.Error(err)
	}
	if err := accepts(header, 1<<20-1); err == nil {
		t.Error("a single segment above the largest window")
	}
	for most, want := range map[int]bool{0: true, 8<<20 - 1: false, -1: false} { // 8 MiB: what RFC 8878 recommends
		if err := accepts([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3}, most); (err == nil) != want {
			t.Errorf("8 MiB with MaxWindow %d: %v", most, err)
		}
	}
}

// A dictionary's id of any length may be zero, which says that there is none.
func TestHeaderDictionary(t *testing.T) {
	for flag, n := range []int{0, 1, 2, 4} {
		for set := -1; set < n; set++ {
			id := make([]byte, n)
			if set >= 0 {
				id[set] = 1
			}
			var d Decoder
			header := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x40 | byte(flag), 0x40}, id...)
			out, err := d.Decode(nil, slices.Concat(header, []byte{1, 0}, content(257)), noLimit)
			if (err == nil) != (set < 0) || err == nil && len(out) != 257 {
				t.Errorf("id %v: %d bytes, %v", id, len(out), err)
			}
		}
	}
}

// With a window that is smaller than a block may be, a block has no more than the window.
func TestHeaderSmallWindow(t *testing.T) {
	for n, want := range map[int]bool{1024: true, 1025: false} { // the smallest window
		var d Decoder
		if _, err := d.Decode(nil, slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0}, block(blockRLE, n, 'a')), noLimit); (err == nil) != want {
			t.Errorf("a block of %d bytes: %v", n, err)
		}
	}
}
