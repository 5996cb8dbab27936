// This file inflates zlib-stream, and single payloads.

package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/zlib"
)

// syncMarker ends every message of a zlib-stream (an empty stored block). It
// may occur inside one as well.
var syncMarker = []byte{0x00, 0x00, 0xff, 0xff}

// inflateStep is the least room that zlib inflates into.
const inflateStep = 4 << 10

// zlibInflater gathers what arrives of a message until its marker has, and then inflates it: so
// that one which never ends costs what was sent of it. It runs the inflater in a coroutine: inflate
// keeps its error for good when its source runs dry, and a message may end exactly where the window
// does, so its source must wait for the next message instead of ending.
type zlibInflater struct {
	next func() (error, bool) // runs the coroutine until it has used up in
	stop func()

	pending []byte // of the message, while its marker has not arrived
	held    Share  // for pending
	begun   bool   // the stream's header was seen

	in  []byte // what is left of the message
	buf []byte // what was inflated behind base
	out output
	err error
	// The inflated bytes of the message so far.
	size int
}

var errClosed = errors.New("inflater closed")

func newZlibInflater(limit int, b *Budget) *zlibInflater {
	z := &zlibInflater{out: output{limit: limit, share: Share{Budget: b}}, held: Share{Budget: b}}
	z.next, z.stop = iter.Pull(z.run)
	return z
}

// run is the coroutine. It yields nil for more input, or the error that ends it.
func (z *zlibInflater) run(yield func(error) bool) {
	src := bufio.NewReader(zlibSource{z, yield})
	r, err := zlib.NewReader(src)
	// A Read may begin in one message and end in the next, so what it reads into
	// must not be the caller's.
	buf := make([]byte, inflateStep)
	for err == nil {
		var n int
		n, err = r.Read(buf)
		if z.size += n; z.size > z.out.limit {
			err = tooBig(z.out.limit)
			break
		}
		if n > cap(z.buf)-len(z.buf) {
			grown, ok := z.out.grow(z.buf, n, len(z.buf)+n-z.size)
			if !ok {
				err = z.out.err
				break
			}
			z.buf = grown
		}
		z.buf = append(z.buf, buf[:n]...)
	}
	if err != errClosed {
		yield(err)
	}
}

// zlibSource gives the coroutine what is left of the message, and waits for
// the next one when nothing is.
type zlibSource struct {
	z     *zlibInflater
	yield func(error) bool
}

func (s zlibSource) Read(p []byte) (int, error) {
	for len(s.z.in) == 0 {
		if !s.yield(nil) {
			return 0, errClosed
		}
	}
	n := copy(p, s.z.in)
	s.z.in = s.z.in[n:]
	return n, nil
}

func (z *zlibInflater) Inflate(dst, msg []byte) (out []byte, complete bool, err error) {
	if z.err != nil {
		return dst, false, z.err
	}
	if len(z.pending) > 0 || !bytes.HasSuffix(msg, syncMarker) {
		z.pending = append(z.pending, msg...)
		msg = z.pending
		if z.err = z.gathered(); z.err != nil {
			return dst, false, z.err
		}
	}
	if !z.begun && len(msg) >= 2 {
		// What is not zlib at all shows at once, and not when no marker comes.
		if z.begun = true; msg[0]&0x0f != 8 || (int(msg[0])<<8|int(msg[1]))%31 != 0 {
			z.err = fmt.Errorf("wire: inflate zlib: %w (compression = %q)", zlib.ErrHeader, CompressionZlib)
			return dst, false, z.err
		}
	}
	if !bytes.HasSuffix(msg, syncMarker) {
		return dst, false, nil
	}
	z.in, z.buf, z.size = msg, dst, 0
	err, running := z.next()
	out = z.buf
	z.in, z.buf = nil, nil
	if err != nil || !running {
		if err == io.EOF || !running {
			err = io.ErrUnexpectedEOF // Discord never ends the stream
		}
		z.err = err
		if !errors.Is(err, ErrTooBig) && !errors.Is(err, ErrBudget) {
			z.err = fmt.Errorf("wire: inflate zlib: %w (compression = %q)", err, CompressionZlib)
		}
		return out, false, z.err
	}
	if z.pending = z.pending[:0]; cap(z.pending) > keptBuffer {
		z.pending = nil
	}
	z.held.Hold(0)
	return out, true, nil
}

// gathered counts what is pending.
func (z *zlibInflater) gathered() error {
	switch {
	case len(z.pending) > z.out.limit:
		return tooBig(z.out.limit)
	case cap(z.pending) > keptBuffer:
		return z.held.Hold(cap(z.pending))
	}
	return nil
}

func (z *zlibInflater) Limit(n int)  { z.out.limit = n }
func (z *zlibInflater) Pending() int { return len(z.pending) }
func (z *zlibInflater) Release()     { z.out.share.Hold(0) }

func (z *zlibInflater) Close() {
	z.stop()
	z.pending = nil
	z.held.Hold(0)
	z.out.share.Hold(0)
}

// payloadInflater inflates messages that are each a stream of their own.
type payloadInflater struct {
	src bytes.Reader
	r   io.ReadCloser // a zlib reader, from the first message on
	out output
	err error
}

func (p *payloadInflater) Inflate(dst, msg []byte) (out []byte, complete bool, err error) {
	if p.err != nil {
		return dst, false, p.err
	}
	p.src.Reset(msg)
	if p.r == nil {
		p.r, err = zlib.NewReader(&p.src)
	} else {
		err = p.r.(zlib.Resetter).Reset(&p.src, nil)
	}
	base := len(dst)
	for err == nil {
		if cap(dst)-len(dst) < inflateStep {
			grown, ok := p.out.grow(dst, inflateStep, base+inflateStep)
			if !ok {
				p.err = p.out.err
				return dst, false, p.err
			}
			dst = grown
		}
		var n int
		n, err = p.r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-base > p.out.limit {
			p.err = tooBig(p.out.limit)
			return dst, false, p.err
		}
	}
	if err != io.EOF {
		p.err = fmt.Errorf("wire: inflate payload: %w (compression = %q)", err, CompressionPayload)
		return dst, false, p.err
	}
	return dst, true, nil
}

func (p *payloadInflater) Limit(n int)  { p.out.limit = n }
func (p *payloadInflater) Pending() int { return 0 }
func (p *payloadInflater) Release()     { p.out.share.Hold(0) }
func (p *payloadInflater) Close()       { p.out.share.Hold(0) }
