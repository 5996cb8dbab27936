// This file tests the inflaters.

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// zstdBlock is the most that one block inflates to (RFC 8878, 3.1.1.2.4).
const zstdBlock = 128 << 10

var compressions = []Compression{CompressionZstd, CompressionZlib, CompressionPayload}

// like returns n bytes of JSON's kind, up to 32 MiB, not to be changed.
func like(n int) []byte { return likeText()[:n:n] }

var likeText = sync.OnceValue(func() []byte {
	const most = 32 << 20
	b := make([]byte, 0, most+100)
	for i := 0; len(b) < most; i++ {
		b = fmt.Appendf(b, `{"id":"%d","name":"member %d","roles":[]},`, 200000000000000000+i*7919, i%97)
	}
	return b
})

// noise returns n bytes that cannot be compressed.
func noise(n int) []byte {
	var seed [32]byte
	b := make([]byte, n)
	rand.NewChaCha8(seed).Read(b)
	return b
}

func TestInflate(t *testing.T) {
	var messages [][]byte
	for _, name := range payloads {
		messages = append(messages, payload(t, name))
	}
	for _, n := range []int{1, 2, 100, zstdBlock - 1, zstdBlock, zstdBlock + 1, 3*zstdBlock + 17, 8 << 20} {
		messages = append(messages, like(n), []byte(`{"t":null,"s":null,"op":11,"d":null}`))
	}
	for _, n := range []int{10, 5000, zstdBlock, 300_000} {
		messages = append(messages, noise(n), payload(t, "message_create"))
	}
	messages = append(messages, bytes.Repeat([]byte{0}, 1<<20), bytes.Repeat([]byte{0, 0, 0xff, 0xff}, 1000))
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			s, inf := newCompressor(t, c), newInflater(t, c, 0)
			var out []byte
			for i, msg := range messages {
				var complete bool
				var err error
				out, complete, err = inf.Inflate(out[:0], s.message(t, msg))
				if err != nil || !complete || !bytes.Equal(out, msg) {
					t.Fatalf("message %d of %d bytes: %d bytes, complete %v, %v", i, len(msg), len(out), complete, err)
				}
			}
		})
	}
}

func TestInflateTinyMessages(t *testing.T) {
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			s, inf := newCompressor(t, c), newInflater(t, c, 0)
			var out, msg []byte
			for i := range 100_000 {
				if c == CompressionPayload && i == 5_000 {
					break // every message of its own: nothing builds up
				}
				msg = fmt.Appendf(msg[:0], `{"op":11,"s":%d}`, i)
				var complete bool
				var err error
				out, complete, err = inf.Inflate(out[:0], s.message(t, msg))
				if err != nil || !complete || !bytes.Equal(out, msg) {
					t.Fatalf("message %d: %q, complete %v, %v", i, out, complete, err)
				}
			}
		})
	}
}

// zstdFrame is the header of a frame as Discord's first message begins: no size,
// no checksum, a window of 256 KiB.
const zstdFrame = "\x28\xb5\x2f\xfd\x00\x40"

// zstdRaw is a raw block.
func zstdRaw(s string) string {
	h := len(s) << 3
	return string([]byte{byte(h), byte(h >> 8), byte(h >> 16)}) + s
}

// zstdRun is a block of n times the same byte.
func zstdRun(n int, c byte) string {
	h := n<<3 | 1<<1
	return string([]byte{byte(h), byte(h >> 8), byte(h >> 16), c})
}

// Blocks that no usual encoder makes, and that the format allows.
func TestInflateZstdBlocks(t *testing.T) {
	empty := zstdRaw("")
	for _, c := range []struct{ name, packed, want string }{
		{"raw", zstdFrame + zstdRaw("hello"), "hello"},
		{"second message", zstdRaw("hello"), "hello"},
		{"many blocks", zstdRaw("a") + zstdRun(500, 'b') + zstdRaw("c"), "a" + strings.Repeat("b", 500) + "c"},
		{"greatest run", zstdRun(zstdBlock, 'x'), strings.Repeat("x", zstdBlock)},
		{"empty raw block at the end", zstdRaw("hello") + empty, "hello"},
		{"empty one behind a run", zstdRun(500, 'x') + empty, strings.Repeat("x", 500)},
		{"several empty ones", zstdRaw("hello") + empty + empty, "hello"},
		{"empty one in the middle", zstdRaw("hello") + empty + zstdRaw("!"), "hello!"},
		{"empty one at the start", empty + zstdRaw("hello"), "hello"},
		{"empty one alone", empty, ""},
		{"empty message", "", ""},
		{"block that ends in zeros", zstdRaw("a\x00\x00\x00"), "a\x00\x00\x00"},
		{"run of zeros", zstdRun(0x20, 0), strings.Repeat("\x00", 0x20)},
		{"zeros and an empty one", zstdRaw("\x00\x00\x00") + empty, "\x00\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inf := newInflater(t, CompressionZstd, 0)
			first := zstdFrame + zstdRaw("first")
			if strings.HasPrefix(c.packed, zstdFrame) {
				first = ""
			}
			for _, m := range [][2]string{{first, "first"}, {c.packed, c.want}, {zstdRaw("after"), "after"}} {
				if m[0] == "" && m[1] != "" {
					continue
				}
				out, complete, err := inf.Inflate(nil, []byte(m[0]))
				if err != nil || complete != (m[1] != "") || string(out) != m[1] {
					t.Fatalf("%q: %.40q, complete %v, %v; want %.40q", m[0], out, complete, err, m[1])
				}
			}
		})
	}
	for _, c := range []struct{ name, packed, want string }{
		{"first message ends in an empty raw block", zstdFrame + zstdRaw("hello") + empty, "hello"},
		{"first message is empty", "", ""},
		{"first message is the header alone", zstdFrame, ""},
		{"first message holds nothing", zstdFrame + zstdRun(0, 'x'), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inf := newInflater(t, CompressionZstd, 0)
			out, complete, err := inf.Inflate(nil, []byte(c.packed))
			if err != nil || complete != (c.want != "") || string(out) != c.want {
				t.Fatalf("%q, complete %v, %v", out, complete, err)
			}
			next := zstdRaw("next") + empty
			if c.packed == "" {
				next = zstdFrame + next
			}
			if out, _, err = inf.Inflate(nil, []byte(next)); err != nil || string(out) != "next" {
				t.Fatalf("%q, %v", out, err)
			}
		})
	}
}

