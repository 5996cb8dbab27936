// This file is the way from the readers to the sink: a queue bounded in bytes,
// and the lane that empties it.

package engine

import (
	"context"
	"sync"

	"github.com/valyala/bytebufferpool"
)

// Bounds of one call of Sink.Publish.
const (
	maxBatchEvents = 1024
	maxBatchBytes  = 1 << 20
)

// queue holds events between the readers and the lane. Any goroutine may push,
// one takes.
type queue struct {
	mu      sync.Mutex
	pending []Event
	bytes   int // of the pending events and of those that the lane has taken and not released
	limit   int // bytes above which the readers pause
	paused  []*shard
	closed  bool
	// nonEmpty holds a token when the lane has something to look at.
	nonEmpty chan struct{}
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, nonEmpty: make(chan struct{}, 1)}
}

// push appends an event. It never refuses one: readers ask full before they
// take the next message from a socket, so the bound is exceeded by at most one
// message for each shard.
func (q *queue) push(ev Event) {
	q.mu.Lock()
	q.pending = append(q.pending, ev)
	q.bytes += ev.size
	first := len(q.pending) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
}

func (q *queue) signal() {
	select {
	case q.nonEmpty <- struct{}{}:
	default:
	}
}

// full reports whether s must pause. A paused shard is woken when half of the
// bound is free again.
func (q *queue) full(s *shard) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes < q.limit {
		return false
	}
	q.paused = append(q.paused, s)
	return true
}

// take waits for events and exchanges the queue's slice of them for the
// caller's empty one. It returns nil when the queue is closed and empty.
func (q *queue) take(empty []Event) []Event {
	for {
		q.mu.Lock()
		if len(q.pending) > 0 {
			events := q.pending
			q.pending = empty
			q.mu.Unlock()
			return events
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.nonEmpty
	}
}

// release gives back the bytes of events that the sink has taken.
func (q *queue) release(bytes int) {
	q.mu.Lock()
	q.bytes -= bytes
	var wake []*shard
	if q.bytes <= q.limit/2 && len(q.paused) > 0 {
		wake, q.paused = q.paused, nil
	}
	q.mu.Unlock()
	for _, s := range wake {
		s.post(mailRoom)
	}
}

// close lets take return nil once the queue is empty.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// runLane offers events to the sink until the queue is closed and empty, or the
// sink fails.
func runLane(ctx context.Context, q *queue, sink Sink) error {
	var events []Event
	for {
		events = q.take(events[:0])
		if events == nil {
			return nil
		}
		for done := 0; done < len(events); {
			batch := events[done : done+batchLen(events[done:])]
			acked, err := sink.Publish(ctx, batch)
			acknowledge(q, batch[:acked])
			done += acked
			if err != nil {
				return err
			}
		}
		clear(events) // no pointers into returned buffers are kept
		if cap(events) > 16*maxBatchEvents {
			events = make([]Event, 0, maxBatchEvents) // after a stall of the sink
		}
	}
}

// batchLen returns how many of the first events go into one call of Publish.
func batchLen(events []Event) int {
	n, bytes := 0, 0
	for n < len(events) && n < maxBatchEvents && (n == 0 || bytes+events[n].size <= maxBatchBytes) {
		bytes += events[n].size
		n++
	}
	return n
}

// acknowledge notes that the sink has the events and returns their buffers.
func acknowledge(q *queue, events []Event) {
	bytes := 0
	for i := range events {
		ev := &events[i]
		if ev.Seq > 0 {
			ev.origin.acked.Store(ev.Seq)
		}
		bytes += ev.size
		bytebufferpool.Put(ev.buf)
		ev.buf = nil
	}
	if bytes > 0 {
		q.release(bytes)
	}
}
