// This file is how other goroutines reach a shard that its reader owns.

package engine

import "sync/atomic"

// Mail is a set of bits: what was posted twice is delivered once.
const (
	mailStop     uint32 = 1 << iota // end for good, with the session kept
	mailTurn                        // the identify bucket's turn has come
	mailRoom                        // the outlet has room again
	mailCommands                    // the command queue has grown
	mailStored                      // the session is stored
)

// mailbox collects what other goroutines post.
type mailbox struct{ bits atomic.Uint32 }

// take empties the mailbox and returns what was in it.
func (m *mailbox) take() uint32 { return m.bits.Swap(0) }

// stops reports whether mail to stop waits.
func (m *mailbox) stops() bool { return m.bits.Load()&mailStop != 0 }

// post puts mail into the shard's box and wakes its reader. Any goroutine may
// call it.
func (s *shard) post(mail uint32) {
	s.mail.bits.Or(mail)
	s.env.reader.wake(s)
}
