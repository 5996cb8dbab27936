// This file turns bytes into WebSocket messages and payloads into frames (RFC
// 6455, client side), without a socket.

package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/gobwas/ws"
)

// DefaultMaxMessage bounds a message in bytes where no other bound is set.
// Discord has been seen to send several MiB.
const DefaultMaxMessage = 64 << 20

// keptBuffer is the size above which a FrameReader gives a buffer up as soon as
// it is empty: large messages are rare after a session's first guilds.
const keptBuffer = 64 << 10

// ProtocolError means that the peer broke RFC 6455.
type ProtocolError struct {
	Code   CloseCode // to close the connection with
	Reason string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("wire: websocket: %s (closing with %d)", e.Reason, uint16(e.Code))
}

// Message is a whole WebSocket message: text or binary, or a control frame.
type Message struct {
	Opcode ws.OpCode
	// Payload is valid until the next call of a method of the FrameReader.
	Payload []byte
}

// FrameReader assembles messages from bytes as they arrive. Its owner reads
// from the connection into Space, calls Advance, and then Next until it has
// nothing more. The zero value is ready for a new connection. It is for one
// goroutine at a time.
//
// Text is not checked to be UTF-8: its readers parse it as JSON, which tells.
type FrameReader struct {
	// MaxMessage bounds a message in bytes, in all its fragments;
	// DefaultMaxMessage if zero.
	MaxMessage int
	// Budget bounds what the readers that share it hold together of messages which have
	// not arrived whole; none if nil.
	Budget *Budget

	share      Share
	buf        []byte
	start, end int // the bytes that arrived and were not returned
	lent       bool
	own        []byte // while lent: the reader's own buffer

	fragments  []byte // of the message under way
	fragmented bool
	opcode     ws.OpCode // of the message under way
	returned   bool      // fragments were returned by the last Next
}

// Reset prepares the reader for a new connection and gives up its buffers if
// they are large.
func (r *FrameReader) Reset() {
	if r.lent {
		r.buf = r.own
	}
	buf := r.buf
	if cap(buf) > keptBuffer {
		putSlab(buf)
		buf = nil
	}
	putSlab(r.fragments)
	r.share.Hold(0)
	*r = FrameReader{MaxMessage: r.MaxMessage, Budget: r.Budget, buf: buf}
}

// Space returns room for at least min bytes to be read into. It is valid until
// the next call of another method.
func (r *FrameReader) Space(min int) []byte {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if cap(r.buf) > keptBuffer {
			putSlab(r.buf)
			r.buf = nil
		}
	}
	if len(r.buf)-r.end < min && r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if len(r.buf)-r.end < min {
		// In steps, and only as bytes arrive: the length that a frame announces is not
		// allocated on its word, but it says where to stop.
		size := 4 * r.end
		if h, header := parseHeader(r.buf[r.start:r.end]); header == 0 || h.Length < 0 || int64(size) < h.Length {
			size = 2 * r.end
		} else {
			size = header + int(h.Length)
		}
		size = max(size, r.end+min)
		var buf []byte
		if size <= keptBuffer {
			buf = make([]byte, size)
		} else {
			buf = getSlab(size)
			buf = buf[:cap(buf)]
		}
		copy(buf, r.buf[:r.end])
		putSlab(r.buf)
		r.buf = buf
	}
	return r.buf[r.end:]
}

// Feed takes bytes that arrived, instead of Space and Advance. They are lent
// until Keep is called, which is done before they are used again; nothing is
// copied when nothing was left of what came before.
func (r *FrameReader) Feed(p []byte) {
	if r.start < r.end {
		r.Advance(copy(r.Space(len(p)), p))
		return
	}
	r.own, r.buf, r.lent = r.buf, p, true
	r.start, r.end = 0, len(p)
}

// Keep ends what Feed began: what is left of the lent bytes is copied. A
// reader to which nothing is left holds no buffer.
func (r *FrameReader) Keep() {
	if r.lent {
		rest := r.buf[r.start:r.end]
		r.buf, r.own, r.lent = r.own, nil, false
		r.start, r.end = 0, 0
		if len(rest) > 0 {
			r.Advance(copy(r.Space(len(rest)), rest))
		}
	}
	if r.start == r.end {
		putSlab(r.buf)
		r.buf, r.start, r.end = nil, 0, 0
	}
	if r.share.taken > 0 {
		r.count() // less than before
	}
}

// count tells the budget what the reader holds, if that is much. It fails if it is too much.
func (r *FrameReader) count() error {
	buf, held := r.buf, 0
	if r.lent {
		buf = r.own
	}
	for _, n := range [...]int{cap(buf), cap(r.fragments)} {
		if n > keptBuffer {
			held += n
		}
	}
	if held == int(r.share.taken) {
		return nil
	}
	r.share.Budget = r.Budget
	if err := r.share.Hold(held); err != nil {
		return &ProtocolError{CloseTooBig, err.Error()}
	}
	return nil
}

// Advance tells that n bytes were read into the slice that Space returned.
func (r *FrameReader) Advance(n int) { r.end += n }

