// This file tests and measures the way from JSON to MessagePack.

package msgpack

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/valyala/fastjson"
)

// MessagePack of every kind and size of JSON value, byte for byte.
func TestAppendFromJSON(t *testing.T) {
	many := strings.Repeat(",0", 70_000)
	for _, tt := range []struct{ in, want string }{
		{`null`, "\xc0"}, {` true `, "\xc3"}, {"\t\r\nfalse", "\xc2"},
		{`0`, "\x00"}, {`127`, "\x7f"}, {`128`, "\xcc\x80"}, {`255`, "\xcc\xff"}, {`256`, "\xcd\x01\x00"}, {`65536`, "\xce\x00\x01\x00\x00"},
		{`4294967296`, "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"}, {`18446744073709551615`, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		{`18446744073709551616`, "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"}, {`99999999999999999999`, "\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40"},
		{`-1`, "\xff"}, {`-32`, "\xe0"}, {`-33`, "\xd0\xdf"}, {`-128`, "\xd0\x80"}, {`-129`, "\xd1\xff\x7f"}, {`-32769`, "\xd2\xff\xff\x7f\xff"},
		{`-2147483649`, "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"}, {`-9223372036854775808`, "\xd3\x80\x00\x00\x00\x00\x00\x00\x00"},
		{`-9223372036854775809`, "\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00"},
		{`-0`, "\xcb\x80\x00\x00\x00\x00\x00\x00\x00"}, {`1.0`, "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"}, {`1e2`, "\xcb\x40\x59\x00\x00\x00\x00\x00\x00"},
		{`1E+400`, "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"}, {`-1e400`, "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"},
		{`""`, "\xa0"}, {`"é"`, "\xa2é"}, {`"` + strings.Repeat("a", 31) + `"`, "\xbf" + strings.Repeat("a", 31)},
		{`"` + strings.Repeat("a", 32) + `"`, "\xd9\x20" + strings.Repeat("a", 32)},
		{`"` + strings.Repeat("a", 256) + `"`, "\xda\x01\x00" + strings.Repeat("a", 256)},
		{`"` + strings.Repeat("a", 65536) + `"`, "\xdb\x00\x01\x00\x00" + strings.Repeat("a", 65536)},
		{`"\"\\\/\b\f\n\r\t"`, "\xa8\"\\/\b\f\n\r\t"}, {`"\u00e9\u20ac"`, "\xa5é€"}, {`"\ud83d\ude00"`, "\xa4😀"},
		{`"\ud83d"`, "\xa3\ufffd"}, {`"\ude00x"`, "\xa4\ufffdx"}, {`"\ud83d\ud83d\ude00"`, "\xa7\ufffd😀"}, {`"\ud83d\u0041"`, "\xa4\ufffdA"}, {`"\u0000"`, "\xa1\x00"},
		{`"` + strings.Repeat(`\n`, 40) + `"`, "\xd9\x28" + strings.Repeat("\n", 40)},
		{"\"\xff\"", "\xa1\xff"},
		{`[]`, "\x90"}, {`{ }`, "\x80"}, {`[1,[2],{}]`, "\x93\x01\x91\x02\x80"}, {`{"a":1 , "b" : [ ] }`, "\x82\xa1a\x01\xa1b\x90"}, {`{"a":1,"a":2}`, "\x82\xa1a\x01\xa1a\x02"},
		{`[0` + many[:2*14] + `]`, "\x9f" + strings.Repeat("\x00", 15)}, {`[0` + many[:2*15] + `]`, "\xdc\x00\x10" + strings.Repeat("\x00", 16)},
		{`[0` + many + `]`, "\xdd\x00\x01\x11\x71" + strings.Repeat("\x00", 70_001)},
		{`{"":0` + strings.Repeat(`,"":0`, 16) + `}`, "\xde\x00\x11" + strings.Repeat("\xa0\x00", 17)},
		{strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("\x91", maxDepth-1) + "\x90"},
	} {
		got, err := AppendFromJSON([]byte("before"), []byte(tt.in))
		if want := "before" + tt.want; err != nil || string(got) != want {
			t.Errorf("%.60s: %.60q, %v; want %.60q", tt.in, got, err, want)
		}
	}
	for _, bad := range []string{"", " ", "nul", "nulll", "1 2", "01", "-", "-x", "1.", ".5", "1e", "1e+", "+1", `"`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"",
		"[", "[1", "[1,", "[1,]", "[,]", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{1:1}`, "]", "}", "NaN", "'a'", "\x00",
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)} {
		if got, err := AppendFromJSON(nil, []byte(bad)); err == nil {
			t.Errorf("%.60q is taken: %q", bad, got)
		}
	}
}

// decode returns the first value of b as encoding/json has it, with numbers as
// float64 and bytes that are no UTF-8 as they are.
func decode(t testing.TB, b []byte) (v any, rest []byte) {
	c, b := b[0], b[1:]
	length := func(width int) (n int) {
		for _, c := range b[:width] {
			n = n<<8 | int(c)
		}
		b = b[width:]
		return n
	}
	text := func(n int) (any, []byte) { return string(b[:n]), b[n:] }
	list := func(n int) (any, []byte) {
		out := []any{}
		for range n {
			var v any
			v, b = decode(t, b)
			out = append(out, v)
		}
		return out, b
	}
	table := func(n int) (any, []byte) {
		out := map[string]any{}
		for range n {
			var k, v any
			k, b = decode(t, b)
			v, b = decode(t, b)
			out[k.(string)] = v
		}
		return out, b
	}
	switch {
	case c <= 0x7f:
		return float64(c), b
	case c <= 0x8f:
		return table(int(c & 15))
	case c <= 0x9f:
		return list(int(c & 15))
	case c <= 0xbf:
		return text(int(c & 31))
	case c >= 0xe0:
		return float64(int8(c)), b
	}
	switch c {
	case 0xc0:
		return nil, b
	case 0xc2, 0xc3:
		return c == 0xc3, b
	case 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), b[8:]
	case 0xcc:
		return float64(b[0]), b[1:]
	case 0xcd:
		return float64(binary.BigEndian.Uint16(b)), b[2:]
	case 0xce:
		return float64(binary.BigEndian.Uint32(b)), b[4:]
	case 0xcf:
		return float64(binary.BigEndian.Uint64(b)), b[8:]
	case 0xd0:
		return float64(int8(b[0])), b[1:]
	case 0xd1:
		return float64(int16(binary.BigEndian.Uint16(b))), b[2:]
	case 0xd2:
		return float64(int32(binary.BigEndian.Uint32(b))), b[4:]
	case 0xd3:
		return float64(int64(binary.BigEndian.Uint64(b))), b[8:]
	case 0xd9, 0xda, 0xdb:
		return text(length(1 << (c - 0xd9)))
	case 0xdc, 0xdd:
		return list(length(2 << (c - 0xdc)))
	case 0xde, 0xdf:
		return table(length(2 << (c - 0xde)))
	}
	t.Fatalf("%x begins no value", c)
	return nil, nil
}

// FuzzAppendFromJSON holds the transcoder against encoding/json.
func FuzzAppendFromJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00\n",true,null,{}]}`, `[0,00]`, `"\ud800"`, ` [ 1 , 2 ] `, "\"\xff\"", `{"a":1,"a":2}`, `18446744073709551616`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := AppendFromJSON(nil, text)
		valid := json.Valid(text)
		if (err == nil) != valid {
			if valid && bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > maxDepth {
				return
			}
			t.Fatalf("valid is %v, and: %v", valid, err)
		}
		if err != nil {
			return
		}
		v, rest := decode(t, got)
		if len(rest) > 0 {
			t.Fatalf("%q is left", rest)
		}
		var want any
		if err := json.Unmarshal(text, &want); err != nil {
			return // a number beyond float64
		}
		// encoding/json replaces what is no UTF-8 in strings.
		if !reflect.DeepEqual(clean(v), want) {
			t.Fatalf("got  %#v\nwant %#v", v, want)
		}
	})
}