// A broken stream is told, and stays broken.
func TestInflateBroken(t *testing.T) {
	msg := payload(t, "guild_create")
	cut := func(c Compression) string {
		b := newCompressor(t, c).message(t, msg)
		return string(b[:len(b)/2])
	}
	zlibStream := string(newCompressor(t, CompressionZlib).message(t, msg))
	zlibWhole := string(newCompressor(t, CompressionPayload).message(t, msg))
	for _, c := range []struct {
		name   string
		c      Compression
		packed string
		is     error
	}{
		{"cut", CompressionZstd, cut(CompressionZstd), io.ErrUnexpectedEOF},
		{"cut raw block", CompressionZstd, zstdFrame + zstdRaw("hello")[:6], io.ErrUnexpectedEOF},
		{"cut header", CompressionZstd, zstdFrame[:5], io.ErrUnexpectedEOF},
		{"plain text", CompressionZstd, `{"op":10}`, nil},
		{"reserved block", CompressionZstd, zstdFrame + "\x06\x00\x00", nil},
		{"window of 16 MiB", CompressionZstd, zstdFrame[:5] + "\x70" + zstdRaw("hello"), nil},
		{"plain text", CompressionZlib, `{"op":10}`, nil},
		{"bad block", CompressionZlib, "\x78\x9c\x07\x00\x00\xff\xff", nil},
		{"stream that ends", CompressionZlib, zlibWhole + string(syncMarker), io.ErrUnexpectedEOF},
		{"cut", CompressionPayload, cut(CompressionPayload), io.ErrUnexpectedEOF},
		{"plain text", CompressionPayload, `{"op":10}`, nil},
		{"empty", CompressionPayload, "", nil},
		{"stream that does not end", CompressionPayload, zlibStream, io.ErrUnexpectedEOF},
		{"wrong checksum", CompressionPayload, zlibWhole[:len(zlibWhole)-1] + "\x00", nil},
	} {
		t.Run(c.c.String()+" "+c.name, func(t *testing.T) {
			inf := newInflater(t, c.c, 0)
			_, complete, err := inf.Inflate(nil, []byte(c.packed))
			if err == nil || complete || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("complete %v, error %v; want %v", complete, err, c.is)
			}
			if !strings.HasPrefix(err.Error(), "wire: inflate ") || !strings.HasSuffix(err.Error(), fmt.Sprintf("(compression = %q)", c.c)) {
				t.Errorf("error %q", err)
			}
			good := newCompressor(t, c.c).message(t, msg)
			if _, _, again := inf.Inflate(nil, good); again != err {
				t.Errorf("after %v: %v", err, again)
			}
		})
	}
}

// A zlib message that is cut is not told from one that goes on in the next
// WebSocket message.
func TestInflateZlibPieces(t *testing.T) {
	s := newCompressor(t, CompressionZlib)
	msgs := [][]byte{payload(t, "guild_create"), payload(t, "message_create")}
	first, second := s.message(t, msgs[0]), s.message(t, msgs[1])
	for at := range len(first) { // through the marker too
		inf := newInflater(t, CompressionZlib, 0)
		out, complete, err := inf.Inflate([]byte("x"), first[:at])
		if err != nil || complete || string(out) != "x" || inf.Pending() != at {
			t.Fatalf("first %d bytes: %d bytes, complete %v, %v, %d pending", at, len(out), complete, err, inf.Pending())
		}
		out, complete, err = inf.Inflate(out, first[at:])
		if err != nil || !complete || string(out) != "x"+string(msgs[0]) {
			t.Fatalf("cut at %d: %d bytes, complete %v, %v", at, len(out), complete, err)
		}
		out, complete, err = inf.Inflate(out[:0], second)
		if err != nil || !complete || !bytes.Equal(out, msgs[1]) {
			t.Fatalf("after a cut at %d: complete %v, %v", at, complete, err)
		}
		inf.Close()
	}
	// By the byte.
	inf := newInflater(t, CompressionZlib, 0)
	var out []byte
	for i := range first {
		var complete bool
		var err error
		out, complete, err = inf.Inflate(out, first[i:i+1])
		if err != nil || complete != (i == len(first)-1) {
			t.Fatalf("byte %d of %d: complete %v, %v", i, len(first), complete, err)
		}
	}
	if !bytes.Equal(out, msgs[0]) {
		t.Errorf("%d bytes, want %d", len(out), len(msgs[0]))
	}
}

