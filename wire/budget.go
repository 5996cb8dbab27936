// This file bounds what the messages of all connections hold together.

package wire

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrBudget is wrapped by the errors for a message that a Budget has no room for.
var ErrBudget = errors.New("the messages of all connections that have not arrived whole are too big together")

// Budget bounds the bytes that connections hold together for messages that have not arrived
// whole, in pieces of 64 KiB. A nil Budget has no bound. Any goroutine may use it.
type Budget struct {
	base int64 // without connections
	max  atomic.Int64
	used atomic.Int64
}

// NewBudget returns a Budget for so many connections, each of whose messages may have up to
// maxMessage bytes as they arrive: one of that size has room, and one of a quarter of a MiB for each
// of the others.
func NewBudget(maxMessage, connections int) *Budget {
	b := &Budget{base: int64(maxMessage) + int64(maxMessage)/4 + 8<<20}
	b.SetConnections(connections)
	return b
}

// SetConnections makes the Budget one for so many connections.
func (b *Budget) SetConnections(n int) { b.max.Store(b.base + int64(n)<<18) }

// take counts n bytes more, unless they are too many.
func (b *Budget) take(n int64) bool {
	if b == nil {
		return true
	}
	if b.used.Add(n) > b.max.Load() {
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
			return fmt.Errorf("wire: %w: more than %d bytes", ErrBudget, s.Budget.max.Load())
		}
	} else {
		s.Budget.give(-more)
	}
	s.taken = int64(n)
	return nil
}
