// This file tests WebSocket frames.

package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// Input that a FrameReader with a bound of 4096 bytes refuses.
var frameErrorTests = []struct {
	name string
	in   []byte
	code CloseCode
}{
	{"masked", AppendFrame(nil, ws.OpText, []byte("x"), [4]byte{1, 2, 3, 4}), CloseProtocolError},
	{"RSV1", []byte{0xc1, 0}, CloseProtocolError},
	{"RSV2", []byte{0xa1, 0}, CloseProtocolError},
	{"RSV3", []byte{0x91, 0}, CloseProtocolError},
	{"reserved opcode 3", []byte{0x83, 0}, CloseProtocolError},
	{"reserved opcode 7", []byte{0x87, 0}, CloseProtocolError},
	{"reserved control opcode 11", []byte{0x8b, 0}, CloseProtocolError},
	{"reserved control opcode 15", []byte{0x8f, 0}, CloseProtocolError},
	{"ping of 126 bytes", []byte{0x89, 126, 0, 126}, CloseProtocolError},
	{"close of 64 KiB", []byte{0x88, 127, 0, 0, 0, 0, 0, 1, 0, 0}, CloseProtocolError},
	{"fragmented ping", []byte{0x09, 0}, CloseProtocolError},
	{"fragmented close", []byte{0x08, 0}, CloseProtocolError},
	{"continuation of nothing", []byte{0x80, 0}, CloseProtocolError},
	{"continuation of nothing, to go on", []byte{0x00, 1, 'x'}, CloseProtocolError},
	{"text within a message", []byte{0x01, 1, 'x', 0x81, 1, 'y'}, CloseProtocolError},
	{"binary within a message", []byte{0x01, 1, 'x', 0x02, 1, 'y'}, CloseProtocolError},
	{"top bit of the length", []byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, CloseProtocolError},
	{"top bit of a ping's length", []byte{0x89, 127, 0x80, 0, 0, 0, 0, 0, 0, 1}, CloseProtocolError},
	{"greatest length", []byte{0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, CloseTooBig},
	{"one byte above the bound", []byte{0x82, 126, 0x10, 0x01}, CloseTooBig},
	{"fragments above the bound", append(serverFrame(nil, false, ws.OpText, make([]byte, 4000)), 0x80, 97), CloseTooBig},
	{"fragments above the bound, to go on", append(serverFrame(nil, false, ws.OpText, make([]byte, 4096)), 0x00, 1), CloseTooBig},
}

func TestFrameErrors(t *testing.T) {
	for _, c := range frameErrorTests {
		r := FrameReader{MaxMessage: 4096}
		r.Advance(copy(r.Space(len(c.in)), c.in))
		for range 2 { // an error stays
			m, ok, err := r.Next()
			var broken *ProtocolError
			if !errors.As(err, &broken) || ok || broken.Code != c.code || broken.Reason == "" {
				t.Errorf("%s: %v, %v, %v; want code %d", c.name, m, ok, err, c.code)
			}
		}
	}
}

// Frames and messages come out whole, however the bytes are split.
func TestFrames(t *testing.T) {
	long := bytes.Repeat([]byte("long "), 40) // 200 bytes: a 16-bit length
	huge := bytes.Repeat([]byte("huge "), 20_000)
	var in []byte
	in = serverFrame(in, true, ws.OpText, []byte("first"))
	in = serverFrame(in, true, ws.OpBinary, nil)
	in = serverFrame(in, true, ws.OpBinary, long)
	in = serverFrame(in, false, ws.OpText, []byte("one "))
	in = serverFrame(in, true, ws.OpPing, []byte("between"))
	in = serverFrame(in, false, ws.OpContinuation, nil)
	in = serverFrame(in, false, ws.OpContinuation, []byte("two "))
	in = serverFrame(in, true, ws.OpPong, nil)
	in = serverFrame(in, true, ws.OpContinuation, []byte("three"))
	in = serverFrame(in, false, ws.OpBinary, []byte("more "))
	in = serverFrame(in, true, ws.OpPing, nil)
	in = serverFrame(in, true, ws.OpContinuation, []byte("parts"))
	in = serverFrame(in, true, ws.OpText, bytes.Repeat([]byte("x"), 125))
	in = serverFrame(in, true, ws.OpText, bytes.Repeat([]byte("y"), 126))
	in = serverFrame(in, true, ws.OpText, huge)
	in = append(in, 0x82, 127, 0, 0, 0, 0, 0, 0, 0, 2, 'o', 'k') // a length longer than need be
	in = serverFrame(in, true, ws.OpClose, []byte("\x0f\xa7"))
	want := []Message{
		{ws.OpText, []byte("first")}, {ws.OpBinary, nil}, {ws.OpBinary, long},
		{ws.OpPing, []byte("between")}, {ws.OpPong, nil}, {ws.OpText, []byte("one two three")},
		{ws.OpPing, nil}, {ws.OpBinary, []byte("more parts")},
		{ws.OpText, bytes.Repeat([]byte("x"), 125)}, {ws.OpText, bytes.Repeat([]byte("y"), 126)},
		{ws.OpText, huge}, {ws.OpBinary, []byte("ok")}, {ws.OpClose, []byte("\x0f\xa7")},
	}
	// In pieces of every size up to beyond all headers, then whole.
	for _, size := range []int{1, 2, 3, 4, 5, 7, 9, 10, 11, 1000, 4096, len(in)} {
		var r FrameReader
		n := 0
		for chunk := range slices.Chunk(in, size) {
			r.Advance(copy(r.Space(len(chunk)), chunk))
			for {
				m, ok, err := r.Next()
				if err != nil {
					t.Fatalf("pieces of %d: %v", size, err)
				}
				if !ok {
					break
				}
				if n == len(want) || m.Opcode != want[n].Opcode || !bytes.Equal(m.Payload, want[n].Payload) {
					t.Fatalf("pieces of %d: message %d is %v %.40q", size, n, m.Opcode, m.Payload)
				}
				n++
			}
		}
		if n != len(want) {
			t.Errorf("pieces of %d: %d messages, want %d", size, n, len(want))
		}
	}
}

// Headers of each length form are split at each byte.
func TestFrameHeaderSplit(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 0xffff, 0x10000} {
		p := bytes.Repeat([]byte("p"), n)
		in := serverFrame(nil, true, ws.OpBinary, p)
		for at := range min(11, len(in)) {
			r := FrameReader{MaxMessage: n + 1} // also: a message at the bound is not above it
			r.Advance(copy(r.Space(at), in[:at]))
			if m, ok, err := r.Next(); ok || err != nil {
				t.Fatalf("%d bytes of a message of %d: %v, %v", at, n, m, err)
			}
			r.Advance(copy(r.Space(len(in)-at), in[at:]))
			if m, ok, err := r.Next(); !ok || err != nil || !bytes.Equal(m.Payload, p) {
				t.Fatalf("message of %d cut at %d: %v, %v", n, at, ok, err)
			}
			if m, ok, err := r.Next(); ok || err != nil {
				t.Fatalf("behind a message of %d cut at %d: %v, %v", n, at, m, err)
			}
		}
	}
}