// The marker within a message does not end it, but where the WebSocket message
// ends with it.
func TestInflateZlibMarker(t *testing.T) {
	stored := func(s string) string { // a stored block
		n := len(s)
		return string([]byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}) + s
	}
	packed := "\x78\x9c" + stored("a\x00\x00\xff\xffb") + stored("") + stored("c") + stored("")
	inf := newInflater(t, CompressionZlib, 0)
	out, complete, err := inf.Inflate(nil, []byte(packed))
	if err != nil || !complete || string(out) != "a\x00\x00\xff\xffbc" {
		t.Fatalf("%q, complete %v, %v", out, complete, err)
	}
	if out, complete, err = inf.Inflate(nil, nil); err != nil || complete || len(out) != 0 {
		t.Fatalf("an empty message: %q, complete %v, %v", out, complete, err)
	}
	// The marker may be cut in two.
	out, complete, err = inf.Inflate(nil, []byte(stored("next")+stored("")[:3]))
	if err != nil || complete {
		t.Fatalf("%q, complete %v, %v", out, complete, err)
	}
	out, complete, err = inf.Inflate(out, []byte("\xff\xff"))
	if err != nil || !complete || string(out) != "next" {
		t.Fatalf("%q, complete %v, %v", out, complete, err)
	}
}

// A message above the limit ends before it is in memory, with every compression.
func TestInflateLimit(t *testing.T) {
	const limit = 300_000
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			s, inf := newCompressor(t, c), newInflater(t, c, limit)
			for range 3 { // the bound is for a message, not the stream
				if out, _, err := inf.Inflate(make([]byte, 1000), s.message(t, like(limit))); err != nil || len(out) != 1000+limit {
					t.Fatalf("a message at the limit: %d bytes, %v", len(out), err)
				}
			}
			out, complete, err := inf.Inflate(nil, s.message(t, like(limit+1)))
			if !errors.Is(err, ErrTooBig) || complete || len(out) > limit+zstdBlock {
				t.Fatalf("a byte more: %d bytes, complete %v, %v", len(out), complete, err)
			}
			if _, _, again := inf.Inflate(nil, s.message(t, like(1))); !errors.Is(again, ErrTooBig) {
				t.Errorf("then: %v", again)
			}

			s, inf = newCompressor(t, c), newInflater(t, c, limit)
			bomb := s.message(t, make([]byte, 64<<20))
			out, _, err = inf.Inflate(nil, bomb)
			if !errors.Is(err, ErrTooBig) || len(out) > limit+zstdBlock {
				t.Errorf("%d bytes that inflate to 64 MiB: %d bytes, %v", len(bomb), len(out), err)
			}
		})
	}
	// In pieces, of which none is above the limit.
	s, inf := newCompressor(t, CompressionZlib), newInflater(t, CompressionZlib, limit)
	packed := s.message(t, noise(limit+1))
	half := len(packed) / 2
	out, _, err := inf.Inflate(nil, packed[:half])
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = inf.Inflate(out, packed[half:]); !errors.Is(err, ErrTooBig) {
		t.Errorf("in pieces: %v", err)
	}
}

// Nothing is left of an inflater, wherever it was closed.
func TestInflaterClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, c := range compressions {
		msg := newCompressor(t, c).message(t, payload(t, "hello"))
		for _, feed := range [][]byte{nil, msg, msg[:len(msg)-2], []byte("garbage")} {
			for range 100 {
				inf, err := NewInflater(c, 0, Bounds{})
				if err != nil {
					t.Fatal(err)
				}
				if feed != nil {
					inf.Inflate(nil, feed)
				}
				inf.Close()
				inf.Close()
			}
		}
	}
	// A coroutine's end is done when stop returns: no waiting.
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

func TestCompressionNames(t *testing.T) {
	for _, c := range append([]Compression{CompressionNone}, compressions...) {
		if got, ok := ParseCompression(c.String()); !ok || got != c {
			t.Errorf("ParseCompression(%q) = %v, %v", c.String(), got, ok)
		}
	}
	if c, ok := ParseCompression("gzip"); ok {
		t.Errorf("gzip is %v", c)
	}
	if got := Compression(9).String(); got != "compression 9" {
		t.Errorf("String = %q", got)
	}
	for _, c := range []Compression{CompressionNone, 9} {
		if inf, err := NewInflater(c, 0, Bounds{}); err == nil || inf != nil {
			t.Errorf("NewInflater(%v) = %v, %v", c, inf, err)
		}
	}
}
