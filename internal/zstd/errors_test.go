// This file tests what is refused, with blocks made by hand.

package zstd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	kzstd "github.com/klauspost/compress/zstd"
)

// discord is the header of Discord's frames: a window of 256 KiB, nothing else.
var discord = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x40}

// single is the header of a frame of so many bytes, up to 255.
func single(size byte) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, size} }

// block returns a block of the kind; for a run, size is its length.
func block(kind, size int, content ...byte) []byte {
	h := kind<<1 | size<<3
	return append([]byte{byte(h), byte(h >> 8), byte(h >> 16)}, content...)
}

func raw(content ...byte) []byte        { return block(blockRaw, len(content), content...) }
func compressed(content ...byte) []byte { return block(blockCompressed, len(content), content...) }

// last marks a block as the frame's last.
func last(block []byte) []byte {
	b := bytes.Clone(block)
	b[0] |= 1
	return b
}

// match returns a block of the literal 'x' and a match of 3 bytes with what is
// written for its offset.
func match(offset uint32) []byte {
	return compressed(append([]byte{1 << 3, 'x', 1, 0x54, 1}, matchEnd(offset)...)...)
}

// repeat is match without a literal, so that there are other rules for what is
// written for the offset.
func repeat(offset uint32) []byte {
	return compressed(append([]byte{0, 1, 0x54, 0}, matchEnd(offset)...)...)
}

// matchEnd returns the codes of the offset and of a match of 3 bytes, as tables
// of one symbol, and the bitstream.
func matchEnd(offset uint32) []byte {
	code := 0
	for offset>>(code+1) != 0 {
		code++
	}
	end := []byte{byte(code), 0}
	// The highest bit of the offset is where the mark of the end goes.
	for v := offset; v > 0; v >>= 8 {
		end = append(end, byte(v))
	}
	return end
}

