// This file finds where a JSON value ends, and checks it meanwhile: what is published
// as JSON is JSON.

package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"iter"
	"math/bits"
	"unicode/utf8"
)

// maxDepth bounds the objects and arrays within each other in a value. Consumers'
// parsers have a bound too (Python's is about 1,000), and Discord's own payloads have
// some ten.
const maxDepth = 512

// validLen returns the length of the JSON value (RFC 8259) at the start of b, or 0 if
// there is none, it is cut short, a string is not UTF-8, or it is nested more deeply
// than maxDepth. A lone surrogate in an escape is JSON.
func validLen(b []byte) int { return validDepthLen(b, maxDepth) }

// validDepthLen is validLen with another bound, of maxDepth or one more.
func validDepthLen(b []byte, most int) int {
	if n := scanLen(b); n > 0 {
		return n
	}
	return plainDepthLen(b, most)
}

// plainDepthLen is validDepthLen byte by byte: all of it where there is no faster way, and
// the reference for that.
func plainDepthLen(b []byte, most int) int {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	var objects [maxDepth/64 + 1]uint64 // a bit for each level: is it an object
	depth := 0
	object := false // the innermost is one
	key := false    // a string here is a key
	i := 0
	for i < len(b) {
		c := b[i]
		if c == '"' {
			i++
			for from := i; ; {
				if len(b)-i >= 8 {
					// See validString.
					x := binary.LittleEndian.Uint64(b[i:])
					q, s := x^'"'*ones, x^'\\'*ones
					m := ((q-ones)&^q | (s-ones)&^s | (x-' '*ones)&^x | x) & high
					if m == 0 {
						i += 8
						continue
					}
					j := bits.TrailingZeros64(m)
					i += j / 8
					if byte(q>>(j&0x38)) == 0 {
						i++
						break
					}
				}
				if i = validString(b, from-1, i); i == 0 {
					return 0
				}
				break
			}
			if key {
				if i == len(b) {
					return 0
				}
				if b[i] != ':' {
					if i = skipSpace(b, i); i == len(b) || b[i] != ':' {
						return 0
					}
				}
				i++
				key = false
				continue
			}
		} else if key {
			if c > ' ' {
				return 0
			}
			if j := skipSpace(b, i); j > i {
				i = j
				continue
			}
			return 0
		} else if c == '{' || c == '[' {
			i = skipSpace(b, i+1)
			if depth == most || i == len(b) {
				return 0
			}
			if b[i] != c+2 {
				object = c == '{'
				key = object
				bit := uint64(1) << (depth % 64)
				objects[depth/64] &^= bit
				if object {
					objects[depth/64] |= bit
				}
				depth++
				continue
			}
			i++
		} else if c-'0' <= 9 || c == '-' {
			j := i + 1
			for j < len(b) && b[j]-'0' <= 9 {
				j++
			}
			if c-'1' <= 8 && j < len(b) && (b[j] == ',' || b[j] == '}') {
				i = j
			} else if i = validNumber(b, i); i == 0 {
				return 0
			}
		} else if c == 'n' && len(b)-i >= 4 && string(b[i:i+4]) == "null" || c == 't' && len(b)-i >= 4 && string(b[i:i+4]) == "true" {
			i += 4
		} else if c == 'f' && len(b)-i >= 5 && string(b[i:i+5]) == "false" {
			i += 5
		} else {
			j := skipSpace(b, i)
			if j == i || depth == 0 {
				return 0
			}
			i = j
			continue
		}
		// Behind a value.
		for {
			if depth == 0 {
				return i
			}
			if i == len(b) {
				return 0
			}
			c := b[i]
			if c == ',' {
				i++
				key = object
				break
			}
			if c == '}' && object || c == ']' && !object {
				i++
				depth--
				if depth > 0 {
					object = objects[(depth-1)/64]>>((depth-1)%64)&1 != 0
				}
				continue
			}
			j := skipSpace(b, i)
			if j == i {
				return 0
			}
			i = j
		}
	}
	return 0
}

// skipSpace returns where the white space at b[i:] ends.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// validNumber returns where the number at b[i] ends, or 0.
func validNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == from || b[from] == '0' && i > from+1 {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		from = i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == from {
			return 0
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from = i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == from {
			return 0
		}
	}
	return i
}

// validString returns where the string that begins at b[start] ends, behind its quote, or 0.
// All before b[i] is known to be plain.
func validString(b []byte, start, i int) int {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	from := start + 1
	ascii := true
	for {
		for len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			q, s := x^'"'*ones, x^'\\'*ones
			// The lowest bit is that of the first byte that is a quote, a backslash, a
			// control character or not ASCII; those above it may be anything.
			m := ((q-ones)&^q | (s-ones)&^s | (x-' '*ones)&^x | x) & high
			if m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return 0
		}
		switch c := b[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(b[from:i]) {
				return 0
			}
			return i + 1
		case c == '\\':
			if i = validEscape(b, i); i == 0 {
				return 0
			}
		case c < ' ':
			return 0
		case c >= 0x80:
			ascii = false
			for i < len(b) && b[i] >= 0x80 {
				i++
			}
		default:
			i++
		}
	}
}

// validEscape returns where the escape whose backslash is at b[i] ends, or 0.
func validEscape(b []byte, i int) int {
	if i+1 >= len(b) {
		return 0
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if len(b)-i >= 6 && isHex(b[i+2]) && isHex(b[i+3]) && isHex(b[i+4]) && isHex(b[i+5]) {
			return i + 6
		}
	}
	return 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// fields returns the keys, unescaped, and values of a valid JSON object, in their order.
func fields(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := skipSpace(object, 1)
		for object[i] != '}' {
			end := validString(object, i, i+1)
			key := unescape(object[i:end])
			i = skipSpace(object, end)
			i = skipSpace(object, i+1) // the colon
			end = i + validLen(object[i:])
			if !yield(key, object[i:end:end]) {
				return
			}
			if i = skipSpace(object, end); object[i] == ',' {
				i = skipSpace(object, i+1)
			}
		}
	}
}

// elements counts the elements of a valid JSON array; any other value has none.
func elements(array []byte) (n int) {
	if array[0] != '[' {
		return 0
	}
	for i := skipSpace(array, 1); array[i] != ']'; n++ {
		i = skipSpace(array, i+validLen(array[i:]))
		if array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return n
}

// text returns what a valid JSON string stands for; any other value is no text.
func text(value []byte) string {
	if value[0] != '"' {
		return ""
	}
	return string(unescape(value))
}

// unescape decodes a valid JSON string with its quotes. The result is a part of it, unless it
// has escapes.
func unescape(quoted []byte) []byte {
	plain := quoted[1 : len(quoted)-1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') < 0 {
		return plain
	}
	var s string
	json.Unmarshal(quoted, &s) // cannot fail: quoted is valid
	return []byte(s)
}
