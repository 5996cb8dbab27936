// This file grows the buffers that messages are inflated into, within bounds.

package wire

import "fmt"

const (
	// smallMessage is what a message may be inflated to without waiting for a turn, in bytes: a
	// whole zstd block with room to spare. Nearly every message fits.
	smallMessage = 512 << 10

	// A message may be inflated to maxRatio times its size and freeRatio bytes: small ones
	// repeat what came before them. Discord's are inflated to five to thirty times; a thousand
	// times is an attack.
	maxRatio  = 100
	freeRatio = 1 << 20
)

// Turns bounds how many goroutines inflate large messages at a time, and so what these hold
// together: two or so, of which one may inflate one above an eighth of the bound. The others wait
// for some milliseconds. nil: there is no bound. Any goroutine may use it.
type Turns struct{ medium, large chan struct{} }

// NewTurns returns turns for n goroutines.
func NewTurns(n int) *Turns {
	return &Turns{medium: make(chan struct{}, n), large: make(chan struct{}, 1)}
}

// output is where an Inflater's messages go. It belongs to the inflater's goroutine.
type output struct {
	limit int // the most that a message may be
	turns *Turns

	medium, large bool     // the turns that it has
	slabs         [][]byte // that it has, the one in use last

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
	if o.turns != nil && size > smallMessage {
		if !o.medium {
			o.turns.medium <- struct{}{}
			o.medium = true
		}
		if size > o.limit/8+slack && !o.large {
			o.turns.large <- struct{}{}
			o.large = true
		}
	}
	if size <= smallMessage {
		return append(make([]byte, 0, size), buf...), true
	}
	grown := append(getSlab(size), buf...)
	o.slabs = append(o.slabs, grown) // zstd may still look into the one before
	return grown, true
}

// forget gives the buffer in use up, to somebody else.
func (o *output) forget() {
	if last := len(o.slabs) - 1; last >= 0 {
		o.slabs[last] = nil
	}
}

// release gives the turns and the buffers back.
func (o *output) release() {
	for _, b := range o.slabs {
		putSlab(b)
	}
	clear(o.slabs)
	o.slabs = o.slabs[:0]
	if o.large {
		<-o.turns.large
	}
	if o.medium {
		<-o.turns.medium
	}
	o.large, o.medium = false, false
}
