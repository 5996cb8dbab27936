// This file bounds the long answers that are sent at the same time, each of which is in memory as a whole.

package admin

import (
	"container/list"
	"context"
	"io"
	"sync"
	"time"
)

// answers are at most max. For another the one has to go of which nothing was read for the longest time,
// once it is so long; until then the other waits. Who reads keeps an answer until the time of the
// server is over.
type answers struct {
	max   int
	still time.Duration

	turn chan struct{} // has a value while one waits for room: the others wait behind it

	mu   sync.Mutex
	list list.List // of *answer, those being made first, then the one that has stood still longest
}

func newAnswers(max int, still time.Duration) *answers {
	return &answers{max: max, still: still, turn: make(chan struct{}, 1)}
}

// answer is one that is made or sent.
type answer struct {
	of    *answers
	conn  *conn // nil: of none, as in a handler's test
	elem  *list.Element
	moved time.Time // zero: it is being made
}

// begin returns an answer once there is room for it; nil: the client has gone meanwhile.
func (as *answers) begin(ctx context.Context, c *conn) *answer {
	select {
	case as.turn <- struct{}{}:
		defer func() { <-as.turn }()
	case <-ctx.Done():
		return nil
	}
	a := &answer{of: as, conn: c}
	for !as.room(a) {
		select {
		case <-time.After(roomEvery):
		case <-ctx.Done():
			return nil
		}
	}
	return a
}

// room adds the answer if there is room, or one can go.
func (as *answers) room(a *answer) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.list.Len() >= as.max {
		elem := as.list.Front()
		for elem != nil && elem.Value.(*answer).moved.IsZero() {
			elem = elem.Next()
		}
		if elem == nil || time.Since(elem.Value.(*answer).moved) < as.still {
			return false
		}
		old := as.list.Remove(elem).(*answer)
		old.elem = nil
		if old.conn != nil {
			old.conn.drop()
		}
	}
	a.elem = as.list.PushFront(a)
	return true
}

// move notes that the answer is made, or that the client has taken something of it.
func (a *answer) move() {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if a.elem != nil {
		a.moved = time.Now()
		a.of.list.MoveToBack(a.elem)
	}
}

// end makes room.
func (a *answer) end() {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if a.elem != nil {
		a.of.list.Remove(a.elem)
		a.elem = nil
	}
}

// send writes the answer in pieces.
func (a *answer) send(w io.Writer, text []byte) {
	for len(text) > 0 {
		n, err := w.Write(text[:min(piece, len(text))])
		if err != nil {
			return
		}
		text = text[n:]
		a.move()
	}
}
