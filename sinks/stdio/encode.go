// This file puts one event into bytes.

package stdio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"

	"sluice/engine"
)

// headRoom is more than appendHead and appendTail add to an event with a plain
// name besides the name.
const headRoom = 80

// appendHead appends what stands before the event's data, which is size bytes
// long.
func (f Format) appendHead(dst []byte, ev *engine.Event, size int) []byte {
	if f == MsgPack {
		dst = append(dst, "\x82\xa5event"...)
		dst = appendRawHeader(dst, len(ev.Type))
		dst = append(dst, ev.Type...)
		dst = append(dst, "\xa4data"...)
		return appendRawHeader(dst, size)
	}
	dst = append(dst, `{"event":`...)
	dst = appendName(dst, ev.Type)
	dst = append(dst, `,"shard":`...)
	dst = strconv.AppendInt(dst, int64(ev.Shard), 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, ev.Seq, 10)
	return append(dst, `,"data":`...)
}

// appendTail appends what stands behind the event's data.
func (f Format) appendTail(dst []byte) []byte {
	if f == MsgPack {
		return dst
	}
	return append(dst, "}\n"...)
}

// appendRawHeader appends the header of a MessagePack raw string of n bytes by
// the old specification, which knows neither str 8 nor bin. n is far below its
// bound of 4 GiB: the engine bounds the size of a message.
func appendRawHeader(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
}

// appendName appends an event's name as a JSON string.
func appendName(dst, name []byte) []byte {
	for _, c := range name {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(name)) // a string has no error
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"')
}

// isMultiline reports whether text holds a byte that ends a line for a reader of
// lines.
func isMultiline(text []byte) bool {
	return bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0
}

// joinLines makes valid JSON, or any part of it, one line: the line feeds and
// carriage returns in it can only stand between tokens, where a space means the
// same.
func joinLines(text []byte) {
	for i, c := range text {
		if c == '\n' || c == '\r' {
			text[i] = ' '
		}
	}
}
