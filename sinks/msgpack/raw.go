// This file is the string of the old MessagePack specification.

package msgpack

import "encoding/binary"

// AppendRawHeader appends the header of a MessagePack raw string of n bytes by the
// old specification, which has neither str 8 nor bin. n is far below its bound
// of 4 GiB: the engine bounds the size of a message.
func AppendRawHeader(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
}

// AppendRaw appends text as a raw string of the old specification, which every decoder takes for
// a string: so the old gateway wrote JSON.
func AppendRaw(dst, text []byte) []byte { return append(AppendRawHeader(dst, len(text)), text...) }