// clean returns v with U+FFFD for bytes that are no UTF-8.
func clean(v any) any {
	switch v := v.(type) {
	case string:
		return string([]rune(v))
	case []any:
		for i := range v {
			v[i] = clean(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[string([]rune(k))] = clean(e)
		}
		return out
	}
	return v
}

// payloads returns JSON of Discord's, small and large.
func payloads(tb testing.TB) map[string][]byte {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "wire", "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		out[filepath.Base(f)] = text
	}
	message := []byte(`{"type":0,"tts":false,"timestamp":"2026-01-02T12:34:56.123000+00:00","pinned":false,"nonce":"1234567890123456789","mentions":[],` +
		`"mention_roles":[],"mention_everyone":false,"member":{"roles":["113000000000000001","113000000000000002"],"premium_since":null,"pending":false,"nick":null,` +
		`"mute":false,"joined_at":"2021-05-06T07:08:09.123000+00:00","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null},` +
		`"id":"1234567890123456789","flags":0,"embeds":[],"edited_timestamp":null,"content":"5f3 \u00e9 77 \"quoted\" and some more text","components":[],` +
		`"channel_id":"113000000000000123","author":{"username":"user123","public_flags":0,"primary_guild":null,"id":"213000000000000456","global_name":"Name 12",` +
		`"discriminator":"0","clan":null,"avatar":"0123456789abcdef0123456789abcdef"},"attachments":[],"guild_id":"313000000000000007"}`)
	out["message"] = message
	out["guild"] = fmt.Appendf(nil, `{"id":"1","name":"guild","members":[%s]}`, bytes.Join(slicesOf(message, 120), []byte(",")))
	return out
}

func slicesOf(b []byte, n int) (out [][]byte) {
	for range n {
		out = append(out, b)
	}
	return out
}

func TestAllocs(t *testing.T) {
	for name, text := range payloads(t) {
		dst := make([]byte, 0, 2*len(text)+16)
		if n := testing.AllocsPerRun(50, func() {
			if _, err := AppendFromJSON(dst, text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkTranscode holds the transcoder against a parse of the same bytes.
func BenchmarkTranscode(b *testing.B) {
	all := payloads(b)
	for _, name := range []string{"message", "guild"} {
		text := all[name]
		b.Run(name+"/own", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = AppendFromJSON(dst[:0], text); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/fastjson", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var p fastjson.Parser
			for b.Loop() {
				if _, err := p.ParseBytes(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
