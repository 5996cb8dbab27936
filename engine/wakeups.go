// This file is how other goroutines reach a shard that its reader owns.

package engine

import "sync/atomic"

// Wakeup flags: one that was set twice is seen once.
const (
	wakeStop      uint32 = 1 << iota // stop for good, with the session kept
	wakeDrain                        // the shard is removed: see drain
	wakeTurn                         // the identify bucket's turn has come
	wakeRoom                         // the event queue has room again
	wakeCommands                     // the command queue has grown
	wakePersisted                    // the session is persisted
	wakeAsked                        // asks has grown
	wakeOwned                        // Options.Confirm says that the shard is owned
	wakeLost                         // that it is not
)

// waker makes a shard's owner call step soon. Any goroutine may call it, also after the shard has
// stopped.
type waker interface{ wakeOwner() }

// wakeups are the flags that other goroutines have set.
type wakeups struct{ bits atomic.Uint32 }

// take clears the flags and returns what they were.
func (w *wakeups) take() uint32 { return w.bits.Swap(0) }

// stops reports whether the shard is to stop or to drain: neither a dial nor a slow peer holds that up.
func (w *wakeups) stops() bool { return w.bits.Load()&(wakeStop|wakeDrain) != 0 }

// wake sets flags and has the shard's reader call step. Any goroutine may call it.
func (s *shard) wake(flags uint32) {
	s.wakeups.bits.Or(flags)
	s.waker.wakeOwner()
}
