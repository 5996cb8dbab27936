// This file bounds what the messages of all connections hold together.

package wire

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrBudget is wrapped by the errors for a message that a Budget has no room for.
var ErrBudget = errors.New("the messages under way of all connections are too big together")

// smallMessage is what a connection may hold for the message under way without it being
// counted, in bytes: a whole zstd block with room to spare. Nearly every message fits.
const smallMessage = 512 << 10

// Budget bounds the bytes that connections hold together for messages that have not arrived
// whole, or are inflated to more than half a MiB. A nil Budget has no bound. Any goroutine may
// use it.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget returns a Budget for connections each of whose messages may have up to maxMessage
// bytes: so that one of that size can be made at a time, however small the others are.
func NewBudget(maxMessage int) *Budget {
	return &Budget{max: int64(maxMessage) + int64(maxMessage)/4 + 8<<20}
}

// take counts n bytes more, unless they are too many.
func (b *Budget) take(n int64) bool {
	if b == nil || n <= 0 {
		return true
	}
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

// give counts n bytes less.
func (b *Budget) give(n int64) {
	if b != nil {
		b.used.Add(-n)
	}
}

// Share is what one connection has of a Budget. The zero value with Budget set is ready. It
// belongs to the connection's goroutine.
type Share struct {
	Budget *Budget
	taken  int64
}

// Hold makes the share n bytes, or fails with ErrBudget and leaves it as it is. It does not
// fail for no more than before.
func (s *Share) Hold(n int) error {
	if more := int64(n) - s.taken; more > 0 {
		if !s.Budget.take(more) {
			return fmt.Errorf("wire: %w: more than %d bytes", ErrBudget, s.Budget.max)
		}
	} else {
		s.Budget.give(-more)
	}
	s.taken = int64(n)
	return nil
}

// output grows the buffer that a message is inflated into.
type output struct {
	limit int // the most that a message may be
	share Share
	err   error // why grow has failed
}

// grow returns a new buffer with what is in buf and room for n bytes more. It grows in few
// large steps, the last of which is the limit: the memory of a buffer is used as it is written
// to, while what a doubling leaves behind has been. It fails, with err set, where the limit or the
// budget does not allow the room.
func (o *output) grow(buf []byte, n, slack int) ([]byte, bool) {
	need := len(buf) + n
	size := 2 * need
	switch limit := o.limit + slack; {
	case len(buf)+n > limit:
		o.err = tooBig(o.limit)
		return nil, false
	case need > limit/8 && need > smallMessage:
		size = limit
	case need > limit/64 && need > smallMessage:
		size = limit / 8
	}
	held := 0
	if size > smallMessage {
		held = size
	}
	if cap(buf) > smallMessage {
		held += cap(buf) // until it has been copied
	}
	if o.err = o.share.Hold(held); o.err != nil {
		return nil, false
	}
	grown := make([]byte, len(buf), size)
	copy(grown, buf)
	if size > smallMessage {
		o.err = o.share.Hold(size)
	}
	return grown, o.err == nil
}
