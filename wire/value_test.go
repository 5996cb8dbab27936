// This file holds the check of JSON values against encoding/json's.

package wire

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// plainValidLen is what validLen is to return, by encoding/json, of a value that ends with b.
func plainValidLen(b []byte) int {
	if !json.Valid(b) || !utf8.Valid(b) || depthOf(b) > maxDepth {
		return 0
	}
	return len(b)
}

// depthOf returns how deeply a valid JSON text is nested.
func depthOf(b []byte) (deepest int) {
	dec := json.NewDecoder(bytes.NewReader(b))
	for depth := 0; ; deepest = max(deepest, depth) {
		token, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// sameValidLen holds validLen against encoding/json, for all of b: what comes before and
// behind must not matter.
func sameValidLen(t *testing.T, b []byte) {
	t.Helper()
	b = bytes.Trim(b, " \t\r\n")
	if len(b) == 0 {
		return
	}
	got, want := validLen(b), plainValidLen(b)
	if want == 0 && got == len(b) || want > 0 && got != want {
		t.Fatalf("validLen(%q) = %d, want %d", b, got, want)
	}
	if got > len(b) {
		t.Fatalf("validLen(%q) = %d, beyond its end", b, got)
	}
	if got > 0 && plainValidLen(b[:got]) == 0 {
		t.Fatalf("validLen(%q) = %d; json does not take so much", b, got)
	}
	sameScanLen(t, b)
	// A number goes on in digits; all else ends where it ends.
	if last := len(b) - 1; want > 0 && strings.IndexByte("0123456789", b[last]) < 0 {
		for _, behind := range []string{"x", ",", "}", "]", "null", "1", `"`} {
			if got := validLen(append(b[:len(b):len(b)], behind...)); got != want {
				t.Fatalf("validLen(%q) = %d, want %d", string(b)+behind, got, want)
			}
		}
	}
}

// sameScanLen holds the two ways of validLen against each other. A value that the faster one
// would not look at, since it is short or no container, is put into one that it does.
func sameScanLen(t *testing.T, b []byte) {
	t.Helper()
	plain := plainDepthLen(b, maxDepth)
	if got := scanLen(b); got != 0 && got != plain {
		t.Fatalf("scanLen(%q) = %d, want %d", b, got, plain)
	}
	if len(b) > 2000 {
		return
	}
	around := make([]byte, 0, 4096)
	for _, n := range []int{111, 118 - len(b)%64, 119 - len(b)%64, 120 - len(b)%64, 121 - len(b)%64, 122 - len(b)%64, 990} {
		around = append(around[:0], `{"":"`...)
		for range n {
			around = append(around, 'x')
		}
		around = append(append(around, `","v":`...), b...)
		around = append(around, `,"w":[["",0]]}`...)
		plain := plainDepthLen(around, maxDepth)
		if got := scanLen(around); got != 0 && got != plain {
			t.Fatalf("scanLen(%q) = %d, want %d", around, got, plain)
		}
	}
}

// What strangers' servers sent, and what is close to it.
var values = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `1.5e+3`, `-1E-2`, `null`, `true`, `false`, `{"a":1}`, `{"a":{"b":[1,2,{}]},"c":""}`, `[[],[[]],{}]`,
	"{ \"a\" :\t1 ,\r\n\"b\": [ 1 , 2 ] }", "[ ]", "{ }", `"\ud83d"`, `{"\u0000":"\u0000"}`, `"é\"\\\/\b\f\n\r\t\u00e9"`, `"12345678"`, `"1234567"`, `{"12345678":"é234567"}`,
	`nullnulltrue`, `{hello world}`, `{"a"}`, `{"a":}`, `{"a",1}`, `{"a":1,}`, `{,}`, `{"a":1:2}`, `["a":1]`, `[1,]`, `[,1]`, `[1 2]`, `[}`, `{]`, `{"a":1]`, `[1}`, `{"a":[1}]`,
	`01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`, `0x1`, `1-2`, `tru`, `nul`, `falsee`, `NaN`, `Infinity`, `'a'`, `{1:2}`, `{null:1}`, `{"a":1 "b":2}`, `"`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `{"a":"b`,
	"\"\x00\"", "\"a\nb\"", "\"\x1f\"", "\x00", "{\x00}", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\"1234567\xe9\"", "{\"\xff\":1}", "\xef\xbb\xbf{}", "[1\x0b]", "[1\u00a0]", `{}{}`, `{} []`, `{}}`,
	strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
	strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth), strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1),
	strings.Repeat("[", 1_000_000), strings.Repeat(`[{"a":`, 100) + "1" + strings.Repeat("}]", 100),
}

