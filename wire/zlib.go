// This file inflates zlib-stream, and single payloads.

package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/klauspost/compress/zlib"
)

// syncMarker ends every message of a zlib-stream (an empty stored block). It
// may occur inside one as well.
var syncMarker = []byte{0x00, 0x00, 0xff, 0xff}

// inflateStep is the least room that zlib inflates into.
const inflateStep = 4 << 10

// zlibInflater runs the inflater in a coroutine: inflate keeps its error for
// good when its source runs dry, and a message may end exactly where the window
// does, so its source must wait for the next message instead of ending.
type zlibInflater struct {
	next  func() (error, bool) // runs the coroutine until it has used up in
	stop  func()
	limit int

	in   []byte // what is left of the message
	out  []byte // what was inflated
	size int    // of the message so far, inflated
	tail []byte // the last bytes of the message so far, for the marker
	err  error
}

var errClosed = errors.New("inflater closed")

func newZlibInflater(limit int) *zlibInflater {
	z := &zlibInflater{limit: limit, tail: make([]byte, 0, 2*len(syncMarker))}
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
		z.out = append(z.out, buf[:n]...)
		if z.size += n; z.size > z.limit {
			err = tooBig(z.limit)
		}
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
	z.in, z.out = msg, dst
	err, running := z.next()
	out = z.out
	z.in, z.out = nil, nil
	if err != nil || !running {
		if err == io.EOF || !running {
			err = io.ErrUnexpectedEOF // Discord never ends the stream
		}
		z.err = err
		if !errors.Is(err, ErrTooBig) {
			z.err = fmt.Errorf("wire: inflate zlib: %w", err)
		}
		return out, false, z.err
	}
	last := msg[max(0, len(msg)-len(syncMarker)):]
	z.tail = append(z.tail, last...)
	if over := len(z.tail) - len(syncMarker); over > 0 {
		z.tail = slices.Delete(z.tail, 0, over)
	}
	if !bytes.Equal(z.tail, syncMarker) {
		return out, false, nil
	}
	z.size, z.tail = 0, z.tail[:0]
	return out, true, nil
}

func (z *zlibInflater) Close() { z.stop() }

// payloadInflater inflates messages that are each a stream of their own.
type payloadInflater struct {
	limit int
	src   bytes.Reader
	r     io.ReadCloser // a zlib reader, from the first message on
	err   error
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
		dst = slices.Grow(dst, inflateStep)
		var n int
		n, err = p.r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-base > p.limit {
			p.err = tooBig(p.limit)
			return dst, false, p.err
		}
	}
	if err != io.EOF {
		p.err = fmt.Errorf("wire: inflate payload: %w", err)
		return dst, false, p.err
	}
	return dst, true, nil
}

func (p *payloadInflater) Close() {}
