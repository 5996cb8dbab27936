// This file has the forms of MessagePack: what the first byte of a value says.

package msgpack

import "errors"

// Kind is a type of value.
type Kind uint8

const (
	Invalid Kind = iota // c1, which begins no value
	Nil
	Bool
	Uint
	Int
	Float
	String // str, and raw of the old specification
	Bin
	Array
	Map
	Ext
)

// IsKey reports whether values of the kind can be keys in JSON.
func (k Kind) IsKey() bool { return k == String || k == Bin }

// ErrKey is the refusal of a map with a key for which IsKey is false.
var ErrKey = errors.New("a key of a MessagePack map is not a string, as keys are in JSON")

// ErrInvalid is the refusal of a value of the kind Invalid.
var ErrInvalid = errors.New("broken MessagePack: c1 begins no value")

// Head is what the first byte of a value says.
type Head struct {
	Kind Kind
	// Width is the number of bytes that follow and hold N, big-endian. Zero: N is known.
	Width int
	// N is the number of values in an array, of pairs in a map, and of bytes
	// that follow in any other; of an ext without its type.
	N uint64
}

// HeadOf returns the head of a value that begins with c.
func HeadOf(c byte) Head {
	switch {
	case c <= 0x7f:
		return Head{Kind: Uint}
	case c <= 0x8f:
		return Head{Kind: Map, N: uint64(c & 0x0f)}
	case c <= 0x9f:
		return Head{Kind: Array, N: uint64(c & 0x0f)}
	case c <= 0xbf:
		return Head{Kind: String, N: uint64(c & 0x1f)}
	case c >= 0xe0:
		return Head{Kind: Int}
	}
	switch c {
	case 0xc0:
		return Head{Kind: Nil}
	case 0xc2, 0xc3:
		return Head{Kind: Bool}
	case 0xc4, 0xc5, 0xc6:
		return Head{Kind: Bin, Width: 1 << (c - 0xc4)}
	case 0xc7, 0xc8, 0xc9:
		return Head{Kind: Ext, Width: 1 << (c - 0xc7)}
	case 0xca, 0xcb:
		return Head{Kind: Float, N: 4 << (c - 0xca)}
	case 0xcc, 0xcd, 0xce, 0xcf:
		return Head{Kind: Uint, N: 1 << (c - 0xcc)}
	case 0xd0, 0xd1, 0xd2, 0xd3:
		return Head{Kind: Int, N: 1 << (c - 0xd0)}
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return Head{Kind: Ext, N: 1 << (c - 0xd4)}
	case 0xd9, 0xda, 0xdb:
		return Head{Kind: String, Width: 1 << (c - 0xd9)}
	case 0xdc, 0xdd:
		return Head{Kind: Array, Width: 2 << (c - 0xdc)}
	case 0xde, 0xdf:
		return Head{Kind: Map, Width: 2 << (c - 0xde)}
	}
	return Head{} // 0xc1
}
