// This file makes the values that consumers read.

package broker

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"sluice/sinks"
	"sluice/sinks/msgpack"
)

// Encoding is what the value of an event is for its consumers.
type Encoding uint8

const (
	// MsgpackString is the JSON text as one MessagePack raw string, as the old
	// gateway wrote it.
	MsgpackString Encoding = iota
	// Msgpack is the JSON value as MessagePack.
	Msgpack
	// JSON is the JSON text.
	JSON
	// Discordjs is what the class RedisGateway of @discordjs/brokers reads: a
	// MessagePack map of shardId and payload, which is the whole payload.
	Discordjs
)

var encodingNames = [...]string{"msgpack-string", "msgpack", "json", "discordjs"}

// Encodings returns the names of the encodings, in their order.
func Encodings() []string { return encodingNames[:] }

// String returns the encoding's name in settings.
func (e Encoding) String() string { return encodingNames[e] }

// Format is an encoding of an event's data d, or of the whole payload.
type Format struct {
	Encoding Encoding
	Envelope bool // {"op":0,"s":…,"t":…,"d":…} instead of d; Discordjs has its own
}

// Append appends the value of ev. Nothing is allocated if dst has room. The error is
// of data that is no JSON, which MessagePack cannot be made of.
func (f Format) Append(dst []byte, ev *sinks.Event) ([]byte, error) {
	data := ev.Data
	if len(data) == 0 {
		data = []byte("null")
	}
	_, seq := ev.Identity()
	switch {
	case f.Encoding == Discordjs:
		dst = append(dst, "\x82\xa7shardId"...)
		dst = msgpack.AppendUint(dst, uint64(ev.Shard))
		dst = append(dst, "\xa7payload\x84\xa1t"...)
		dst = msgpack.AppendString(dst, ev.Type)
		dst = append(dst, "\xa1s"...)
		dst = msgpack.AppendUint(dst, uint64(seq))
		dst = append(dst, "\xa2op\x00\xa1d"...)
		return msgpack.AppendFromJSON(dst, data)
	case f.Encoding == Msgpack && f.Envelope:
		dst = append(dst, "\x84\xa2op\x00\xa1s"...)
		dst = msgpack.AppendUint(dst, uint64(seq))
		dst = append(dst, "\xa1t"...)
		dst = msgpack.AppendString(dst, ev.Type)
		dst = append(dst, "\xa1d"...)
		return msgpack.AppendFromJSON(dst, data)
	case f.Encoding == Msgpack:
		return msgpack.AppendFromJSON(dst, data)
	case f.Encoding == JSON && f.Envelope:
		return appendEnvelope(dst, ev, seq, data), nil
	case f.Encoding == JSON:
		return append(dst, data...), nil
	case f.Envelope:
		start := len(dst)
		dst = append(dst, "\xdb\x00\x00\x00\x00"...) // the length follows
		dst = appendEnvelope(dst, ev, seq, data)
		binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-5))
		return dst, nil
	}
	return msgpack.AppendRaw(dst, data), nil
}

// appendEnvelope appends the payload as Discord sent it, but for white space and the
// order of keys.
func appendEnvelope(dst []byte, ev *sinks.Event, seq int64, data []byte) []byte {
	dst = append(dst, `{"op":0,"s":`...)
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, `,"t":`...)
	dst = AppendName(dst, ev.Type)
	dst = append(dst, `,"d":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}

// AppendName appends an event's name as a JSON string.
func AppendName[T string | []byte](dst []byte, name T) []byte {
	if !isPlain(name) {
		quoted, _ := json.Marshal(string(name)) // a string has no error
		return append(dst, quoted...)
	}
	dst = append(append(dst, '"'), name...)
	return append(dst, '"')
}

// isPlain reports whether a string in JSON is just its bytes in quotes: they are ASCII, and none needs an escape.
func isPlain[T string | []byte](text T) bool {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	i := 0
	for ; i+8 <= len(text); i += 8 {
		b := text[i : i+8]
		x := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		quote, slash := x^'"'*ones, x^'\\'*ones
		// The high bit is set of a byte that is one of them, a control character or not ASCII, and of none if there is none.
		if ((quote-ones)&^quote|(slash-ones)&^slash|(x-' '*ones)&^x|x)&high != 0 {
			return false
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= 0x80 || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
