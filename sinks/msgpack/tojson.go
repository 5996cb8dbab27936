// This file turns MessagePack into JSON.

package msgpack

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

// MaxDepth bounds how deep arrays and maps that are read may be nested.
const MaxDepth = 100

// ErrDepth is the refusal of a value that is nested deeper.
var ErrDepth = fmt.Errorf("the MessagePack value is nested more than %d deep", MaxDepth)

var errShort = errors.New("the value ends too soon for MessagePack")

// AppendJSON appends to dst the JSON of the first MessagePack value in b, and returns what
// follows that value. b may be anything: what is appended has at most six bytes for each of b,
// and what is no value, or has no form in JSON, is an error.
//
// Bytes (bin) count as strings. A floating-point number without a fraction is written as an integer
// as long as it is exact, since some encoders know no other numbers, and with an exponent above.
// Under a key for which isID is true, a whole number, or each in an array, becomes a string.
//
// b is only read, and neither it nor dst is kept.
func AppendJSON(dst, b []byte, isID func(key []byte) bool) (out, rest []byte, err error) {
	return (&decoder{isID}).value(dst, b, false, 0)
}

type decoder struct {
	isID func(key []byte) bool
}

// split returns the head of the first value of b, with its N, and what follows the head: N bytes at
// least, if the kind has bytes.
func split(b []byte) (h Head, rest []byte, err error) {
	if len(b) == 0 {
		return h, nil, errShort
	}
	h = HeadOf(b[0])
	b = b[1:]
	if len(b) < h.Width {
		return h, nil, errShort
	}
	if h.Width > 0 {
		h.N, b = bigEndian(b[:h.Width]), b[h.Width:]
	}
	need := h.N
	switch h.Kind {
	case Invalid:
		return h, nil, ErrInvalid
	case Array, Map:
		need = 0
	case Ext:
		need++ // the type
	}
	if uint64(len(b)) < need {
		return h, nil, errShort
	}
	return h, b, nil
}

// value appends the first value of b and returns what follows it. Whole numbers in it are quoted if
// they are ids. It is in depth arrays and maps.
func (d *decoder) value(dst, b []byte, ids bool, depth int) (out, rest []byte, err error) {
	h, rest, err := split(b)
	if err != nil {
		return nil, nil, err
	}
	switch h.Kind {
	case Array, Map:
		if depth == MaxDepth {
			return nil, nil, ErrDepth
		}
		if h.Kind == Map {
			return d.object(dst, rest, h.N, depth)
		}
		dst = append(dst, '[')
		for i := range h.N {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, rest, err = d.value(dst, rest, ids, depth+1); err != nil {
				return nil, nil, err
			}
		}
		return append(dst, ']'), rest, nil
	case Ext:
		return nil, nil, fmt.Errorf("MessagePack ext (type %d) has no form in JSON; send times and the like as strings", int8(rest[0]))
	}
	body, rest := rest[:h.N], rest[h.N:]
	start := len(dst)
	if dst, err = appendScalar(dst, h.Kind, b[0], body); err != nil {
		return nil, nil, err
	}
	if ids && isWhole(dst[start:]) {
		dst = append(slices.Insert(dst, start, '"'), '"')
	}
	return dst, rest, nil
}

// object appends the map of n pairs that b begins with.
func (d *decoder) object(dst, b []byte, n uint64, depth int) (out, rest []byte, err error) {
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		h, rest, err := split(b)
		if err == nil && !h.Kind.IsKey() {
			err = ErrKey
		}
		if err != nil {
			return nil, nil, err
		}
		key := rest[:h.N]
		if dst, err = appendScalar(dst, h.Kind, b[0], key); err != nil {
			return nil, nil, err
		}
		dst = append(dst, ':')
		if dst, b, err = d.value(dst, rest[h.N:], d.isID(key), depth+1); err != nil {
			return nil, nil, err
		}
	}
	return append(dst, '}'), b, nil
}

// appendScalar appends a value that begins with c and holds no others.
func appendScalar(dst []byte, kind Kind, c byte, body []byte) ([]byte, error) {
	switch kind {
	case Nil:
		return append(dst, "null"...), nil
	case Bool:
		return strconv.AppendBool(dst, c == 0xc3), nil
	case Uint:
		v := uint64(c)
		if len(body) > 0 {
			v = bigEndian(body)
		}
		return strconv.AppendUint(dst, v, 10), nil
	case Int:
		v := int64(int8(c))
		if len(body) > 0 {
			unused := 64 - 8*len(body)
			v = int64(bigEndian(body)<<unused) >> unused
		}
		return strconv.AppendInt(dst, v, 10), nil
	case Float:
		return appendFloat(dst, body)
	}
	if !utf8.Valid(body) {
		return nil, errors.New("a MessagePack string is not UTF-8, in which JSON is written")
	}
	quoted, _ := json.Marshal(string(body)) // a string has no error
	return append(dst, quoted...), nil
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
