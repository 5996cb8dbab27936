// This file keeps the window: the last of what was decoded before the present
// message.

package zstd

import "math/bits"

// firstRing is the size that a ring begins with, in bytes.
const firstRing = 4 << 10

// ring holds the last bytes that were appended, up to the window's size. It is
// only as large as what it was given, up to the next power of two.
type ring struct {
	buf  []byte
	next int // where the next byte goes; behind it are the oldest, once the ring is full
	held int // how many bytes it holds
}

// append adds p. window is the same in every call.
func (r *ring) append(p []byte, window int) {
	if len(p) >= window {
		if len(r.buf) < window {
			r.buf = make([]byte, window)
		}
		copy(r.buf, p[len(p)-window:])
		r.next, r.held = 0, window
		return
	}
	// A ring below the window's size has not gone round yet.
	if need := r.next + len(p); need > len(r.buf) && len(r.buf) < window {
		buf := make([]byte, min(window, max(firstRing, 1<<bits.Len(uint(need-1)))))
		copy(buf, r.buf[:r.next])
		r.buf = buf
	}
	n := copy(r.buf[r.next:], p)
	if r.next += n; n < len(p) || r.next == window {
		r.next = copy(r.buf, p[n:])
	}
	r.held = min(r.held+len(p), window)
}

// copyTo copies to dst what lies back bytes behind the ring's end and returns
// how much that was: less than len(dst) where the ring's end comes first. back
// is at least 1 and at most held.
func (r *ring) copyTo(dst []byte, back int) int {
	dst = dst[:min(len(dst), back)]
	from := r.next - back
	if from < 0 {
		from += len(r.buf)
	}
	n := copy(dst, r.buf[from:])
	return n + copy(dst[n:], r.buf)
}
