// This file reads the envelope of a payload: op, s, t, and where d lies.

package wire

import (
	"errors"
	"fmt"
	"strconv"
)

// Envelope is a payload's envelope.
type Envelope struct {
	Op     Opcode
	Seq    int64 // s
	HasSeq bool  // s was a number
	Type   []byte
	// Data is d, byte for byte: nil when the payload has none. Data and Type
	// are slices of the message (Type has memory of its own if it was escaped)
	// and live as long as that.
	Data []byte
}

// ErrEnvelope is wrapped by every error of ParseEnvelope.
var ErrEnvelope = errors.New("wire: not a gateway payload")

// ParseEnvelope reads the envelope of msg, a JSON object in UTF-8 of which nothing is nested
// more deeply than 512 levels. Keys may come in any order, with white space, escapes and
// unknown keys between them; of repeated ones the last counts. Whatever the form, it gives
// the same answer as encoding/json.
func ParseEnvelope(msg []byte, e *Envelope) error {
	if parseUsual(msg, e) {
		return nil
	}
	return parseAny(msg, e)
}

// parseUsual reads the form that Discord sends, {"t":…,"s":…,"op":…,"d":…}
// without white space. It returns false for any other.
func parseUsual(msg []byte, e *Envelope) bool {
	*e = Envelope{}
	rest, ok := cut(msg, `{"t":`)
	if !ok {
		return false
	}
	if r, null := cut(rest, "null"); null {
		rest = r
	} else if len(rest) > 0 && rest[0] == '"' {
		n := 1
		for n < len(rest) && isNameByte(rest[n]) {
			n++
		}
		if n == len(rest) || rest[n] != '"' {
			return false
		}
		e.Type = rest[1:n:n]
		rest = rest[n+1:]
	} else {
		return false
	}
	if rest, ok = cut(rest, `,"s":`); !ok {
		return false
	}
	if r, null := cut(rest, "null"); null {
		rest = r
	} else if e.Seq, rest, ok = cutDigits(rest); ok {
		e.HasSeq = true
	} else {
		return false
	}
	if rest, ok = cut(rest, `,"op":`); !ok {
		return false
	}
	number, rest, ok := cutDigits(rest)
	if !ok {
		return false
	}
	e.Op = Opcode(number)
	if rest, ok = cut(rest, `,"d":`); !ok {
		return false
	}
	n := validLen(rest)
	if n == 0 || n != len(rest)-1 || rest[n] != '}' {
		return false
	}
	e.Data = rest[:n:n]
	return true
}

// cut is bytes.CutPrefix with a string: the compiler compares a constant in
// place.
func cut(b []byte, prefix string) (rest []byte, ok bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return b, false
	}
	return b[len(prefix):], true
}

func isNameByte(c byte) bool {
	return 'A' <= c && c <= 'Z' || c == '_' || '0' <= c && c <= '9'
}

// cutDigits cuts a number of 1 to 18 digits without a leading zero off b.
func cutDigits(b []byte) (v int64, rest []byte, ok bool) {
	n := 0
	for n < len(b) && n < 19 && '0' <= b[n] && b[n] <= '9' {
		v = v*10 + int64(b[n]-'0')
		n++
	}
	if n == 0 || n == 19 || n > 1 && b[0] == '0' {
		return 0, b, false
	}
	return v, b[n:], true
}

// parseAny reads any JSON object, at leisure.
func parseAny(msg []byte, e *Envelope) error {
	*e = Envelope{}
	at := skipSpace(msg, 0)
	n := validDepthLen(msg[at:], maxDepth+1)
	if n == 0 || skipSpace(msg, at+n) != len(msg) {
		return fmt.Errorf("%w: not JSON: %.60q", ErrEnvelope, msg)
	}
	if msg[at] != '{' {
		return fmt.Errorf("%w: not an object: %.60q", ErrEnvelope, msg)
	}
	var op, s, t []byte
	for key, value := range fields(msg[at : at+n]) {
		switch string(key) {
		case "op":
			op = value
		case "s":
			s = value
		case "t":
			t = value
		case "d":
			e.Data = value
		}
	}
	number, err := strconv.Atoi(string(op))
	if err != nil {
		return fmt.Errorf("%w: op is %.20q, not an integer", ErrEnvelope, op)
	}
	e.Op = Opcode(number)
	if s != nil && string(s) != "null" {
		if e.Seq, err = strconv.ParseInt(string(s), 10, 64); err != nil {
			return fmt.Errorf("%w: s is %.30q, neither null nor a 64-bit integer", ErrEnvelope, s)
		}
		e.HasSeq = true
	}
	switch {
	case t == nil || string(t) == "null":
	case t[0] != '"':
		return fmt.Errorf("%w: t is %.30q, neither null nor a string", ErrEnvelope, t)
	default:
		e.Type = unescape(t)
	}
	return nil
}