// A damaged zstd stream ends with an error that names the fault, and nothing past it is read.
func TestErrors(t *testing.T) {
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	hello := join(discord, raw('h', 'e', 'l', 'l', 'o'))
	half := block(blockRLE, 1<<17, 'a') // half of it
	const any = "any"
	tests := []struct {
		name     string
		messages [][]byte
		want     string // of the error; "" for none
		text     string // decoded before it, unless it is any
	}{
		{"nothing", [][]byte{{}, {}}, "", ""},
		{"header alone", [][]byte{discord, raw('a')}, "", "a"},
		{"raw", [][]byte{hello, raw(), raw('!')}, "", "hello!"},
		{"run", [][]byte{join(discord, block(blockRLE, 3, 'a'), block(blockRLE, 2, 0))}, "", "aaa\x00\x00"},
		{"match", [][]byte{hello, match(2 + 3)}, "", "helloxoxo"},
		{"match across messages", [][]byte{hello, raw('1'), raw('2'), match(7 + 3)}, "", "hello12xell"},
		{"match of all", [][]byte{hello, match(6 + 3)}, "", "helloxhel"},
		{"recent offsets", [][]byte{hello, match(2 + 3), repeat(1), match(1)}, "", "helloxoxooooxxxx"},
		{"raw literals", [][]byte{join(discord, compressed(2<<3, 'h', 'i', 0))}, "", "hi"},
		{"run of literals", [][]byte{join(discord, compressed(1|4<<3, 'h', 0))}, "", "hhhh"},
		{"last block", [][]byte{join(discord, last(raw('a'))), nil}, "", "a"},
		{"content size", [][]byte{join(single(5), raw('a'), last(raw('b', 'c', 'd', 'e')))}, "", "abcde"},
		{"checksum", [][]byte{join([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x24, 1}, last(raw('a')), []byte("sum?"))}, "", "a"},
		{"no dictionary", [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0x03, 0x40, 0, 0, 0, 0}, raw('a')}, "", "a"},

		{"short magic", [][]byte{discord[:3]}, "frame header: unexpected EOF", ""},
		{"short header", [][]byte{discord[:5]}, "frame header: unexpected EOF", ""},
		{"magic", [][]byte{[]byte(`{"op":10}`)}, "magic number", ""},
		{"skippable frame", [][]byte{{0x53, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}}, "a skippable frame", ""},
		{"reserved bit", [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0x08, 0x40}}, "reserved bit", ""},
		{"dictionary", [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x40, 7}}, "dictionary", ""},
		{"window", [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0x00, 13<<3 | 1}}, "a window of 9437184 bytes", ""},
		{"large window", [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff}}, "a window of", ""},
		{"huge content", [][]byte{{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 255, 255, 255, 255, 255, 255, 255, 255}}, "a window of", ""},

		{"short block header", [][]byte{hello, {0, 0}}, "block header: unexpected EOF", "hello"},
		{"short block", [][]byte{hello, raw('a', 'b')[:4]}, "block: unexpected EOF", "hello"},
		{"short run", [][]byte{hello, block(blockRLE, 5)}, "block: unexpected EOF", "hello"},
		{"short checksum", [][]byte{join([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x24, 1}, last(raw('a')), []byte("sum"))}, "checksum: unexpected EOF", ""},
		{"reserved block", [][]byte{hello, block(blockReserved, 0)}, "reserved kind", "hello"},
		{"large block", [][]byte{hello, block(blockRLE, 1<<17+1, 'a')}, "a block of 131073 bytes", "hello"},
		{"small window", [][]byte{join(single(1), block(blockRLE, 2, 'a'))}, "a block of 2 bytes", ""},
		{"a frame for each message", [][]byte{join(discord, last(raw('a'))), join(discord, last(raw('b'))), join(single(1), last(raw('c')))}, "", "abc"},
		{"frames in one message", [][]byte{join(discord, last(raw('a')), discord, last(raw('b')), discord), raw('c'), match(2 + 3)}, "", "abcxcxc"},
		{"a frame with a checksum behind another", [][]byte{join(single(1), last(raw('a')), []byte{0x28, 0xb5, 0x2f, 0xfd, 0x24, 1}, last(raw('b')), []byte("sum?"))}, "", "ab"},
		{"match into the frame before", [][]byte{join(discord, last(raw('a', 'b', 'c', 'd')), discord, match(2+3))}, "an offset beyond", ""},
		{"match into the message before, of another frame", [][]byte{join(discord, last(raw('a', 'b', 'c', 'd'))), join(discord, match(2+3))}, "an offset beyond", "abcd"},
		{"tables of the frame before", [][]byte{join(discord, last(raw('a'))), join(discord, compressed(3|1<<4, 1<<6, 0, 1, 0))}, "used again before", "a"},
		{"content size of the second frame", [][]byte{join(single(1), last(raw('a')), single(2), last(raw('b')))}, "less content", ""},
		{"behind the end", [][]byte{join(discord, last(raw('a'))), raw('b')}, "frame header: ", "a"},
		{"behind the end at once", [][]byte{join(discord, last(raw('a')), raw())}, "frame header: ", ""},
		{"less content", [][]byte{join(single(5), last(raw('a')))}, "less content", ""},
		{"more content", [][]byte{join(single(2), raw('a', 'b'), raw('c'))}, "more content", ""},

		{"empty block", [][]byte{hello, compressed()}, "literals: the block is too short", "hello"},
		{"no sequences", [][]byte{hello, compressed(0)}, "sequences: the block is too short", "hello"},
		{"short literals", [][]byte{hello, compressed(2<<3, 'a')}, "literals: the block is too short", "hello"},
		{"literals without a table", [][]byte{hello, compressed(3|1<<4, 1<<6, 0, 1, 0)}, "used again before", "hello"},
		{"many literals", [][]byte{hello, compressed(1|3<<2|0xf0, 0xff, 0xff, 'a', 0)}, "a block decodes to more", "hello"},
		{"behind no sequences", [][]byte{hello, compressed(0, 0, 0)}, "data behind their end", "hello"},
		{"reserved mode", [][]byte{hello, compressed(0, 1, 0x55, 0, 0, 0, 1)}, "a reserved bit", "hello"},
		{"tables before there are any", [][]byte{hello, compressed(0, 1, 0xfc, 1)}, "used again before", "hello"},
		{"unknown code", [][]byte{hello, compressed(0, 1, 0x54, 36, 0, 0, 1)}, "a corrupt table", "hello"},
		{"no end", [][]byte{hello, compressed(0, 1, 0x54, 0, 0, 0, 0)}, "without an end", "hello"},
		{"left over", [][]byte{hello, compressed(1<<3, 'x', 1, 0x54, 1, 0, 0, 2)}, "too long", "hello"},
		{"overread", [][]byte{hello, compressed(1<<3, 'x', 1, 0x54, 1, 5, 0, 2)}, "too short", "hello"},
		{"more literals than there are", [][]byte{hello, compressed(1<<3, 'x', 1, 0x54, 2, 0, 0, 1)}, "more literals", "hello"},
		{"offset", [][]byte{hello, match(7 + 3)}, "an offset beyond", "hello"},
		{"offset 0", [][]byte{hello, repeat(3)}, "an offset beyond", "hello"},
		{"first recent offset", [][]byte{join(discord, repeat(1))}, "an offset beyond", ""},
		{"offset of 31 bits", [][]byte{hello, match(1<<32 - 1)}, "an offset beyond", "hello"},
		{"offset of the window", [][]byte{join(discord, half, raw('b')), join(half, raw('b', 'b')), match(1<<18 + 3)}, "", any},
		{"offset beyond the window", [][]byte{join(discord, half, raw('b')), join(half, raw('b', 'b')), match(1<<18 + 4)}, "an offset beyond", any},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			var text []byte
			var err error
			for _, msg := range c.messages {
				if text, err = d.Decode(text, msg, noLimit); err != nil {
					break
				}
			}
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("error %v, want %q", err, c.want)
			case strings.Contains(c.want, "unexpected EOF") && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Fatalf("%v does not wrap io.ErrUnexpectedEOF", err)
			case c.text != any && string(text) != c.text:
				t.Fatalf("%q, want %q", text, c.text)
			}
			if err != nil {
				again := len(text)
				if text, e := d.Decode(text, raw('a'), noLimit); e != err || len(text) != again {
					t.Errorf("%v after %v", e, err)
				}
			}
		})
	}
}

