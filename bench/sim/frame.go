// This file makes WebSocket frames and messages out of payloads.

package sim

import (
	"encoding/binary"

	"github.com/gobwas/ws"

	"sluice/wire"
)

// splitMode says what is done to the writer's output. Each is a legal way of
// sending the same messages.
type splitMode int

const (
	splitFrames splitMode = 1 << iota // messages in fragments, control frames between them
	splitWrites                       // writes cut at random places
)

// appendFrame appends an unmasked frame.
func appendFrame(b []byte, op ws.OpCode, fin bool, payload []byte) []byte {
	w := sliceWriter{b}
	if err := ws.WriteHeader(&w, ws.Header{Fin: fin, OpCode: op, Length: int64(len(payload))}); err != nil {
		panic("sim: " + err.Error()) // the length does not fit 63 bits: there is no such slice
	}
	return append(w.b, payload...)
}

// sliceWriter appends what is written to b.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// appendClose appends a close frame; 1005 is one without a code.
func appendClose(b []byte, code wire.CloseCode, reason string) []byte {
	if code == wire.CloseNoStatus {
		return appendFrame(b, ws.OpClose, true, nil)
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	return appendFrame(b, ws.OpClose, true, append(payload, reason...))
}

// appendMessage compresses and frames a message into wbuf. It reports false
// when the compressor failed, which ends the connection.
func (c *conn) appendMessage(msg []byte) bool {
	op, payload, err := c.encode(msg)
	if err != nil {
		c.srv.opt.Log.Error("compress", "conn", c.id, "err", err)
		c.drop()
		return false
	}
	if c.split&splitFrames == 0 || len(payload) < 2 {
		c.wbuf = appendFrame(c.wbuf, op, true, payload)
		return true
	}
	for first := true; ; first = false {
		n := len(payload)
		if n > 1 && c.splitRNG.IntN(5) != 0 {
			n = c.splitRNG.IntN(n + 1)
		}
		if !first {
			op = ws.OpContinuation
		}
		c.wbuf = appendFrame(c.wbuf, op, n == len(payload), payload[:n])
		if payload = payload[n:]; len(payload) == 0 {
			return true
		}
		if c.splitRNG.IntN(3) == 0 {
			c.wbuf = appendFrame(c.wbuf, ws.OpPing, true, []byte("between"))
		}
	}
}
