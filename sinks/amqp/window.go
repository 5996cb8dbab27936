// This file is the window: the events that are not acknowledged, and which of them
// the broker has confirmed.

package amqp

import (
	"math"
	"sluice/sinks"
	"sync"
	"sync/atomic"
	"time"
)

// none is a place that no event has.
const none = math.MaxUint64

// window holds the events between Publish and their acknowledgement. An event's
// place is its number, counted from 0.
//
//	acknowledged   sent, waiting for confirms   not sent   free
//	             ^ tail                       ^ sent     ^ head
//
// Publish adds at head. The goroutine of run sends, and goes back to tail after a
// failure. The goroutine of a link confirms what is sent. All hold mu for a short
// time.
//
// The broker numbers messages too, with tags: the event at base was published as
// baseTag, the next as the next, up to sent. Replies to earlier tags are about an
// earlier try and mean nothing.
type window struct {
	mu        sync.Mutex
	events    []*sinks.Event // the event at place p is in slot p & mask
	added     []int64        // when it came, in nanoseconds since 1970
	confirmed []bool         // though one before it is not
	mask      uint64
	size      uint64

	tail, sent, head uint64
	tried            uint64 // places below have been sent at least once
	base, baseTag    uint64
	rejected         uint64 // the first place that was nacked since base, or none
	poisoned         uint64 // the place that must be set aside, or none
	owner            *link  // whose replies count

	acked   func(n int)
	waiting bool // Publish waits for room
	watched bool // run wants to know of every acknowledgement

	acking sync.Mutex // held around acked, which one goroutine calls at a time; taken before mu

	room chan struct{} // wakes Publish; holds one
	wake chan struct{} // wakes run; holds one

	published, repeated, nacked, unroutable atomic.Int64
}

func newWindow(size int) *window {
	slots := 1
	for slots < size {
		slots *= 2
	}
	return &window{
		events:    make([]*sinks.Event, slots),
		added:     make([]int64, slots),
		confirmed: make([]bool, slots),
		mask:      uint64(slots - 1),
		size:      uint64(size),
		baseTag:   1,
		rejected:  none,
		poisoned:  none,
		room:      make(chan struct{}, 1),
		wake:      make(chan struct{}, 1),
	}
}

// signal leaves a note in c, which holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add takes the first events of batch, as many as there is room for, and returns
// how many that were. If that is not all, room is signalled when there is more.
func (w *window) add(batch []sinks.Event, acked func(n int)) int {
	now := time.Now().UnixNano()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(batch), int(w.size-(w.head-w.tail)))
	for i := range batch[:n] {
		at := w.head & w.mask
		w.events[at], w.added[at] = &batch[i], now
		w.head++
	}
	w.acked = acked
	w.waiting = n < len(batch)
	return n
}

// begin prepares for a new connection: all is to be sent, as tag 1 and following,
// and only the replies of owner count.
func (w *window) begin(owner *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner = owner
	w.restart(1)
}

// abandon ends all acknowledgements. None is under way when it returns.
func (w *window) abandon() {
	w.acking.Lock()
	defer w.acking.Unlock()
	w.begin(nil)
}

// rewind has what is not acknowledged sent again on the same connection.
func (w *window) rewind() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restart(w.baseTag + w.sent - w.base)
}

func (w *window) restart(tag uint64) {
	for p := w.tail; p < w.sent; p++ {
		w.confirmed[p&w.mask] = false
	}
	w.sent, w.base, w.baseTag, w.rejected = w.tail, w.tail, tag, none
}

// next appends to dst the events that are to be sent next, most at most.
func (w *window) next(dst []*sinks.Event, most int) []*sinks.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := w.sent; p < min(w.head, w.poisoned, w.sent+uint64(most)); p++ {
		dst = append(dst, w.events[p&w.mask])
	}
	return dst
}

