// This file has the window as those see it who fill it and who send from it.

// Package window keeps the order of acknowledgements for a sink whose broker confirms messages one by
// one, and out of order. It holds the events between Publish and their acknowledgement: which are to
// be sent, which were sent, which the broker has taken. It does no I/O and starts no goroutine.
//
// Three goroutines share a Window:
//
//   - That of Sink.Publish adds events, and waits on Headroom while there is no capacity for more.
//   - That of the connection's sender takes the next ones, sends them, and waits on Woken. After a failure
//     it goes back to the oldest that is not acknowledged: Begin on another connection, Rewind on the same.
//   - That of the connection's reader hands over the broker's replies to Confirm, which acknowledges
//     events once they and all before them are taken.
//
// A broker that gives its replies out of order may still take what is sent behind a message that it
// refuses. Who must not have events taken out of order then sends one at a time until the refused one
// is through: Places.Tried says up to where.
package window

import (
	"math"
	"sync"
	"time"

	"sluice/sinks"
)

// None is the place of no event.
const None = math.MaxUint64

// Window holds events, up to its capacity. An event's place is its number, counted from 0.
//
//	acknowledged   sent, waiting for replies   not sent   free
//	             ^ Tail                      ^ Sent     ^ Head
//
// It allocates nothing after New. Its methods may be called by any goroutine, and hold a mutex for a
// short time; but one goroutine at a time may call Add, and one Begin, Rewind, Next, Sending, Poison
// and Drop.
type Window struct {
	mu        sync.Mutex
	events    []*sinks.Event // the event at place p is in slot p & mask
	added     []int64        // when it came, in nanoseconds since 1970
	confirmed []bool         // though one before it is not
	mask      uint64
	capacity  uint64

	at Places
	// The event at base was sent as baseNumber, the next as the next, up to Sent. Replies to
	// earlier numbers are about an earlier try and mean nothing.
	base, baseNumber uint64
	conn             any // whose replies count

	acked   func(n int)
	waiting bool // Publish waits for headroom
	watched bool // the sender is woken at every acknowledgement
	stats   Stats

	acking sync.Mutex // held around acked, which one goroutine calls at a time; taken before mu

	headroom chan struct{} // holds one
	woken    chan struct{} // holds one
}

// Places say where a window stands.
type Places struct {
	Tail  uint64 // the oldest event that is not acknowledged
	Sent  uint64 // the first that is not sent
	Head  uint64 // where the next one is added
	Tried uint64 // those below have been sent at least once

	Refused  uint64 // the first that the broker has refused since Begin or Rewind, or None
	Poisoned uint64 // that of Poison, or None
}

// Stats are counts since New.
type Stats struct {
	Acknowledged int64 // events that the broker has taken, without those that were dropped
	Repeated     int64 // events sent again
	Refused      int64 // replies with Refused, each of which may be of many events
}

// New returns a window for up to capacity events.
func New(capacity int) *Window {
	slots := 1
	for slots < capacity {
		slots *= 2
	}
	return &Window{
		events:     make([]*sinks.Event, slots),
		added:      make([]int64, slots),
		confirmed:  make([]bool, slots),
		mask:       uint64(slots - 1),
		capacity:   uint64(capacity),
		baseNumber: 1,
		at:         Places{Refused: None, Poisoned: None},
		headroom:   make(chan struct{}, 1),
		woken:      make(chan struct{}, 1),
	}
}

// signal leaves a note in c, which holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Add takes the first events of batch, as many as there is headroom for, and returns how many that
// were; if that is not all, Headroom is signalled when there is more. It wakes the sender. The
// events, and what they point to, are borrowed until acked has acknowledged them, or Abandon has
// returned. acked is that of Sink.Publish, for this batch and all before it: it is called within
// Confirm and Drop, and must call neither, nor Abandon.
func (w *Window) Add(batch []sinks.Event, acked func(n int)) int {
	now := time.Now().UnixNano()
	w.mu.Lock()
	n := min(len(batch), int(w.capacity-(w.at.Head-w.at.Tail)))
	for i := range batch[:n] {
		at := w.at.Head & w.mask
		w.events[at], w.added[at] = &batch[i], now
		w.at.Head++
	}
	w.acked = acked
	w.waiting = n < len(batch)
	w.mu.Unlock()
	if n > 0 {
		signal(w.woken)
	}
	return n
}

// Headroom returns a channel that has a value when Add, which has not taken all, may take more: when a
// quarter of the capacity is free, since few long waits cost less than many short ones.
func (w *Window) Headroom() <-chan struct{} { return w.headroom }

// Woken returns a channel that has a value when there may be something for the sender to do: events
// were added, the broker has refused one, Wake was called, or, after Look(true), events were
// acknowledged.
func (w *Window) Woken() <-chan struct{} { return w.woken }

// Wake wakes the sender.
func (w *Window) Wake() { signal(w.woken) }

// Begin prepares for another connection: all events are to be sent, numbered from 1, and only replies
// that Confirm is given with the same conn, a comparable value, count.
func (w *Window) Begin(conn any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn
	w.restart(1)
}

// Rewind has what is not acknowledged sent again on the same connection, whose numbers go on: what
// the broker has taken behind a refused event, too, so that the order is kept.
func (w *Window) Rewind() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restart(w.baseNumber + w.at.Sent - w.base)
}

func (w *Window) restart(number uint64) {
	for p := w.at.Tail; p < w.at.Sent; p++ {
		w.confirmed[p&w.mask] = false
	}
	w.at.Sent, w.base, w.baseNumber, w.at.Refused = w.at.Tail, w.at.Tail, number, None
}

// nobody is a connection that has no replies.
type nobody struct{}

// Abandon ends all acknowledgements: no reply counts any more. When it returns acked is not being
// called, and no event is borrowed.
func (w *Window) Abandon() {
	w.acking.Lock()
	defer w.acking.Unlock()
	w.Begin(nobody{})
}

// Next appends to dst the events that are to be sent next, most at most. They stay borrowed.
func (w *Window) Next(dst []*sinks.Event, most int) []*sinks.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := w.at.Sent; p < min(w.at.Head, w.at.Poisoned, w.at.Sent+uint64(most)); p++ {
		dst = append(dst, w.events[p&w.mask])
	}
	return dst
}

// Sending notes that the first n events of Next are about to be sent: from here on replies can be about
// them. They are numbered in this order. It returns how many of them were sent before.
func (w *Window) Sending(n int) (again int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := w.at.Sent + uint64(n)
	again = max(int(min(w.at.Tried, end))-int(w.at.Sent), 0)
	w.stats.Repeated += int64(again)
	w.at.Sent, w.at.Tried = end, max(w.at.Tried, end)
	return again
}

// Poison marks the event at a place as one that the broker will never take: neither it nor any
// behind it is sent before it is dropped.
func (w *Window) Poison(place uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at.Poisoned = place
}

// Look returns the places. From now on the sender is woken at every acknowledgement if watch is true.
func (w *Window) Look(watch bool) Places {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched = watch
	return w.at
}

// Watched reports whether Look(true) was the last call of Look: whether replies are urgent.
func (w *Window) Watched() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched
}

// Oldest returns the event at Tail, borrowed until it is acknowledged, or nil; how many events there
// are; and since when the oldest has been here.
func (w *Window) Oldest() (ev *sinks.Event, n int, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at.Tail == w.at.Head {
		return nil, 0, time.Time{}
	}
	return w.events[w.at.Tail&w.mask], int(w.at.Head - w.at.Tail), time.Unix(0, w.added[w.at.Tail&w.mask])
}

// Stats returns the counts as they stand.
func (w *Window) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}