// What is taken for JSON is what encoding/json takes for it.
func TestValidLen(t *testing.T) {
	for _, v := range values {
		sameValidLen(t, []byte(v))
		if len(v) > 1000 {
			continue
		}
		for _, around := range []string{`{"a":%}`, `[%]`, `[1,%,2]`, `{"a":1,"b":%,"c":[]}`, `[[%]]`, `{%:1}`, `"x%x"`} {
			sameValidLen(t, []byte(strings.ReplaceAll(around, "%", v)))
		}
	}
	// Every byte in every place of a word, in a string and outside one.
	for c := range 256 {
		for at := range 20 {
			b := append([]byte{'"'}, bytes.Repeat([]byte("x"), 21)...)
			b[1+at], b[21] = byte(c), '"'
			sameValidLen(t, b)
			b = append([]byte{'['}, bytes.Repeat([]byte("1"), 21)...)
			b[1+at], b[21] = byte(c), ']'
			sameValidLen(t, b)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	parts := []string{`"`, `{`, `}`, `[`, `]`, `,`, `:`, `1`, `-`, `.`, `e`, `null`, `true`, ` `, `\`, `"a"`, `"a":`, `{"a":1}`, `[1,2]`, "\n", "é", "\xff", `\"`, `\u00e9`, `\ud83d`, `abcdefgh`}
	for range 200_000 {
		var b []byte
		for n := r.IntN(12); n > 0; n-- {
			b = append(b, parts[r.IntN(len(parts))]...)
		}
		sameValidLen(t, b)
	}
	for _, name := range payloads { // each with a byte changed
		b := payload(t, name)
		b = b[:min(len(b), 1500)]
		for range 2000 {
			c := bytes.Clone(b)
			c[r.IntN(len(c))] = byte(r.IntN(256))
			sameValidLen(t, c)
		}
	}
}

func TestValidLenAllocs(t *testing.T) {
	for _, name := range payloads {
		b := payload(t, name)
		if n := testing.AllocsPerRun(100, func() { validLen(b) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzValidLen holds validLen against encoding/json.
func FuzzValidLen(f *testing.F) {
	for _, name := range payloads {
		f.Add(payload(f, name))
	}
	for _, v := range values {
		f.Add([]byte(v))
	}
	for _, v := range values { // for blocks
		if len(v) < 1000 {
			f.Add([]byte(`{"a":"` + strings.Repeat("x", 120) + `","b":[` + v + `,{"c":` + v + `}]}`))
		}
	}
	f.Fuzz(sameValidLen)
}

// In every order of the keys a payload is taken, or refused, for what its d is.
func TestDataIsJSON(t *testing.T) {
	for _, d := range values {
		trimmed := strings.Trim(d, " \t\r\n")
		want := plainValidLen([]byte(trimmed)) > 0
		for _, form := range []string{
			`{"t":"A","s":1,"op":0,"d":%}`, `{"op":0,"d":%,"s":1,"t":"A"}`, `{"d":%,"t":"A","s":1,"op":0}`, `{ "t":"A","s":1,"op":0,"d": % }`,
		} {
			var e Envelope
			msg := strings.Replace(form, "%", trimmed, 1)
			err := ParseEnvelope([]byte(msg), &e)
			if (err == nil) != want || err == nil && string(e.Data) != trimmed {
				t.Errorf("%.80q: d is %.80q, %v", msg, e.Data, err)
			}
		}
	}
}