// read feeds in by 4 KiB and returns how many messages came.
func read(t testing.TB, r *FrameReader, in []byte) (n int) {
	t.Helper()
	for len(in) > 0 {
		took := copy(r.Space(4096), in)
		r.Advance(took)
		in = in[took:]
		for {
			_, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			n++
		}
	}
	return n
}

// The buffers of large messages are given up, those of others kept.
func TestFrameBuffers(t *testing.T) {
	var r FrameReader
	large := make([]byte, 3<<20)
	holds := func(when string) {
		t.Helper()
		if cap(r.buf) > keptBuffer || r.whole != nil || len(r.gathered.pieces) > 0 {
			t.Errorf("%s: %d and %d bytes and %d pieces are kept", when, cap(r.buf), cap(r.whole), len(r.gathered.pieces))
		}
	}
	in := serverFrame(nil, false, ws.OpBinary, large)
	in = serverFrame(in, true, ws.OpContinuation, large)
	for _, in := range [][]byte{serverFrame(nil, true, ws.OpBinary, large), in} {
		if n := read(t, &r, in); n != 1 {
			t.Fatalf("%d messages", n)
		}
		holds("behind a large message") // the Next that found nothing more gave it up
	}

	small := serverFrame(nil, true, ws.OpText, []byte("{}"))
	read(t, &r, small)
	kept := &r.Space(1)[:1][0]
	r.Reset()
	if &r.Space(1)[:1][0] != kept {
		t.Error("Reset gave a small buffer up")
	}
	read(t, &r, in[:len(in)-1]) // all but the last byte of a large message
	r.Reset()
	holds("behind Reset")
	if n := read(t, &r, small); n != 1 {
		t.Errorf("%d messages after Reset", n)
	}
	r = FrameReader{MaxMessage: 5}
	r.Reset()
	if r.MaxMessage != 5 {
		t.Error("Reset forgets the bound")
	}
}

