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

// size returns the size of the ring when n bytes more are added.
func (r *ring) size(n, window int) int {
	// A ring below the window's size has not gone round yet.
	need := r.next + n
	switch {
	case len(r.buf) >= window || need <= len(r.buf):
		return len(r.buf)
	case n >= window:
		return window
	}
	return min(window, max(firstRing, 1<<bits.Len(uint(need-1))))
}

// append adds p. window is the same in every call.
func (r *ring) append(p []byte, window int) {
	if size := r.size(len(p), window); size > len(r.buf) {
		buf := make([]byte, size)
		copy(buf, r.buf[:r.next])
		r.buf = buf
	}
	if len(p) >= window {
		copy(r.buf, p[len(p)-window:])
		r.next, r.held = 0, window
		return
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
