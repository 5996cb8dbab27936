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

	pending slabs   // of the message, while its marker has not arrived
	tail    [4]byte // the last bytes of pending
	held    Share   // for pending
	begun   bool    // the stream's header was seen

	in       []byte // what is left of the message, or of its piece before next
	piece    int    // of pending, that comes next
	buf      []byte // what was inflated, behind the caller's
	inflated int    // of the message so far
	out      output
	err      error
}

var errClosed = errors.New("inflater closed")

func newZlibInflater(limit int, b Bounds) *zlibInflater {
	z := &zlibInflater{out: output{limit: limit, turns: b.Turns}, held: Share{Budget: b.Arriving}}
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
		if z.inflated += n; z.inflated > z.out.most {
			err = z.out.tooBig()
			break
		}
		if n > cap(z.buf)-len(z.buf) {
			grown, ok := z.out.grow(z.buf, n, len(z.buf)+n-z.inflated)
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
		if s.z.piece < len(s.z.pending.pieces) {
			s.z.in = s.z.pending.piece(s.z.piece)
			s.z.piece++
		} else if !s.yield(nil) {
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
	packed := len(msg)
	if z.pending.size > 0 || !bytes.HasSuffix(msg, syncMarker) {
		if z.err = z.gather(msg); z.err != nil {
			return dst, false, z.err
		}
		if !bytes.Equal(z.tail[:], syncMarker) || z.pending.size < len(syncMarker) {
			return dst, false, nil
		}
		packed, msg = z.pending.size, nil
	} else if z.err = z.header(msg); z.err != nil {
		return dst, false, z.err
	}
	z.in, z.piece, z.buf, z.inflated = msg, 0, dst, 0
	z.out.begin(packed)
	err, running := z.next()
	out = z.buf
	z.in, z.buf = nil, nil
	z.forget()
	if err != nil || !running {
		if err == io.EOF || !running {
			err = io.ErrUnexpectedEOF // Discord never ends the stream
		}
		z.err = err
		if !errors.Is(err, ErrTooBig) {
			z.err = fmt.Errorf("wire: inflate zlib: %w (compression = %q)", err, CompressionZlib)
		}
		return out, false, z.err
	}
	return out, true, nil
}

// gather keeps what arrives of a message that is not whole.
func (z *zlibInflater) gather(msg []byte) error {
	z.pending.append(msg)
	for _, c := range msg[max(0, len(msg)-len(z.tail)):] {
		z.tail = [4]byte{z.tail[1], z.tail[2], z.tail[3], c}
	}
	if z.pending.size > z.out.limit {
		return fmt.Errorf("wire: inflate: %w: more than %d bytes have come of it", ErrTooBig, z.out.limit)
	}
	if err := z.held.Hold(z.pending.held()); err != nil {
		return err
	}
	if z.pending.size == 0 {
		return nil
	}
	return z.header(z.pending.piece(0))
}

// header checks how the stream begins: what is not zlib at all shows at once, and not when no
// marker comes.
func (z *zlibInflater) header(b []byte) error {
	if z.begun || len(b) < 2 {
		return nil
	}
	z.begun = true
	if b[0]&0x0f != 8 || (int(b[0])<<8|int(b[1]))%31 != 0 {
		return fmt.Errorf("wire: inflate zlib: %w (compression = %q)", zlib.ErrHeader, CompressionZlib)
	}
	return nil
}

// forget drops what is pending.
func (z *zlibInflater) forget() {
	z.pending.reset()
	z.tail, z.piece = [4]byte{}, 0
	z.held.Hold(0)
}

func (z *zlibInflater) Limit(n int)  { z.out.limit = n }
func (z *zlibInflater) Pending() int { return z.pending.size }
func (z *zlibInflater) Forget()      { z.out.forget() }
func (z *zlibInflater) Release()     { z.out.release() }

func (z *zlibInflater) Close() {
	z.stop()
	z.forget()
	z.out.release()
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
	p.out.begin(len(msg))
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
		if len(dst)-base > p.out.most {
			p.err = p.out.tooBig()
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
func (p *payloadInflater) Forget()      { p.out.forget() }
func (p *payloadInflater) Release()     { p.out.release() }
func (p *payloadInflater) Close()       { p.out.release() }
