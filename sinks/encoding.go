// This file makes the values that consumers read.

package sinks

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"sluice/engine"
)

// Encoding is what the value of an event is for its consumers.
type Encoding uint8

const (
	// MsgpackString is the JSON text as one MessagePack raw string, as the old
	// gateway wrote it.
	MsgpackString Encoding = iota
	// JSON is the JSON text.
	JSON
)

var encodingNames = [...]string{"msgpack-string", "json"}

// Encodings returns the names of the encodings.
func Encodings() []string { return encodingNames[:] }

// ParseEncoding returns the encoding of a name.
func ParseEncoding(name string) (Encoding, bool) {
	for i, n := range encodingNames {
		if n == name {
			return Encoding(i), true
		}
	}
	return 0, false
}

// String returns the encoding's name in settings.
func (e Encoding) String() string { return encodingNames[e] }

// Format is an encoding of an event's data d, or of the whole payload.
type Format struct {
	Encoding Encoding
	Envelope bool // {"op":0,"s":…,"t":…,"d":…} instead of d
}

// Append appends the value of ev. The error is of data that cannot be encoded.
func (f Format) Append(dst []byte, ev *engine.Event) ([]byte, error) {
	data := ev.Data
	if len(data) == 0 {
		data = []byte("null")
	}
	if !f.Envelope {
		if f.Encoding == MsgpackString {
			dst = AppendRawHeader(dst, len(data))
		}
		return append(dst, data...), nil
	}
	start := len(dst)
	if f.Encoding == MsgpackString {
		dst = append(dst, "\xdb\x00\x00\x00\x00"...) // the length follows
	}
	dst = appendEnvelope(dst, ev, data)
	if f.Encoding == MsgpackString {
		binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-5))
	}
	return dst, nil
}

// appendEnvelope appends the payload as Discord sent it, but for white space and the
// order of keys.
func appendEnvelope(dst []byte, ev *engine.Event, data []byte) []byte {
	dst = append(dst, `{"op":0,"s":`...)
	dst = strconv.AppendInt(dst, ev.Seq, 10)
	dst = append(dst, `,"t":`...)
	dst = AppendName(dst, ev.Type)
	dst = append(dst, `,"d":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}

// AppendName appends an event's name as a JSON string.
func AppendName(dst, name []byte) []byte {
	for _, c := range name {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(name)) // a string has no error
			return append(dst, quoted...)
		}
	}
	dst = append(append(dst, '"'), name...)
	return append(dst, '"')
}

// AppendRawHeader appends the header of a MessagePack raw string of n bytes by the
// old specification, which knows neither str 8 nor bin. n is far below its bound
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
