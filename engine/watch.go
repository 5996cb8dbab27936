// This file says what the shards wait for: no wait is silent.

package engine

import (
	"context"
	"time"
)

const (
	// watchEvery is how often waits are looked for, and logged.
	watchEvery = time.Minute
	// fullEvery is how often the queue is looked at. Full at two of these looks, with no event
	// acknowledged between them, is a sink that takes nothing, and not one that is slow.
	fullEvery = 5 * time.Second
	// firstWarning is how long a shard waits for READY or RESUMED before it says so.
	firstWarning = 30 * time.Second
)

// watch logs, each minute until ctx is done, what shards have waited for longer than that. A
// shard that waits for READY or RESUMED logs that by itself.
func (e *Engine) watch(ctx context.Context, f *shardSet) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	looks := time.NewTicker(fullEvery)
	defer looks.Stop()
	full := fullQueue{e: e, p: f.publisher}
	for {
		select {
		case <-ticker.C:
		case <-looks.C:
			now := time.Now()
			full.look(now)
			f.publisher.progress.look(f.publisher, now)
			continue
		case <-ctx.Done():
			return
		}
		now := time.Now()
		for state := range numStates {
			e.logWaits(f, state, now)
		}
	}
}

// fullQueue logs that the queue is full, so that nothing is read from Discord: once it is full and
// no event is acknowledged, or is full for a minute; each minute after that; and its end.
type fullQueue struct {
	e *Engine
	p *publisher

	since, logged time.Time // zero: it is not
	acked         uint64    // at the last look
}

func (q *fullQueue) look(now time.Time) {
	acked := q.p.acked.Load()
	still := acked == q.acked
	q.acked = acked
	switch {
	case !q.e.Full():
		if !q.logged.IsZero() {
			q.e.opts.Log.Info("event queue no longer full; reading resumed", "after", now.Sub(q.since).Round(time.Second))
		}
		q.since, q.logged = time.Time{}, time.Time{}
	case q.since.IsZero():
		q.since = now
	case q.logged.IsZero() && (still || now.Sub(q.since) >= watchEvery), !q.logged.IsZero() && now.Sub(q.logged) >= watchEvery:
		q.logged = now
		q.e.opts.Log.Warn("event queue full; reading paused until the sink accepts events",
			"for", now.Sub(q.since).Round(time.Second), "bytes", q.e.opts.QueueBytes, "waiting", q.p.waiting())
	}
}

// logWaits logs the shards that have been in a state for long in which none stays: stopped only
// those that are removed, whose events the sink has not acknowledged.
func (e *Engine) logWaits(f *shardSet, state State, now time.Time) {
	switch state {
	case Idle, Identifying, Resuming, Ready:
		return
	}
	shards, first, longest := 0, 0, time.Duration(0)
	for _, s := range f.everyone() {
		if since := now.Sub(time.Unix(0, s.counters.since.Load())); s.state() == state && since >= watchEvery && (state != Stopped || s.leaving.Load()) {
			if shards++; since > longest {
				first, longest = s.id, since
			}
		}
	}
	if shards == 0 {
		return
	}
	attrs := []any{"state", state, "shards", shards, "longest", longest.Round(time.Second), "shard", first}
	if state == IdentifyQueued {
		attrs = append(attrs, "session_starts", f.env.turns.Left())
	}
	e.opts.Log.Info("shards wait", attrs...)
}

// warn logs that READY or RESUMED has not come, after half a minute and then each minute.
func (s *shard) warn(now time.Time, what string) {
	if now.Before(s.warnAt) {
		return
	}
	s.warnAt = now.Add(watchEvery)
	s.log.Warn("no "+what+" yet", "after", now.Sub(s.askedAt).Round(time.Second),
		"heartbeats_unanswered", s.beat.unanswered, "reading_paused", s.paused)
}
