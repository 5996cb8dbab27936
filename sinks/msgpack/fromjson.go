// This file turns JSON text into MessagePack in one pass.

// Package msgpack writes MessagePack, and reads it as JSON.
// https://github.com/msgpack/msgpack/blob/master/spec.md
package msgpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds how deep arrays and objects may lie in each other. Discord's lie
// some ten deep.
const maxDepth = 512

// AppendFromJSON appends the MessagePack of one JSON value, each part in its
// shortest form:
//
//   - Objects and arrays become maps and arrays, with their order and with keys that
//     come twice.
//   - Strings become str, with their escapes decoded. Half of a surrogate pair
//     becomes U+FFFD, as when JavaScript writes UTF-8. Bytes that are no UTF-8 stay
//     as they are.
//   - Whole numbers become integers as far as int64 and uint64 go. All others, and
//     -0, become float64, as JavaScript has them; what is beyond its range is infinite.
//
// text is only read, and nothing is allocated if dst has room. After an error, which
// says at which byte, what was appended is of no use.
func AppendFromJSON(dst, text []byte) ([]byte, error) {
	p := parser{text: text}
	dst, err := p.value(dst, 0)
	if err != nil {
		return dst, err
	}
	if p.space(); p.at < len(text) {
		return dst, p.errorf("something follows the value")
	}
	return dst, nil
}

// parser stands at a byte of the text.
type parser struct {
	text []byte
	at   int
}

func (p *parser) errorf(what string) error {
	return fmt.Errorf("msgpack: byte %d of the JSON: %s", p.at, what)
}

// space skips white space.
func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\n', '\r', '\t':
			p.at++
		default:
			return
		}
	}
}

// next skips white space and returns the byte that follows, 0 at the end.
func (p *parser) next() byte {
	if p.at < len(p.text) && p.text[p.at] > ' ' {
		return p.text[p.at]
	}
	if p.space(); p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *parser) value(dst []byte, depth int) ([]byte, error) {
	switch c := p.next(); c {
	case '"':
		return p.string(dst)
	case '{':
		return p.container(dst, depth, '}', 0x80, 0xde)
	case '[':
		return p.container(dst, depth, ']', 0x90, 0xdc)
	case 't':
		return p.literal(dst, "true", 0xc3)
	case 'f':
		return p.literal(dst, "false", 0xc2)
	case 'n':
		return p.literal(dst, "null", 0xc0)
	case 0:
		return dst, p.errorf("a value is missing")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return p.number(dst)
		}
		return dst, p.errorf("no value begins so")
	}
}

func (p *parser) literal(dst []byte, name string, code byte) ([]byte, error) {
	if len(p.text)-p.at < len(name) || string(p.text[p.at:p.at+len(name)]) != name {
		return dst, p.errorf("no value begins so")
	}
	p.at += len(name)
	return append(dst, code), nil
}

// container appends an object or an array that ends with the byte end. Its number of
// entries is known when they are written: what has up to 15 finds room in the one
// byte before them, and others are moved.
func (p *parser) container(dst []byte, depth int, end, fix, wide byte) ([]byte, error) {
	if depth == maxDepth {
		return dst, p.errorf("nested too deep")
	}
	p.at++
	head := len(dst)
	dst = append(dst, fix)
	if p.next() == end {
		p.at++
		return dst, nil
	}
	var err error
	n := 0
	for {
		if end == '}' {
			if p.next() != '"' {
				return dst, p.errorf("a key must be a string")
			}
			if dst, err = p.string(dst); err != nil {
				return dst, err
			}
			if p.next() != ':' {
				return dst, p.errorf("a colon is missing")
			}
			p.at++
		}
		if dst, err = p.value(dst, depth+1); err != nil {
			return dst, err
		}
		n++
		switch p.next() {
		case ',':
			p.at++
			continue
		case end:
		default:
			return dst, p.errorf("a comma or an end is missing")
		}
		p.at++
		break
	}
	switch {
	case n <= 15:
		dst[head] = fix | byte(n)
	case n <= math.MaxUint16:
		dst = append(dst, 0, 0)
		copy(dst[head+3:], dst[head+1:len(dst)-2])
		dst[head] = wide
		binary.BigEndian.PutUint16(dst[head+1:], uint16(n))
	default:
		dst = append(dst, 0, 0, 0, 0)
		copy(dst[head+5:], dst[head+1:len(dst)-4])
		dst[head] = wide + 1
		binary.BigEndian.PutUint32(dst[head+1:], uint32(n))
	}
	return dst, nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain returns the length of the part of s before the first quote, backslash or control
// character. It looks at eight bytes at a time: a byte b of the word is below n
// where (word - n in each byte) borrows and b has no high bit.
func plain(s []byte) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		stop := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// string appends the string that begins here.
func (p *parser) string(dst []byte) ([]byte, error) {
	p.at++
	n := plain(p.text[p.at:])
	end := p.at + n
	if end < len(p.text) && p.text[end] == '"' {
		dst = append(appendStringHead(dst, n), p.text[p.at:end]...)
		p.at = end + 1
		return dst, nil
	}
	// The length is known when the escapes are decoded: the longest header first.
	head := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0)
	const longest = 5
	for {
		n := plain(p.text[p.at:])
		dst = append(dst, p.text[p.at:p.at+n]...)
		if p.at += n; p.at == len(p.text) {
			return dst, p.errorf("a string has no end")
		}
		switch p.text[p.at] {
		case '"':
			p.at++
			body := dst[head+longest:]
			start := len(appendStringHead(dst[:head], len(body)))
			copy(dst[start:], body)
			return dst[:start+len(body)], nil
		case '\\':
			var err error
			if dst, err = p.escape(dst); err != nil {
				return dst, err
			}
		default:
			return dst, p.errorf("a control character in a string")
		}
	}
}

