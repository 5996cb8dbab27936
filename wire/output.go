// This file grows the buffers that messages are inflated into, within bounds.

package wire

import (
	"fmt"
	"weak"
)

const (
	// smallMessage is what a message may be inflated to without waiting for a turn, in bytes: a
	// whole zstd block with room to spare. Nearly every message fits.
	smallMessage = 512 << 10

	// A message may be inflated to maxRatio times its size and freeRatio bytes. Discord's are
	// inflated to five to thirty times, and more where they repeat what came before them; many
	// megabytes out of a few kilobytes are an attack.
	maxRatio  = 100
	freeRatio = 8 << 20
)

// Turns bounds how many goroutines inflate large messages at a time, and so what these hold
// together: of these one may inflate one above an eighth of the bound. The others wait
// for some milliseconds. nil: there is no bound. Any goroutine may use it.
type Turns struct{ medium, large chan turn }

// turn is one of Turns. It goes on with the buffer that it was used for last, as long as the
// garbage collector has not taken that.
type turn = weak.Pointer[buffer]

type buffer struct{ b []byte }

// NewTurns returns turns for n goroutines.
func NewTurns(n int) *Turns {
	t := &Turns{medium: make(chan turn, n), large: make(chan turn, 1)}
	for range n {
		t.medium <- turn{}
	}
	t.large <- turn{}
	return t
}

// output is where an Inflater's messages go. It belongs to the inflater's goroutine.
type output struct {
	limit int // the most that a message may be
	turns *Turns

	medium, large bool    // the turns that it has
	last, before  *buffer // that it has grown to with these

	// of the message at hand
	packed int   // its size
	most   int   // that it may be inflated to
	err    error // why grow has failed
}

// begin begins with a message of so many bytes.
func (o *output) begin(packed int) {
	o.packed, o.most = packed, min(o.limit, freeRatio+maxRatio*packed)
}

// tooBig returns the error for a message that is inflated to more than most.
func (o *output) tooBig() error {
	if o.most < o.limit {
		return fmt.Errorf("wire: inflate: %w: more than %d bytes out of %d", ErrTooBig, o.most, o.packed)
	}
	return fmt.Errorf("wire: inflate: %w: more than %d bytes", ErrTooBig, o.limit)
}

// grow returns a new buffer with what is in buf and room for n bytes more, which is not to be used
// behind release. slack is what the buffer may have beside the message. It grows in few large steps, the last of which is the limit:
// the memory of a buffer is used as it is written to, while what a doubling leaves behind has been.
// It fails, with err set, where the limit does not allow the room, and waits for its turn.
func (o *output) grow(buf []byte, n, slack int) ([]byte, bool) {
	need, limit := len(buf)+n, o.most+slack
	if need > limit {
		o.err = o.tooBig()
		return nil, false
	}
	size := 2 * need
	switch {
	case need <= smallMessage/2:
	case need > limit/8:
		size = limit
	case need > limit/64:
		size = limit / 8
	}
	var used *buffer // by whoever had the turn before
	if o.turns != nil && size > smallMessage {
		if !o.medium {
			used = (<-o.turns.medium).Value()
			o.medium = true
		}
		if size > o.limit/8+slack && !o.large {
			used = (<-o.turns.large).Value()
			o.large, o.before = true, o.last
		}
	}
	if used == nil || cap(used.b) < size {
		used = &buffer{make([]byte, 0, size)}
	}
	if o.medium {
		o.last = used
	}
	return append(used.b[:0], buf...), true
}

// forget gives the buffer in use up, to somebody else.
func (o *output) forget() { o.last = nil }

// release gives the turns back, with their buffers.
func (o *output) release() {
	if o.large {
		o.turns.large <- o.last.turn()
		o.last = o.before
	}
	if o.medium {
		o.turns.medium <- o.last.turn()
	}
	o.large, o.medium, o.last, o.before = false, false, nil, nil
}

// turn returns the turn of whoever comes next.
func (b *buffer) turn() turn {
	if b == nil {
		return turn{}
	}
	return weak.Make(b)
}
