// This file inflates zstd-stream.

package wire

import (
	"errors"
	"fmt"

	"sluice/wire/zstd"
)

// zstdInflater decodes the blocks of a frame that never ends, a message at a time.
// Discord promises that a message never ends inside a block.
type zstdInflater struct {
	dec   zstd.Decoder
	limit int
	err   error
}

func (z *zstdInflater) Inflate(dst, msg []byte) (out []byte, complete bool, err error) {
	if z.err != nil {
		return dst, false, z.err
	}
	out, err = z.dec.Decode(dst, msg, z.limit)
	switch {
	case err == nil:
		// What holds nothing, such as the frame's header alone, is no payload.
		return out, len(out) > len(dst), nil
	case errors.Is(err, zstd.ErrTooBig):
		z.err = tooBig(z.limit)
	default:
		z.err = fmt.Errorf("wire: inflate %w", err)
	}
	return out, false, z.err
}

func (z *zstdInflater) Close() {}