// What is cut off is never taken for whole.
func TestTruncated(t *testing.T) {
	stream, messages := recorded(t, "level6")
	for cut := 1; cut < len(stream[0]); cut++ {
		var d Decoder
		_, err := d.Decode(nil, stream[0][:cut], noLimit)
		if header := cut == len(discord); (err == nil) != header {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for cut := range stream[1] {
		var d Decoder
		if _, err := d.Decode(nil, stream[0], noLimit); err != nil {
			t.Fatal(err)
		}
		out, err := d.Decode(nil, stream[1][:cut], noLimit)
		if cut == 0 {
			if err != nil || len(out) != 0 {
				t.Fatalf("%q, %v for nothing", out, err)
			}
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d for %d bytes: %v", cut, len(stream[1]), len(messages[1]), err)
		}
	}
}

// Not more memory is spent than the limit is for.
func TestLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	messages := [][]byte{guild(r, 1<<10), guild(r, 500<<10), random(r, 300<<10), bytes.Repeat([]byte("a"), 32<<20)}
	for i, m := range messages {
		stream := compress(t, kzstd.SpeedDefault, [][]byte{[]byte("hello"), m})
		for _, limit := range []int{0, 1, len(m) / 2, len(m) - 1, len(m)} {
			var d Decoder
			dst, err := d.Decode(nil, stream[0], 5)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := d.Decode(dst, stream[1], limit)
			runtime.ReadMemStats(&after)
			if limit == len(m) {
				if err != nil || !bytes.Equal(out[5:], m) {
					t.Errorf("message %d: %v at its size", i, err)
				}
				continue
			}
			if !errors.Is(err, ErrTooBig) || string(out) != "hello" {
				t.Errorf("message %d, limit %d of %d: %v, %d bytes", i, limit, len(m), err, len(out))
			}
			// Growing to twice as much each time, what there was in between makes
			// up as much again.
			if spent, most := int(after.TotalAlloc-before.TotalAlloc), 3*limit+4*maxBlock; spent > most {
				t.Errorf("message %d, limit %d of %d: %d bytes spent", i, limit, len(m), spent)
			}
		}
	}
}

// Whatever is changed in a stream, nothing panics, and no more comes out than
// the limit.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, name := range referenceStreams {
		stream, _ := recorded(t, name)
		stream = stream[:12]
		for range 2000 {
			var d Decoder
			i, n := r.IntN(len(stream)), 1+r.IntN(3)
			for j, msg := range stream {
				if i == j {
					msg = bytes.Clone(msg)
					for range n {
						msg[r.IntN(len(msg))] = byte(r.Uint32())
					}
				}
				out, err := d.Decode(nil, msg, 1<<16)
				if len(out) > 1<<16 {
					t.Fatalf("%d bytes", len(out))
				}
				if err != nil {
					break
				}
			}
		}
	}
}
