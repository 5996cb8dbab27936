// This file has the requests that wait.

package identify

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/engine"
)

var errCrowded = errors.New("too many requests wait")

// lines are the requests that wait, by shard.
type lines struct {
	queue engine.IdentifyQueue
	max   int // of waiting

	mu      sync.Mutex
	all     map[int]*line
	waiting int
	given   int64 // turns
}

// line are the requests for a shard, the first of which has its place in the queue.
type line struct {
	requests []chan struct{} // each is closed when the request is the first
	turn     chan struct{}   // has a value when the place's turn has come
}

// granted notes that the turn has come.
func (l *line) granted() {
	select {
	case l.turn <- struct{}{}:
	default:
	}
}

func (ls *lines) counts() (given int64, waiting int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.given, ls.waiting
}

// wait returns nil when the shard may identify. A request that hangs up before uses no turn up.
func (ls *lines) wait(ctx context.Context, shard int) error {
	first := make(chan struct{})
	ls.mu.Lock()
	if ls.waiting >= ls.max {
		ls.mu.Unlock()
		return errCrowded
	}
	ls.waiting++
	l := ls.all[shard]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		ls.all[shard] = l
		close(first)
		ls.queue.Join(shard, l.granted)
	}
	l.requests = append(l.requests, first)
	ls.mu.Unlock()

	for {
		ok, err := ls.turn(ctx, shard, l, first)
		if ok || err != nil {
			ls.leave(shard, l, first, ok)
			return err
		}
	}
}

// turn waits for the shard's turn and uses it; false: it was too late for that, and the request waits again.
func (ls *lines) turn(ctx context.Context, shard int, l *line, first chan struct{}) (used bool, err error) {
	for _, c := range []chan struct{}{first, l.turn} {
		select {
		case <-c:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	for {
		at := ls.queue.NotBefore(shard)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			l.granted() // it is the next one's
			return false, ctx.Err()
		case !now.Before(at):
			if !ls.queue.Spend(shard, now) {
				ls.queue.Join(shard, l.granted)
				return false, nil
			}
			return true, nil
		}
		select {
		case <-time.After(at.Sub(now)):
		case <-l.turn: // it may be used earlier
		case <-ctx.Done():
		}
	}
}

// leave takes a request out of its line. The next one has its place, or joins again if that was used.
func (ls *lines) leave(shard int, l *line, request chan struct{}, used bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.waiting--
	if used {
		ls.given++
	}
	i := 0
	for l.requests[i] != request {
		i++
	}
	l.requests = append(l.requests[:i], l.requests[i+1:]...)
	switch {
	case len(l.requests) == 0:
		delete(ls.all, shard)
		if !used {
			ls.queue.Leave(shard)
		}
	case i == 0:
		if used {
			ls.queue.Join(shard, l.granted)
		}
		close(l.requests[0])
	}
}