// Lent bytes give the same messages as copied ones, wherever they are cut, and
// are not looked at after Keep.
func TestFrameFeed(t *testing.T) {
	long := bytes.Repeat([]byte("z"), 5000)
	in := serverFrame(nil, true, ws.OpText, []byte("first"))
	in = serverFrame(in, false, ws.OpBinary, long)
	in = serverFrame(in, true, ws.OpPing, []byte("between"))
	in = serverFrame(in, true, ws.OpContinuation, []byte("last"))
	in = serverFrame(in, true, ws.OpBinary, long)
	in = serverFrame(in, true, ws.OpClose, []byte("\x0f\xa7"))
	want := frames(t, &FrameReader{MaxMessage: 1 << 20}, in)
	for _, step := range []int{1, 2, 7, 100, 4096, 5100, len(in)} {
		got := lentFrames(t, &FrameReader{MaxMessage: 1 << 20}, slices.Collect(slices.Chunk(in, step))...)
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q, want %q", step, got, want)
		}
	}
}

// What a frame announces is not allocated on its word.
func TestFrameAnnounced(t *testing.T) {
	var r FrameReader
	r.Advance(copy(r.Space(4096), []byte{0x82, 127, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff}))
	if _, ok, err := r.Next(); ok || err != nil {
		t.Fatal(ok, err)
	}
	if n := len(r.Space(4096)); n > 16<<10 {
		t.Errorf("a buffer of %d bytes for a header", n)
	}
}

func TestFrameAllocs(t *testing.T) {
	in := serverFrame(nil, true, ws.OpText, payload(t, "message_create"))
	in = serverFrame(in, false, ws.OpText, []byte("one"))
	in = serverFrame(in, true, ws.OpPing, nil)
	in = serverFrame(in, true, ws.OpContinuation, []byte("two"))
	var r FrameReader
	if n := testing.AllocsPerRun(100, func() { read(t, &r, in) }); n != 0 {
		t.Errorf("reading: %v allocations", n)
	}
	whole := serverFrame(nil, true, ws.OpText, payload(t, "message_create"))
	feed := func() {
		r.Feed(whole)
		if _, ok, err := r.Next(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		r.Keep()
	}
	if n := testing.AllocsPerRun(100, feed); n != 0 {
		t.Errorf("reading what is lent: %v allocations", n)
	}
	buf := make([]byte, 0, 8192)
	msg := payload(t, "guild_create")
	if n := testing.AllocsPerRun(100, func() { AppendFrame(buf, ws.OpText, msg, [4]byte{1, 2, 3, 4}) }); n != 0 {
		t.Errorf("AppendFrame: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { AppendClose(buf, CloseKeepSession, "bye", [4]byte{1, 2, 3, 4}) }); n != 0 {
		t.Errorf("AppendClose: %v allocations", n)
	}
}

// readFrame reads the frame that is all of b.
func readFrame(b []byte) (f ws.Frame, err error) {
	r := bytes.NewReader(b)
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload, err = io.ReadAll(r)
	return f, err
}

func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 0xffff, 0x10000} {
		p := bytes.Repeat([]byte("ab"), n)[:n]
		kept := bytes.Clone(p)
		b := AppendFrame([]byte("before"), ws.OpText, p, [4]byte{0xde, 0xad, 0xbe, 0xef})
		if !bytes.Equal(p, kept) {
			t.Fatalf("%d bytes: the payload was changed", n)
		}
		b, ok := bytes.CutPrefix(b, []byte("before"))
		f, err := readFrame(b)
		if !ok || err != nil || !f.Header.Masked || !f.Header.Fin || f.Header.OpCode != ws.OpText || ws.HeaderSize(f.Header)+n != len(b) {
			t.Fatalf("%d bytes: %+v, %v", n, f.Header, err)
		}
		if ws.UnmaskFrameInPlace(f); !bytes.Equal(f.Payload, p) {
			t.Errorf("%d bytes: the payload is not the same", n)
		}
	}
	// RFC 6455, 5.7.
	got := AppendFrame(nil, ws.OpText, []byte("Hello"), [4]byte{0x37, 0xfa, 0x21, 0x3d})
	if want := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; string(got) != want {
		t.Errorf("Hello = %q, want %q", got, want)
	}
}