// Next returns the next message, or ok false when it has not arrived in full. An
// error is a *ProtocolError, after which the connection cannot be read further.
func (r *FrameReader) Next() (m Message, ok bool, err error) {
	if r.returned {
		r.returned = false
		r.fragments = r.fragments[:0]
		if cap(r.fragments) > keptBuffer {
			putSlab(r.fragments)
			r.fragments = nil
		}
	}
	for {
		h, size := parseHeader(r.buf[r.start:r.end])
		if size == 0 {
			return Message{}, false, r.count()
		}
		if err := r.check(h); err != nil {
			return Message{}, false, err
		}
		if int64(r.end-r.start-size) < h.Length {
			return Message{}, false, r.count()
		}
		from := r.start + size
		to := from + int(h.Length)
		r.start = to
		payload := r.buf[from:to:to]
		switch {
		case h.OpCode.IsControl():
			return Message{h.OpCode, payload}, true, nil
		case h.Fin && !r.fragmented:
			return Message{h.OpCode, payload}, true, nil
		}
		if !r.fragmented {
			r.fragmented, r.opcode = true, h.OpCode
		}
		if need := len(r.fragments) + len(payload); need > max(cap(r.fragments), keptBuffer) {
			grown := append(getSlab(need), r.fragments...)
			putSlab(r.fragments)
			r.fragments = grown
		}
		r.fragments = append(r.fragments, payload...)
		if err := r.count(); err != nil {
			return Message{}, false, err
		}
		if h.Fin {
			r.fragmented, r.returned = false, true
			return Message{r.opcode, r.fragments}, true, nil
		}
	}
}

// check applies the RFC's rules and the bound to a header.
func (r *FrameReader) check(h ws.Header) error {
	state := ws.StateClientSide
	if r.fragmented {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return &ProtocolError{CloseProtocolError, err.Error()}
	}
	limit := r.MaxMessage
	if limit == 0 {
		limit = DefaultMaxMessage
	}
	if h.Length < 0 {
		return &ProtocolError{CloseProtocolError, "a frame's length has its highest bit set"}
	}
	if !h.OpCode.IsControl() && h.Length > int64(limit-len(r.fragments)) {
		return &ProtocolError{CloseTooBig, fmt.Sprintf("a message of at least %d bytes, more than the %d allowed",
			int64(len(r.fragments))+h.Length, limit)}
	}
	return nil
}

// parseHeader reads a frame's header; size is 0 when it has not arrived in full.
// It stands in for ws.ReadHeader, which wants an io.Reader and allocates.
func parseHeader(b []byte) (h ws.Header, size int) {
	if len(b) < 2 {
		return h, 0
	}
	h.Fin = b[0]&0x80 != 0
	h.Rsv = b[0] >> 4 & 7
	h.OpCode = ws.OpCode(b[0] & 0x0f)
	h.Masked = b[1]&0x80 != 0
	size = 2
	switch n := b[1] & 0x7f; n {
	case 126:
		if len(b) < 4 {
			return h, 0
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		size = 4
	case 127:
		if len(b) < 10 {
			return h, 0
		}
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
		size = 10
	default:
		h.Length = int64(n)
	}
	if h.Masked {
		size += 4 // refused by check; the mask is part of the header all the same
	}
	return h, size
}

// ParseClose returns the code and the reason of a close frame's payload: without
// any, CloseNoStatus. A payload that RFC 6455, 7.4 forbids is a *ProtocolError.
func ParseClose(payload []byte) (code CloseCode, reason string, err error) {
	if len(payload) == 0 {
		return CloseNoStatus, "", nil
	}
	if len(payload) == 1 {
		return 0, "", &ProtocolError{CloseProtocolError, "a close frame of one byte"}
	}
	status, reason := ws.ParseCloseFrameData(payload)
	check := status
	if 1012 <= status && status <= 1014 {
		check = ws.StatusGoingAway // registered after the RFC: restart, try again later, bad gateway
	}
	if err := ws.CheckCloseFrameData(check, reason); err != nil {
		return 0, "", &ProtocolError{CloseProtocolError, fmt.Sprintf("close code %d: %v", status, err)}
	}
	return CloseCode(status), reason, nil
}

// AppendFrame appends one final frame as a client sends it, masked with mask.
// payload is only read.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte, mask [4]byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, 0x80|byte(n))
	case n <= 0xffff:
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, mask[:]...)
	from := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[from:], mask, 0)
	return dst
}

// AppendClose appends a close frame with a code and a reason of at most 123
// bytes; CloseNoStatus makes one without either.
func AppendClose(dst []byte, code CloseCode, reason string, mask [4]byte) []byte {
	if code == CloseNoStatus {
		return AppendFrame(dst, ws.OpClose, nil, mask)
	}
	var payload [125]byte
	binary.BigEndian.PutUint16(payload[:], uint16(code))
	n := 2 + copy(payload[2:], reason)
	return AppendFrame(dst, ws.OpClose, payload[:n], mask)
}
