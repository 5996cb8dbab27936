// This file takes the broker's replies, and acknowledges events in order.

package window

// Reply is what a broker says of messages.
type Reply struct {
	// Number is that of a message: of so many that were sent on the connection it is the last. 0, with
	// Through: of all that were sent.
	Number uint64
	// Through says that the reply is also about all messages before it that have had none.
	Through bool
	// Refused says that they were not taken. Otherwise the broker has them, and keeps them as it
	// promises.
	Refused bool
}

// Confirm takes replies of a connection's broker, in the order in which they came, and calls acked
// for the events that are acknowledged with them. Those of a connection that is not the last of Begin
// are left out. It reports whether all can be true; from the first that cannot they are left out, and
// the connection should be given up. replies is the caller's again when it returns.
func (w *Window) Confirm(conn any, replies []Reply) bool {
	w.acking.Lock()
	defer w.acking.Unlock()
	w.mu.Lock()
	before, credible := w.at.Tail, true
	if w.conn == conn {
		for i := 0; i < len(replies) && credible; i++ {
			credible = w.reply(replies[i])
		}
	}
	w.stats.Acknowledged += int64(w.at.Tail - before)
	w.release(before)
	return credible
}

// reply takes one reply, with mu held.
func (w *Window) reply(r Reply) bool {
	if r.Refused {
		w.stats.Refused++
	}
	switch {
	case r.Through && r.Number == 0: // all there are
		r.Number = w.baseNumber + w.at.Sent - w.base - 1
	case r.Number == 0: // numbers are counted from 1
		return false
	}
	if r.Number < w.baseNumber {
		return true
	}
	if r.Number-w.baseNumber >= w.at.Sent-w.base {
		return false
	}
	last := w.base + (r.Number - w.baseNumber)
	first := last
	if r.Through {
		first = w.at.Tail
	}
	if r.Refused {
		if last < w.at.Tail || w.confirmed[last&w.mask] {
			return false // it was confirmed
		}
		for first < last && w.confirmed[first&w.mask] {
			first++
		}
		w.at.Refused = min(w.at.Refused, first)
		signal(w.woken)
		return true
	}
	if first > w.at.Tail {
		w.confirmed[last&w.mask] = true
		return true
	}
	// What was refused has had its reply: a confirm of all up to a later number is not
	// about it.
	w.at.Tail = max(w.at.Tail, min(last+1, w.at.Refused))
	for w.at.Tail < w.at.Sent && w.at.Tail != w.at.Refused && w.confirmed[w.at.Tail&w.mask] {
		w.at.Tail++
	}
	return true
}

// Drop acknowledges the poisoned event, which is at Tail, with none in flight: Sent is Tail. Its number
// is the next event's.
func (w *Window) Drop() {
	w.acking.Lock()
	defer w.acking.Unlock()
	w.mu.Lock()
	before := w.at.Tail
	w.baseNumber += w.at.Sent - w.base
	w.at.Tail++
	w.at.Sent, w.base, w.at.Poisoned = w.at.Tail, w.at.Tail, None
	w.at.Tried = max(w.at.Tried, w.at.Tail)
	w.release(before)
}

// release acknowledges the events from before to Tail, and unlocks mu. acking is
// held.
func (w *Window) release(before uint64) {
	n := int(w.at.Tail - before)
	for p := before; p < w.at.Tail; p++ {
		w.events[p&w.mask], w.confirmed[p&w.mask] = nil, false
	}
	acked := w.acked
	if w.waiting && w.capacity-(w.at.Head-w.at.Tail) >= (w.capacity+3)/4 {
		w.waiting = false
		signal(w.headroom)
	}
	if n > 0 && w.watched {
		signal(w.woken)
	}
	w.mu.Unlock()
	if n > 0 {
		acked(n)
	}
}
