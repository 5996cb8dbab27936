// This file knows the forms of MessagePack and turns a value into JSON.
// https://github.com/msgpack/msgpack/blob/master/spec.md

package stdio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep MessagePack values may be nested.
const maxDepth = 100

// kind is a type of MessagePack value.
type kind uint8

const (
	kindNone kind = iota // c1, which begins no value
	kindNil
	kindBool
	kindUint
	kindInt
	kindFloat
	kindString // str, and raw of the old specification
	kindBin
	kindArray
	kindMap
	kindExt
)

// shape is what the first byte of a value tells.
type shape struct {
	kind kind
	// width is the number of bytes that follow and hold n. Zero: n is known.
	width int
	// n is the number of values in an array, of pairs in a map, and of bytes
	// that follow in any other; of an ext without its type.
	n uint64
}

// shapeOf returns the shape of a value that begins with c.
func shapeOf(c byte) shape {
	switch {
	case c <= 0x7f:
		return shape{kind: kindUint}
	case c <= 0x8f:
		return shape{kind: kindMap, n: uint64(c & 0x0f)}
	case c <= 0x9f:
		return shape{kind: kindArray, n: uint64(c & 0x0f)}
	case c <= 0xbf:
		return shape{kind: kindString, n: uint64(c & 0x1f)}
	case c >= 0xe0:
		return shape{kind: kindInt}
	}
	switch c {
	case 0xc0:
		return shape{kind: kindNil}
	case 0xc2, 0xc3:
		return shape{kind: kindBool}
	case 0xc4, 0xc5, 0xc6:
		return shape{kind: kindBin, width: 1 << (c - 0xc4)}
	case 0xc7, 0xc8, 0xc9:
		return shape{kind: kindExt, width: 1 << (c - 0xc7)}
	case 0xca, 0xcb:
		return shape{kind: kindFloat, n: 4 << (c - 0xca)}
	case 0xcc, 0xcd, 0xce, 0xcf:
		return shape{kind: kindUint, n: 1 << (c - 0xcc)}
	case 0xd0, 0xd1, 0xd2, 0xd3:
		return shape{kind: kindInt, n: 1 << (c - 0xd0)}
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return shape{kind: kindExt, n: 1 << (c - 0xd4)}
	case 0xd9, 0xda, 0xdb:
		return shape{kind: kindString, width: 1 << (c - 0xd9)}
	case 0xdc, 0xdd:
		return shape{kind: kindArray, width: 2 << (c - 0xdc)}
	case 0xde, 0xdf:
		return shape{kind: kindMap, width: 2 << (c - 0xde)}
	}
	return shape{} // 0xc1
}

var errKey = errors.New("a key of a MessagePack map is not a string, as keys are in JSON")

// isKey reports whether a value that begins with c can be a key in JSON.
func isKey(c byte) bool {
	k := shapeOf(c).kind
	return k == kindString || k == kindBin
}

// longestStart is the longest that beginsCommand looks at.
const longestStart = 1 + 1 + len("guild_id")

// beginsCommand reports whether b begins as a command's map does, with one of
// its keys first.
func beginsCommand(b []byte) bool {
	if len(b) < 2 || shapeOf(b[0]).kind != kindMap || shapeOf(b[0]).width != 0 {
		return false
	}
	key := shapeOf(b[1])
	if key.kind != kindString || key.width != 0 || uint64(len(b)) < 2+key.n {
		return false
	}
	switch string(b[2 : 2+key.n]) {
	case "event", "data", "shard", "guild_id", "packet":
		return true
	}
	return false
}

// appendJSONOf appends to dst the JSON of value, one whole MessagePack value
// nested no deeper than maxDepth. Bytes (bin) count as strings. A floating-point
// number without a fraction is written as an integer as long as it is exact,
// since some encoders know no other numbers, and with an exponent above. Whole numbers
// where Discord wants snowflakes become strings.
func appendJSONOf(dst, value []byte) ([]byte, error) {
	dst, _, err := appendValue(dst, value, false)
	return dst, err
}

// holdsSnowflakes reports whether the value of a key, in JSON, is a snowflake or a list of
// them in every command.
func holdsSnowflakes(key []byte) bool {
	switch string(key) {
	case `"guild_id"`, `"channel_id"`, `"guild_ids"`, `"user_ids"`:
		return true
	}
	return false
}

// appendValue appends the first value of b and returns what follows it. Whole numbers in
// it are quoted if they are ids.
func appendValue(dst, b []byte, ids bool) (out, rest []byte, err error) {
	c, b := b[0], b[1:]
	sh := shapeOf(c)
	n := sh.n
	if sh.width != 0 {
		n, b = bigEndian(b[:sh.width]), b[sh.width:]
	}
	switch sh.kind {
	case kindArray:
		dst = append(dst, '[')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, b, err = appendValue(dst, b, ids); err != nil {
				return nil, nil, err
			}
		}
		return append(dst, ']'), b, nil
	case kindMap:
		dst = append(dst, '{')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			if !isKey(b[0]) {
				return nil, nil, errKey
			}
			key := len(dst)
			if dst, b, err = appendValue(dst, b, false); err != nil {
				return nil, nil, err
			}
			ids := holdsSnowflakes(dst[key:])
			dst = append(dst, ':')
			if dst, b, err = appendValue(dst, b, ids); err != nil {
				return nil, nil, err
			}
		}
		return append(dst, '}'), b, nil
	case kindExt:
		return nil, nil, fmt.Errorf("MessagePack ext (type %d) has no form in JSON; send times and the like as strings", int8(b[0]))
	}

	body, rest := b[:n], b[n:]
	start := len(dst)
	switch sh.kind {
	case kindNil:
		dst = append(dst, "null"...)
	case kindBool:
		dst = strconv.AppendBool(dst, c == 0xc3)
	case kindUint:
		v := uint64(c)
		if n > 0 {
			v = bigEndian(body)
		}
		dst = strconv.AppendUint(dst, v, 10)
	case kindInt:
		v := int64(int8(c))
		if n > 0 {
			unused := 64 - 8*n
			v = int64(bigEndian(body)<<unused) >> unused
		}
		dst = strconv.AppendInt(dst, v, 10)
	case kindFloat:
		dst, err = appendFloat(dst, body)
	case kindString, kindBin:
		if !utf8.Valid(body) {
			return nil, nil, errors.New("a MessagePack string is not UTF-8, in which JSON is written")
		}
		quoted, _ := json.Marshal(string(body)) // a string has no error
		dst = append(dst, quoted...)
	}
	if ids && err == nil && isWhole(dst[start:]) {
		dst = append(slices.Insert(dst, start, '"'), '"')
	}
	return dst, rest, err
}

// isWhole reports whether a JSON value is a number of digits alone.
func isWhole(value []byte) bool {
	return !bytes.ContainsFunc(value, func(r rune) bool { return r < '0' || '9' < r })
}

// appendFloat appends the number in body, 4 or 8 bytes of IEEE 754.
func appendFloat(dst, body []byte) ([]byte, error) {
	bits := 8 * len(body)
	var f float64
	if bits == 32 {
		f = float64(math.Float32frombits(binary.BigEndian.Uint32(body)))
	} else {
		f = math.Float64frombits(binary.BigEndian.Uint64(body))
	}
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, fmt.Errorf("the MessagePack number %v has no form in JSON", f)
	case f == math.Trunc(f) && math.Abs(f) <= 1<<53:
		return strconv.AppendInt(dst, int64(f), 10), nil
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits), nil
}

// bigEndian returns the number in up to 8 bytes.
func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