// appendStringHead appends the header of a str of n bytes.
func appendStringHead(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xd9, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
}

// escape appends what the escape that begins here stands for.
func (p *parser) escape(dst []byte) ([]byte, error) {
	if p.at+1 >= len(p.text) {
		return dst, p.errorf("a string has no end")
	}
	c := p.text[p.at+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := p.hex(p.at)
		if !ok {
			return dst, p.errorf("four hexadecimal digits must follow \\u")
		}
		p.at += 6
		if utf16.IsSurrogate(r) {
			if low, ok := p.hex(p.at); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					p.at += 6
					return utf8.AppendRune(dst, pair), nil
				}
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(dst, r), nil
	default:
		return dst, p.errorf("no such escape")
	}
	p.at += 2
	return append(dst, c), nil
}

// hex returns the number of the \u0000 at this place, if there is one.
func (p *parser) hex(at int) (r rune, ok bool) {
	if len(p.text)-at < 6 || p.text[at] != '\\' || p.text[at+1] != 'u' {
		return 0, false
	}
	for _, c := range p.text[at+2 : at+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// digits skips digits and reports whether there were any.
func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}

// number appends the number that begins here.
func (p *parser) number(dst []byte) ([]byte, error) {
	start := p.at
	negative := p.text[p.at] == '-'
	if negative {
		p.at++
	}
	first := p.at
	if !p.digits() {
		return dst, p.errorf("a digit is missing")
	}
	if p.text[first] == '0' && p.at > first+1 {
		p.at = first
		return dst, p.errorf("a number begins with 0")
	}
	whole := p.text[first:p.at]
	fraction := false
	if p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		if fraction = true; !p.digits() {
			return dst, p.errorf("a digit is missing")
		}
	}
	if p.at < len(p.text) && p.text[p.at]|0x20 == 'e' {
		p.at++
		if p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		if fraction = true; !p.digits() {
			return dst, p.errorf("a digit is missing")
		}
	}
	if !fraction && len(whole) <= 20 {
		if out, ok := appendInteger(dst, whole, negative); ok {
			return out, nil
		}
	}
	text := p.text[start:p.at]
	f, err := strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64) // which keeps nothing of a number that it can read
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		p.at = start
		return dst, p.errorf("a number that cannot be read")
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f)), nil
}

// appendInteger appends a whole number of up to 20 digits, unless it is -0 or beyond
// int64 and uint64.
func appendInteger(dst, digits []byte, negative bool) (out []byte, ok bool) {
	var n uint64
	for i, c := range digits {
		if i == 19 { // the twentieth digit
			hi, lo := bits.Mul64(n, 10)
			sum, carry := bits.Add64(lo, uint64(c-'0'), 0)
			if hi+carry > 0 {
				return dst, false
			}
			n = sum
			break
		}
		n = n*10 + uint64(c-'0')
	}
	if negative {
		if n == 0 || n > 1<<63 {
			return dst, false
		}
		switch v := -int64(n); {
		case v >= -32:
			return append(dst, byte(v)), true
		case v >= math.MinInt8:
			return append(dst, 0xd0, byte(v)), true
		case v >= math.MinInt16:
			return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(v)), true
		case v >= math.MinInt32:
			return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(v)), true
		default:
			return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v)), true
		}
	}
	return AppendUint(dst, n), true
}

// AppendUint appends a number in its shortest form.
func AppendUint(dst []byte, n uint64) []byte {
	switch {
	case n <= math.MaxInt8:
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), n)
}

// AppendString appends a str.
func AppendString(dst, s []byte) []byte { return append(appendStringHead(dst, len(s)), s...) }
