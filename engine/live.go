// This file says whether an engine makes progress by itself, whatever Discord and the sink do.

package engine

import (
	"fmt"
	"sync/atomic"
	"time"
)

// stuckAfter is how long one turn of a reader or of the publisher may take: it is some
// milliseconds, or a write of ten seconds to a peer that does not read.
const stuckAfter = 30 * time.Second

// turn is when a goroutine began to work, for others to see.
type turn struct {
	began atomic.Int64 // see publisher.since; written by it
	waits atomic.Bool
}

// works notes that the goroutine works since a moment.
func (t *turn) works(since int64) {
	t.began.Store(since)
	t.waits.Store(false)
}

// rests notes that it waits.
func (t *turn) rests() { t.waits.Store(true) }

func (t *turn) status(p *publisher) ReaderStatus {
	waits := t.waits.Load() // before began: a turn that has just begun is not taken for an old one
	return ReaderStatus{Turned: p.moment(t.began.Load()), Waits: waits}
}

// progress is whether the publisher's goroutine works, and which of its turns it is.
type progress struct {
	turns atomic.Uint64 // odd while it works

	seen  atomic.Uint64 // turns, at the last look
	since atomic.Int64  // the first look that has seen it; see publisher.since
}

// look notes the turn of now. One goroutine calls it, every fullEvery.
func (t *progress) look(p *publisher, now time.Time) {
	if n := t.turns.Load(); n != t.seen.Load() {
		t.since.Store(p.since(now))
		t.seen.Store(n)
	}
}

// stuck returns for how long the publisher has worked on one turn, of those that were looked at; 0: it
// does not.
func (t *progress) stuck(p *publisher, now time.Time) time.Duration {
	n := t.seen.Load()
	since := p.moment(t.since.Load())
	if n%2 == 0 || n != t.turns.Load() {
		return 0
	}
	return now.Sub(since)
}

// Live returns nil if the engine makes progress, or an error that names what does not: a
// goroutine that reads for shards, or the one that publishes, has worked on one turn for longer than
// half a minute. To wait is progress, however long it takes: for sockets, for a sink that takes nothing, for a turn to
// identify, for the API. Before Run has its shards, and after it, an engine is live.
func (e *Engine) Live(now time.Time) error {
	f := e.running.Load()
	if f == nil {
		return nil
	}
	select {
	case <-e.ended:
		return nil
	default:
	}
	for i, r := range f.reader.status(nil, f.everyone()) {
		if took := now.Sub(r.Turned); !r.Waits && took > stuckAfter {
			return fmt.Errorf("engine: reader %d is stuck: it has worked on one turn for %v", i, took.Round(time.Second))
		}
	}
	if took := f.publisher.progress.stuck(f.publisher, now); took > stuckAfter {
		return fmt.Errorf("engine: the publisher is stuck: it has worked on one turn for %v", took.Round(time.Second))
	}
	return nil
}