// Every close frame that RFC 6455 allows, and those that it does not.
func TestParseClose(t *testing.T) {
	for _, c := range []struct {
		payload string
		code    CloseCode // 0: refused
		reason  string
	}{
		{"", CloseNoStatus, ""},
		{"\x03\xe8", CloseNormal, ""},
		{"\x0f\xa4Authentication failed.", CloseAuthenticationFailed, "Authentication failed."},
		{"\x0f\xa9grün", CloseSessionTimedOut, "grün"},
		{"\x03\xf4restart", 1012, "restart"}, // registered with IANA after the RFC
		{"\x03\xf5", 1013, ""},
		{"\x03\xf6", 1014, ""},
		{"\x0b\xb8", 3000, ""},
		{"\x13\x87", 4999, ""},

		{"\x03", 0, ""},
		{"\x00\x00", 0, ""},
		{"\x03\xe7", 0, ""},     // 999
		{"\x03\xec", 0, ""},     // 1004
		{"\x03\xed", 0, ""},     // 1005
		{"\x03\xee", 0, ""},     // 1006
		{"\x03\xf7", 0, ""},     // 1015
		{"\x03\xf8", 0, ""},     // 1016
		{"\x0b\xb7", 0, ""},     // 2999
		{"\x03\xe8\xff", 0, ""}, // not UTF-8
		{"\x03\xf4\xff", 0, ""},
	} {
		code, reason, err := ParseClose([]byte(c.payload))
		var broken *ProtocolError
		switch {
		case c.code == 0 && (!errors.As(err, &broken) || broken.Code != CloseProtocolError):
			t.Errorf("%q: %d %q, %v; want a ProtocolError", c.payload, code, reason, err)
		case c.code != 0 && (err != nil || code != c.code || reason != c.reason):
			t.Errorf("%q: %d %q, %v; want %d %q", c.payload, code, reason, err, c.code, c.reason)
		}
	}
}

func TestAppendClose(t *testing.T) {
	for _, c := range []struct {
		code   CloseCode
		reason string
		want   string
	}{
		{CloseKeepSession, "", "\x13\x24"},
		{CloseNormal, "bye", "\x03\xe8bye"},
		{CloseNoStatus, "not sent", ""},
		{CloseTooBig, strings.Repeat("x", 200), "\x03\xf1" + strings.Repeat("x", 123)},
	} {
		f, err := readFrame(AppendClose(nil, c.code, c.reason, [4]byte{1, 2, 3, 4}))
		if err != nil || f.Header.OpCode != ws.OpClose {
			t.Fatal(f, err)
		}
		if ws.UnmaskFrameInPlace(f); string(f.Payload) != c.want {
			t.Errorf("AppendClose(%d, %q) = %q, want %q", c.code, c.reason, f.Payload, c.want)
		}
	}
}
