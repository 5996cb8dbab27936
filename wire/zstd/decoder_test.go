// This file tests the decoder against klauspost's.

package zstd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	reference "github.com/klauspost/compress/zstd"
)

// encode compresses messages as Discord does, each flushed.
func encode(tb testing.TB, level reference.EncoderLevel, messages [][]byte) (stream [][]byte) {
	tb.Helper()
	var out bytes.Buffer
	enc, err := reference.NewWriter(&out, reference.WithWindowSize(1<<18), reference.WithEncoderCRC(false),
		reference.WithEncoderConcurrency(1), reference.WithEncoderLevel(level))
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range messages {
		out.Reset()
		if _, err := enc.Write(m); err != nil {
			tb.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			tb.Fatal(err)
		}
		stream = append(stream, bytes.Clone(out.Bytes()))
	}
	return stream
}

// text returns n bytes like those of a payload.
func text(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+400)
	for len(b) < n {
		b = fmt.Appendf(b, `{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"id":"%d","channel_id":"%d","content":"%s","author":{"id":"%d","avatar":"%x","bot":false},"mentions":[],"tts":false}}`,
			r.IntN(1e6), r.Uint64(), 100+r.IntN(9), strings.Repeat("ab c", r.IntN(20)), r.IntN(50), r.Uint64())
	}
	return b[:n]
}

// kinds of messages, by the name of what they try.
func messages(name string) (all [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	switch name {
	case "payloads":
		for range 2000 {
			all = append(all, text(r, 300+r.IntN(1500)))
		}
	case "noise":
		for range 100 {
			m := make([]byte, r.IntN(5000))
			for i := range m {
				m[i] = byte(r.Uint32())
			}
			all = append(all, m)
		}
	case "runs":
		for range 300 {
			all = append(all, bytes.Repeat([]byte{byte(r.IntN(3))}, r.IntN(3000)))
		}
	case "tiny and empty":
		for i := range 1000 {
			all = append(all, text(r, i%3))
		}
	case "large":
		for _, n := range []int{128<<10 - 1, 128 << 10, 128<<10 + 1, 256 << 10, 256<<10 + 1, 3 << 20, 10, 700 << 10, 1} {
			all = append(all, text(r, n))
		}
	case "mixed":
		for range 300 {
			switch r.IntN(4) {
			case 0:
				all = append(all, bytes.Repeat(text(r, 1+r.IntN(40)), 1+r.IntN(3000)))
			case 1:
				m := make([]byte, r.IntN(2000))
				for i := range m {
					m[i] = byte(r.IntN(4))
				}
				all = append(all, m)
			default:
				all = append(all, text(r, r.IntN(20_000)))
			}
		}
	}
	return all
}

var messageKinds = []string{"payloads", "noise", "runs", "tiny and empty", "large", "mixed"}

func TestDecode(t *testing.T) {
	for _, level := range []reference.EncoderLevel{reference.SpeedFastest, reference.SpeedDefault, reference.SpeedBetterCompression, reference.SpeedBestCompression} {
		for _, kind := range messageKinds {
			t.Run(fmt.Sprintf("%v/%s", level, kind), func(t *testing.T) {
				want := messages(kind)
				check(t, encode(t, level, want), want)
			})
		}
	}
}

// check decodes a stream.
func check(t *testing.T, stream, want [][]byte) {
	t.Helper()
	var d Decoder
	prefix := []byte("before")
	for i, msg := range stream {
		got, err := d.Decode(prefix, msg, 64<<20)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !bytes.HasPrefix(got, prefix) || !bytes.Equal(got[len(prefix):], want[i]) {
			t.Fatalf("message %d of %d bytes differs", i, len(want[i]))
		}
	}
}

// The fixtures were made by the reference implementation: see testdata/make.py.
func TestFixtures(t *testing.T) {
	names, err := filepath.Glob("testdata/*.zst")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			stream := split(data)
			dec, err := reference.NewReader(bytes.NewReader(bytes.Join(stream, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer dec.Close()
			var d Decoder
			var got []byte
			for i, msg := range stream {
				if got, err = d.Decode(got, msg, 64<<20); err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			want := make([]byte, len(got))
			if _, err := io.ReadFull(dec, want); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) || len(got) < 100_000 {
				t.Errorf("%d bytes differ", len(got))
			}
		})
	}
}

// split cuts a fixture into its messages: each is behind its length, in four bytes.
func split(data []byte) (stream [][]byte) {
	for len(data) >= 4 {
		n := int(data[0]) | int(data[1])<<8 | int(data[2])<<16 | int(data[3])<<24
		stream = append(stream, data[4:4+n])
		data = data[4+n:]
	}
	return stream
}

func TestLimit(t *testing.T) {
	for _, m := range [][]byte{text(rand.New(rand.NewPCG(1, 2)), 5000), bytes.Repeat([]byte("x"), 5000), messages("noise")[3]} {
		stream := encode(t, reference.SpeedDefault, [][]byte{m})
		var d Decoder
		if _, err := d.Decode(nil, stream[0], len(m)-1); !errors.Is(err, ErrTooBig) {
			t.Errorf("%d bytes with %d allowed: %v", len(m), len(m)-1, err)
		}
		if _, err := d.Decode(nil, stream[0], 1<<20); !errors.Is(err, ErrTooBig) {
			t.Errorf("an error is not final: %v", err)
		}
		d = Decoder{}
		if _, err := d.Decode(nil, stream[0], len(m)); err != nil {
			t.Errorf("%d bytes with as many allowed: %v", len(m), err)
		}
	}
}

func TestErrors(t *testing.T) {
	whole := encode(t, reference.SpeedDefault, [][]byte{text(rand.New(rand.NewPCG(1, 2)), 5000)})[0]
	with := func(at int, b byte) []byte {
		c := bytes.Clone(whole)
		c[at] = b
		return c
	}
	for name, tt := range map[string]struct {
		msg  []byte
		want error
	}{
		"no Zstandard":     {[]byte(`{"t":"READY"}`), errCorrupt},
		"short header":     {whole[:4], io.ErrUnexpectedEOF},
		"cut in a block":   {whole[:len(whole)/2], io.ErrUnexpectedEOF},
		"cut in a header":  {whole[:7], io.ErrUnexpectedEOF},
		"reserved bit":     {with(4, whole[4]|8), errCorrupt},
		"dictionary":       {append([]byte{0x28, 0xb5, 0x2f, 0xfd, 1, 0x40, 7}, whole[6:]...), errCorrupt},
		"window too large": {with(5, 0xff), errCorrupt},
		"reserved type":    {append(bytes.Clone(whole[:6]), 0x0e, 0, 0, 0), errCorrupt},
		"behind the end":   {append(bytes.Clone(whole[:6]), 0x01, 0, 0, 0), errCorrupt},
	} {
		if _, err := new(Decoder).Decode(nil, tt.msg, 1<<20); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A header alone, and blocks that hold nothing, are messages like others.
	var d Decoder
	for _, msg := range [][]byte{whole[:6], {0, 0, 0}, {2, 0, 0, 'x'}, whole[6:]} {
		if _, err := d.Decode(nil, msg, 1<<20); err != nil {
			t.Errorf("% x: %v", msg[:min(len(msg), 4)], err)
		}
	}
	// A last block, with a checksum.
	sum := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 4, 0x40}, 0x09, 0, 0, 'x', 1, 2, 3, 4)
	if got, err := new(Decoder).Decode(nil, sum, 10); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// Idle decoders are small: what they hold is what was decoded, and then the window.
func TestWindowGrowsAsNeeded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	want := [][]byte{text(r, 3000), text(r, 300<<10), text(r, 100)}
	stream := encode(t, reference.SpeedDefault, want)
	var d Decoder
	for i, most := range []int{4 << 10, 256 << 10, 256 << 10} {
		if _, err := d.Decode(nil, stream[i], 1<<20); err != nil {
			t.Fatal(err)
		}
		if cap(d.window) > most {
			t.Errorf("%d bytes are held after message %d", cap(d.window), i)
		}
	}
}