// sending notes that the n next events are about to be sent: from here on they
// can be confirmed.
func (w *window) sending(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := w.sent + uint64(n)
	if again := min(w.tried, end); again > w.sent {
		w.repeated.Add(int64(again - w.sent))
	}
	w.sent, w.tried = end, max(w.tried, end)
}

// confirm takes replies of the broker. It reports whether they can be true.
func (w *window) confirm(owner *link, replies []reply) bool {
	w.acking.Lock()
	defer w.acking.Unlock()
	w.mu.Lock()
	before, credible := w.tail, true
	if w.owner == owner {
		for i := 0; i < len(replies) && credible; i++ {
			credible = w.reply(replies[i])
		}
	}
	w.published.Add(int64(w.tail - before))
	w.release(before)
	return credible
}

// reply takes one reply, with mu held.
func (w *window) reply(r reply) bool {
	switch r.kind {
	case returned:
		w.unroutable.Add(1)
		return true
	case nack:
		w.nacked.Add(1)
	}
	switch {
	case r.multiple && r.tag == 0: // all there are
		r.tag = w.baseTag + w.sent - w.base - 1
	case r.tag == 0: // tags are counted from 1
		return false
	}
	if r.tag < w.baseTag {
		return true
	}
	if r.tag-w.baseTag >= w.sent-w.base {
		return false
	}
	last := w.base + (r.tag - w.baseTag)
	first := last
	if r.multiple {
		first = w.tail
	}
	if r.kind == nack {
		if last < w.tail || w.confirmed[last&w.mask] {
			return false // it was confirmed
		}
		for first < last && w.confirmed[first&w.mask] {
			first++
		}
		w.rejected = min(w.rejected, first)
		signal(w.wake)
		return true
	}
	if first > w.tail {
		w.confirmed[last&w.mask] = true
		return true
	}
	// What was nacked has had its reply: a confirm of all up to a later tag is not
	// about it.
	w.tail = max(w.tail, min(last+1, w.rejected))
	for w.tail < w.sent && w.tail != w.rejected && w.confirmed[w.tail&w.mask] {
		w.tail++
	}
	return true
}

// patient reports whether confirms may be a little late.
func (w *window) patient() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size >= patientWindow && !w.watched
}

// drop acknowledges the poisoned event, which is at tail and not in flight.
func (w *window) drop() {
	w.acking.Lock()
	defer w.acking.Unlock()
	w.mu.Lock()
	before := w.tail
	w.baseTag += w.sent - w.base
	w.tail++
	w.sent, w.base, w.poisoned = w.tail, w.tail, none
	w.tried = max(w.tried, w.tail)
	w.release(before)
}

// release acknowledges the events from before to tail, and unlocks mu. acking is
// held.
func (w *window) release(before uint64) {
	n := int(w.tail - before)
	for p := before; p < w.tail; p++ {
		w.events[p&w.mask], w.confirmed[p&w.mask] = nil, false
	}
	acked := w.acked
	// Few long waits of Publish cost less than many short ones.
	if w.waiting && w.size-(w.head-w.tail) >= (w.size+3)/4 {
		w.waiting = false
		signal(w.room)
	}
	if n > 0 && w.watched {
		signal(w.wake)
	}
	w.mu.Unlock()
	if n > 0 {
		acked(n)
	}
}

// places is a look at a window.
type places struct {
	tail, sent, head, tried, rejected, poisoned uint64
}

// look returns the places. From now on wake is signalled at every acknowledgement
// if watch is true.
func (w *window) look(watch bool) places {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched = watch
	return places{w.tail, w.sent, w.head, w.tried, w.rejected, w.poisoned}
}

// poison marks the event at p as one to be set aside: neither it nor any behind it
// is sent before that is done.
func (w *window) poison(p uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.poisoned = p
}

// oldest returns the event at tail, or nil, how many events there are, and since
// when the oldest has been here.
func (w *window) oldest() (ev *sinks.Event, n int, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == w.head {
		return nil, 0, time.Time{}
	}
	return w.events[w.tail&w.mask], int(w.head - w.tail), time.Unix(0, w.added[w.tail&w.mask])
}
