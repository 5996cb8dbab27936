// This file holds the search for a value's end against a plain one.

package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// plainNestedLen is what nestedLen is to return, by the byte.
func plainNestedLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := stringLen(b[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// sameNestedLen holds nestedLen against plainNestedLen, for all of b and for b
// cut and moved against the blocks.
func sameNestedLen(t *testing.T, b []byte) {
	t.Helper()
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		b = append([]byte("{"), b...)
	}
	if got, want := nestedLen(b), plainNestedLen(b); got != want {
		t.Fatalf("nestedLen(%q) = %d, want %d", b, got, want)
	}
}

func TestNestedLen(t *testing.T) {
	parts := []string{
		`{}`, `[]`, `{`, `}`, `[`, `]`, `{]`, `}{`, `""`, `"`, `\`, `\\`, `\"`, `"\""`, `"\\"`, `"\\\"`, `"\`, `{"a":[]}`, `"}"`, `"{"`,
		"\xa2", "\xfb\xfd\xdb\xdd\xdc", "é", "\x00", "Yy_\x7f|~^Z<>", `"ab"`, strings.Repeat("x", 30), strings.Repeat(`\`, 63), strings.Repeat(`"`, 63),
		strings.Repeat("{}", 40), strings.Repeat("[", 70), strings.Repeat("]", 70),
	}
	// Each pair of them across each place of a block, and behind a closed depth.
	for _, a := range parts {
		for _, b := range parts {
			for pad := range 66 {
				for _, pre := range []string{"{", `{"`} {
					s := pre + strings.Repeat("x", pad) + a + b
					sameNestedLen(t, []byte(s))
					sameNestedLen(t, []byte(s+`"}]}`))
					sameNestedLen(t, []byte(s+`}`+strings.Repeat("y", 64)+"]]"))
				}
			}
		}
	}
	// Every byte in every place is taken for what it is.
	for c := range 256 {
		for at := range 64 {
			b := bytes.Repeat([]byte("x"), 130)
			b[0], b[1+at], b[129] = '{', byte(c), '}'
			sameNestedLen(t, b)
			b[128] = '"'
			sameNestedLen(t, b)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		var b []byte
		for n := r.IntN(200); len(b) < n; {
			b = append(b, parts[r.IntN(len(parts)-6)]...)
			b = append(b, "xxxxxxxxxxxxxxxx"[:r.IntN(16)]...)
		}
		sameNestedLen(t, b)
	}
}

// FuzzNestedLen holds nestedLen against the plain search.
func FuzzNestedLen(f *testing.F) {
	for _, name := range payloads {
		f.Add(payload(f, name))
	}
	for _, c := range envelopeTests {
		f.Add([]byte(c.msg))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sameNestedLen(t, b)
		for at := range min(len(b), 64) { // against the blocks
			sameNestedLen(t, b[at:])
		}
	})
}
