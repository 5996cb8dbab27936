// This file is what one side has shown and the other has not.

package overlap

import (
	"bytes"
	"time"

	"sluice/sinks"
)

// table holds events by their hash, of which there may be several, in the order in which they came. It grows up to a
// bound, and allocates nothing otherwise but for the copies of large events.
type table struct {
	most  int
	heads []int32 // by hash: the newest of a chain, plus one
	items []item
	free  int32 // the first of a chain of free items, plus one
	front int32 // the oldest, plus one
	back  int32 // the newest, plus one
	n     int
	bytes int // of the copies
}

// item is an event. Links are places in items, plus one; 0: none.
type item struct {
	hash          uint64
	at            time.Duration
	chain         int32       // the next one, older, of its head
	before, after int32       // in the order in which they came
	event         sinks.Event // that is kept; of what is noted alone, its Shard, Session and Seq
	buf           []byte      // of the copy, reused
}

const (
	firstItems = 1024
	// keptBuffer bounds the buffers that are reused.
	keptBuffer = 1 << 10
	overhead   = 256 // bytes of an event that is kept, beside its own
)

func newTable(most int) *table {
	t := &table{most: max(most, 1)}
	t.grow(min(firstItems, t.most))
	return t
}

// grow makes room for so many items.
func (t *table) grow(n int) {
	old := len(t.items)
	items := make([]item, n)
	copy(items, t.items)
	t.items = items
	for i := n - 1; i >= old; i-- {
		t.items[i].chain = t.free
		t.free = int32(i + 1)
	}
	size := 1
	for size < 2*n {
		size *= 2
	}
	t.heads = make([]int32, size)
	for at := t.front; at != 0; at = t.items[at-1].after {
		t.link(at)
	}
}

func (t *table) head(hash uint64) *int32 { return &t.heads[hash&uint64(len(t.heads)-1)] }

func (t *table) link(at int32) {
	i := &t.items[at-1]
	h := t.head(i.hash)
	i.chain, *h = *h, at
}

// add notes an event. It returns true if the oldest had to go for it.
func (t *table) add(hash uint64, now time.Duration, ev *sinks.Event) (full bool) {
	if t.free == 0 && len(t.items) < t.most {
		t.grow(min(2*len(t.items), t.most))
	}
	if t.free == 0 {
		t.removeOldest()
		full = true
	}
	at := t.free
	i := &t.items[at-1]
	t.free = i.chain
	i.hash, i.at = hash, now
	i.event = sinks.Event{Shard: ev.Shard, Session: ev.Session, Seq: ev.Seq}
	i.before, i.after = t.back, 0
	if t.back != 0 {
		t.items[t.back-1].after = at
	} else {
		t.front = at
	}
	t.back = at
	t.link(at)
	t.n++
	return full
}

// keep notes an event with a copy of it.
func (t *table) keep(hash uint64, now time.Duration, ev *sinks.Event) {
	t.add(hash, now, ev)
	i := &t.items[t.back-1]
	i.buf = append(append(i.buf[:0], ev.Type...), ev.Data...)
	i.event = *ev
	n := len(ev.Type)
	i.event.Type, i.event.Data = i.buf[:n:n], i.buf[n:]
	t.bytes += len(i.buf) + overhead
}

// find returns the oldest event with a hash.
func (t *table) find(hash uint64) (found int32, ok bool) {
	for at := *t.head(hash); at != 0; at = t.items[at-1].chain {
		if t.items[at-1].hash == hash {
			found = at
		}
	}
	return found, found != 0
}

// oldest returns when the oldest has come.
func (t *table) oldest() (at time.Duration, ok bool) {
	if t.front == 0 {
		return 0, false
	}
	return t.items[t.front-1].at, true
}

// renew has everything have come now.
func (t *table) renew(now time.Duration) {
	for at := t.front; at != 0; at = t.items[at-1].after {
		t.items[at-1].at = now
	}
}

func (t *table) removeOldest() { t.remove(t.front) }

func (t *table) remove(at int32) {
	i := &t.items[at-1]
	link := t.head(i.hash)
	for *link != at {
		link = &t.items[*link-1].chain
	}
	*link = i.chain
	if i.before != 0 {
		t.items[i.before-1].after = i.after
	} else {
		t.front = i.after
	}
	if i.after != 0 {
		t.items[i.after-1].before = i.before
	} else {
		t.back = i.before
	}
	if i.event.Type != nil {
		t.bytes -= len(i.buf) + overhead
		i.event = sinks.Event{}
		if i.buf = i.buf[:0]; cap(i.buf) > keptBuffer {
			i.buf = nil
		}
	}
	i.chain, t.free = t.free, at
	t.n--
}

func (t *table) clear() {
	for t.front != 0 {
		t.removeOldest()
	}
}

// removeAll removes the events that are so.
func (t *table) removeAll(is func(ev *sinks.Event) bool) {
	for at := t.front; at != 0; {
		next := t.items[at-1].after
		if is(&t.items[at-1].event) {
			t.remove(at)
		}
		at = next
	}
}

// full reports whether the next event replaces the oldest.
func (t *table) full() bool { return t.free == 0 && len(t.items) == t.most }

// first returns the oldest event that is kept of a session.
func (t *table) first(shard int, session string) (seq int64, ok bool) {
	for at := t.front; at != 0; at = t.items[at-1].after {
		if ev := &t.items[at-1].event; ev.Shard == shard && ev.Session == session {
			return ev.Seq, true
		}
	}
	return 0, false
}

// take empties the table, and returns what was kept, in order: the caller owns it.
func (t *table) take() (events []sinks.Event) {
	for at := t.front; at != 0; at = t.items[at-1].after {
		ev := t.items[at-1].event
		ev.Type, ev.Data = bytes.Clone(ev.Type), bytes.Clone(ev.Data)
		events = append(events, ev)
	}
	t.clear()
	return events
}
