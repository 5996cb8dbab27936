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
// Text is not checked to be UTF-8: its readers parse it as JSON, which rejects it.
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
	borrowed   bool
	own        []byte // while borrowed: the reader's own buffer

	// A message that comes in fragments, or in a large frame that is not there at once, is
	// gathered.
	gathered   slabs
	fragmented bool      // a message is in flight
	opcode     ws.OpCode // of it
	inFrame    bool      // a frame of it is, of which left bytes are to come
	left       int64
	fin        bool   // that frame is the last
	whole      []byte // the gathered message, returned by the last Next
}

// Reset prepares the reader for a new connection and gives up its buffers if
// they are large.
func (r *FrameReader) Reset() {
	buf := r.buf
	if r.borrowed {
		buf = r.own
	}
	if cap(buf) > keptBuffer {
		buf = nil
	}
	r.gathered.reset()
	r.share.Hold(0)
	*r = FrameReader{MaxMessage: r.MaxMessage, Budget: r.Budget, buf: buf, gathered: r.gathered}
}

// Space returns room for at least min bytes to be read into. It is valid until
// the next call of another method.
func (r *FrameReader) Space(min int) []byte {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if cap(r.buf) > keptBuffer {
			r.buf = nil
		}
	}
	if len(r.buf)-r.end < min && r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if len(r.buf)-r.end < min {
		buf := make([]byte, max(2*r.end, r.end+min))
		copy(buf, r.buf[:r.end])
		r.buf = buf
	}
	return r.buf[r.end:]
}

// Feed takes bytes that arrived, instead of Space and Advance. They are borrowed
// until Keep is called, which is done before they are used again; nothing is
// copied when nothing was left of what came before.
func (r *FrameReader) Feed(p []byte) {
	if r.start < r.end {
		r.Advance(copy(r.Space(len(p)), p))
		return
	}
	r.own, r.buf, r.borrowed = r.buf, p, true
	r.start, r.end = 0, len(p)
}

// Keep ends what Feed began: what is left of the borrowed bytes is copied. A
// reader to which nothing is left holds no buffer.
func (r *FrameReader) Keep() {
	if r.borrowed {
		rest := r.buf[r.start:r.end]
		r.buf, r.own, r.borrowed = r.own, nil, false
		r.start, r.end = 0, 0
		if len(rest) > 0 {
			r.Advance(copy(r.Space(len(rest)), rest))
		}
	}
	if r.start == r.end {
		r.buf, r.start, r.end = nil, 0, 0
	}
}

// Advance records that n bytes were read into the slice that Space returned.
func (r *FrameReader) Advance(n int) { r.end += n }

// Next returns the next message, or ok false when it has not arrived in full. An
// error is a *ProtocolError, after which the connection cannot be read further.
func (r *FrameReader) Next() (m Message, ok bool, err error) {
	if r.whole != nil {
		if r.whole = r.whole[:0]; cap(r.whole) > keptBuffer {
			r.whole = nil
			r.share.Hold(r.gathered.held())
		}
	}
	for {
		if r.inFrame {
			if m, ok, err := r.gather(); ok || err != nil || r.inFrame {
				return m, ok, err
			}
		}
		h, size := parseHeader(r.buf[r.start:r.end])
		if size == 0 {
			return Message{}, false, nil
		}
		if err := r.check(h); err != nil {
			return Message{}, false, err
		}
		here := int64(r.end - r.start - size)
		single := h.Fin && !r.fragmented
		if here < h.Length && (h.OpCode.IsControl() || single && h.Length <= keptBuffer) {
			return Message{}, false, nil
		}
		from := r.start + size
		if here >= h.Length && (h.OpCode.IsControl() || single) {
			to := from + int(h.Length)
			r.start = to
			return Message{h.OpCode, r.buf[from:to:to]}, true, nil
		}
		if !r.fragmented {
			r.fragmented, r.opcode = true, h.OpCode
		}
		r.start = from
		r.inFrame, r.left, r.fin = true, h.Length, h.Fin
	}
}

// gather takes what has arrived of the frame in flight. The message is whole with the end of its
// last frame.
func (r *FrameReader) gather() (m Message, ok bool, err error) {
	n := int(min(r.left, int64(r.end-r.start)))
	r.gathered.append(r.buf[r.start : r.start+n])
	r.start += n
	r.left -= int64(n)
	r.share.Budget = r.Budget
	if err := r.share.Hold(r.gathered.held()); err != nil {
		return Message{}, false, &ProtocolError{CloseTooBig, err.Error()}
	}
	if r.left > 0 {
		return Message{}, false, nil
	}
	if r.inFrame = false; !r.fin {
		return Message{}, false, nil
	}
	size := r.gathered.size
	if size > cap(r.whole) {
		r.whole = make([]byte, 0, size)
	}
	r.whole = r.gathered.moveTo(r.whole[:0])
	if size <= keptBuffer {
		size = 0
	}
	r.share.Hold(size) // until the next Next
	r.fragmented = false
	return Message{r.opcode, r.whole}, true, nil
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
	if !h.OpCode.IsControl() && h.Length > int64(limit-r.gathered.size) {
		return &ProtocolError{CloseTooBig, fmt.Sprintf("a message of at least %d bytes, more than the %d allowed",
			int64(r.gathered.size)+h.Length, limit)}
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