// FuzzDecode feeds garbage, and holds what is taken for a stream against
// klauspost's decoder.
func FuzzDecode(f *testing.F) {
	for _, kind := range messageKinds {
		for i, msg := range encode(f, reference.SpeedDefault, messages(kind)[:3]) {
			if i == 0 && len(msg) < 4000 {
				f.Add(msg, 3)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		const limit = 1 << 20
		var d Decoder
		got, err := d.Decode(nil, b, limit)
		if len(got) > limit {
			t.Fatalf("%d bytes", len(got))
		}
		if err != nil || !d.begun {
			return
		}
		// klauspost's wants a last block, and is not told of a limit.
		whole := b
		if !d.ended {
			whole = append(bytes.Clone(b), 1, 0, 0)
			if d.checksum {
				return // whose sum would have to follow
			}
		}
		dec, derr := reference.NewReader(bytes.NewReader(whole), reference.WithDecoderConcurrency(1), reference.IgnoreChecksum(true))
		if derr != nil {
			t.Fatal(derr)
		}
		defer dec.Close()
		want, rerr := io.ReadAll(dec)
		if rerr == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, want %d", len(got), len(want))
		}
	})
}

// FuzzRoundTrip compresses what it is given, cut into messages.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("some text, some more text"), uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, piece, level uint8) {
		var want [][]byte
		for rest := b; len(rest) > 0 && len(want) < 200; {
			n := min(len(rest), 1+int(piece)*7)
			want = append(want, rest[:n], rest[:n/2])
			rest = rest[n:]
		}
		check(t, encode(t, reference.EncoderLevel(1+level%4), want), want)
	})
}
