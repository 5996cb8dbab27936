// This file stops publishing where a broker cannot refuse a former owner.

package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice/sinks"
)

// Hold returns a sink before one that is no sinks.Claimer. Nothing is given to inner while the member is not
// trusted: that waits. Events of a shard that the member does not own under their Epoch are dropped: it was deposed
// meanwhile, and their new owner has them again from Discord. trusted and owned are those of a Fleet: Trusted and Owns.
//
// What inner has taken before is beyond that.
func Hold(inner sinks.Sink, trusted func() bool, owned func(shard int, epoch int64) bool, log *slog.Logger) sinks.Sink {
	h := &held{Sink: inner, trusted: trusted, owned: owned, log: log}
	h.ack = h.acknowledge
	return h
}

// holdPoll is how often a batch that waits asks again.
const holdPoll = 50 * time.Millisecond

type held struct {
	sinks.Sink
	trusted func() bool
	owned   func(shard int, epoch int64) bool
	log     *slog.Logger
	ack     func(int) // acknowledge

	mu      sync.Mutex // held while acked is called, which one goroutine does at a time
	acked   func(int)
	unacked int       // of those that inner was given
	dropped []dropped // behind them, in order
}

// dropped are events that inner was not given.
type dropped struct {
	behind int // so many unacked ones
	n      int
}

// Publish gives inner what is owned, once this member is trusted.
func (h *held) Publish(ctx context.Context, batch []sinks.Event, acked func(n int)) error {
	h.mu.Lock()
	h.acked = acked
	h.mu.Unlock()
	var since time.Time // it waits
	drops := 0
	for len(batch) > 0 {
		trusted := h.trusted() // first: what it loses after that is seen as not owned
		n, owned := h.look(batch)
		switch {
		case !owned:
			h.drop(n)
			drops += n
		case trusted:
			h.resumed(since)
			since = time.Time{}
			h.mu.Lock()
			h.unacked += n
			h.mu.Unlock()
			if err := h.Sink.Publish(ctx, batch[:n], h.ack); err != nil {
				return err
			}
		default:
			if since.IsZero() {
				since = time.Now()
				h.log.Warn("fleet: the coordinator has not confirmed this member for a while, so that others may have deposed it; nothing is published until it does", "in_flight", h.inFlight())
			}
			if sleep(ctx, holdPoll) != nil {
				return fmt.Errorf("fleet: this member is not confirmed: %w", context.Cause(ctx))
			}
			continue
		}
		batch = batch[n:]
	}
	h.resumed(since)
	if drops > 0 {
		h.log.Warn("fleet: events of shards that this member has lost are not published; their owners publish them", "events", drops)
	}
	return nil
}

// inFlight returns how many events inner was given and has not acknowledged.
func (h *held) inFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unacked
}

// resumed logs the end of a wait that has begun then; zero: there was none.
func (h *held) resumed(since time.Time) {
	if !since.IsZero() {
		h.log.Info("fleet: this member publishes again", "after", time.Since(since).Round(time.Millisecond))
	}
}

// look returns how many of the first events are owned, or how many are not.
func (h *held) look(batch []sinks.Event) (n int, owned bool) {
	for i := range batch {
		ev, is := &batch[i], owned
		if i == 0 || ev.Shard != batch[i-1].Shard || ev.Epoch != batch[i-1].Epoch {
			is = h.owned(ev.Shard, ev.Epoch)
		}
		if i == 0 {
			owned = is
		}
		if is != owned {
			return i, owned
		}
	}
	return len(batch), owned
}

// drop acknowledges events that inner is not given, once what is before them is.
func (h *held) drop(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unacked == 0 {
		h.acked(n)
		return
	}
	h.dropped = append(h.dropped, dropped{h.unacked, n})
}

// acknowledge takes the acknowledgements of inner.
func (h *held) acknowledge(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unacked -= n
	all, gone := n, 0
	for i := range h.dropped {
		d := &h.dropped[i]
		if d.behind -= n; d.behind <= 0 {
			all += d.n
			gone++
		}
	}
	h.dropped = h.dropped[gone:]
	if len(h.dropped) == 0 {
		h.dropped = nil
	}
	h.acked(all)
}
