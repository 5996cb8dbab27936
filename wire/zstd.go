// This file inflates zstd-stream.

package wire

import (
	"errors"
	"fmt"

	"sluice/internal/zstd"
)

// zstdSlack is the room that the decoder wants behind a message: scratch for a block's literals.
const zstdSlack = 320 << 10

// zstdInflater decodes the blocks of a frame that never ends, a message at a time.
// Discord promises that a message never ends inside a block.
type zstdInflater struct {
	dec    zstd.Decoder
	out    output
	window Share
	err    error
}

// discordWindow is the window of Discord's streams, in bytes.
const discordWindow = 256 << 10

func newZstdInflater(limit int, b Bounds) *zstdInflater {
	z := &zstdInflater{out: output{limit: limit, turns: b.Turns}, window: Share{Budget: b.Windows}}
	z.dec.Grow = func(buf []byte, n int) []byte {
		grown, _ := z.out.grow(buf, n, zstdSlack)
		return grown
	}
	z.dec.Keep = func(n int) bool {
		if n <= discordWindow || z.window.Hold(n) == nil {
			return true
		}
		z.out.err = fmt.Errorf("wire: inflate zstd: a window of %d bytes; those of all connections are too big together (compression = %q)", n, CompressionZstd)
		return false
	}
	return z
}

func (z *zstdInflater) Inflate(dst, msg []byte) (out []byte, complete bool, err error) {
	if z.err != nil {
		return dst, false, z.err
	}
	z.out.begin(len(msg))
	out, err = z.dec.Decode(dst, msg, z.out.most)
	switch {
	case err == nil:
		// What holds nothing, such as the frame's header alone, is no payload.
		return out, len(out) > len(dst), nil
	case errors.Is(err, zstd.ErrTooBig):
		z.err = z.out.tooBig()
	case errors.Is(err, zstd.ErrNoRoom):
		z.err = z.out.err
	default:
		z.err = fmt.Errorf("wire: inflate %w (compression = %q)", err, CompressionZstd)
	}
	return out, false, z.err
}

func (z *zstdInflater) Limit(n int)  { z.out.limit = n }
func (z *zstdInflater) Pending() int { return 0 }
func (z *zstdInflater) Forget()      { z.out.forget() }
func (z *zstdInflater) Release()     { z.out.release() }
func (z *zstdInflater) Close() {
	z.out.release()
	z.window.Hold(0)
	z.dec = zstd.Decoder{}
}
