// This file keeps a store up with a running engine.

package resume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"

	"sluice/engine"
	"sluice/internal/failpoint"
	"sluice/sinks"
	"sluice/wire"
)

// Keeper writes the checkpoints of an engine to a store, behind the events: what
// is stored is never ahead of what the sink has acknowledged. Store, Bot and Log are
// required. Its methods are called by one goroutine at a time.
type Keeper struct {
	Store   Store
	Bot     uint64        // FingerprintAt of the bot's token and server
	OldBot  uint64        // that earlier versions stored, and counts as Bot: Fingerprint of the token; 0: nothing does
	Intents wire.Intents  // that its sessions have
	MaxAge  time.Duration // of a checkpoint that is resumed; 0: 1 h. Discord keeps sessions for minutes.
	Every   time.Duration // how often checkpoints are written; 0: 100 ms
	Log     *slog.Logger

	wake    chan struct{} // holds one
	saved   State         // what the store has
	failing time.Time     // since when it takes nothing; zero: it does
	tried   time.Time     // when it was last asked to
	told    time.Time
	refused map[int]string // the sessions that cannot be stored, by shard
}

const (
	// retryAfter is how long a store that fails is left alone.
	retryAfter = time.Second
	// checkEvery is how often a store is asked for what it should have, at least.
	checkEvery = 5 * time.Second
	// startsWindow is the longest that a count of session starts may last: Discord's day, and
	// an hour for clocks that differ.
	startsWindow = 25 * time.Hour
)

// Load returns the sessions in the store that can be resumed, and the count of Identifies,
// for engine.Options. What belongs to another bot or other intents, or is too old, is logged
// and discarded; but for another bot's it is a gap. After an error the Keeper may be run all the same.
func (k *Keeper) Load(ctx context.Context) (map[int]engine.Session, engine.Starts, error) {
	if k.wake == nil { // also for who goes on without what is stored
		k.wake = make(chan struct{}, 1)
	}
	if k.MaxAge == 0 {
		k.MaxAge = time.Hour
	}
	state, err := k.Store.Load(ctx)
	if err != nil {
		return nil, engine.Starts{}, fmt.Errorf("resume: %w", err)
	}
	k.saved = state
	if n := len(state.Unreadable); n > 0 {
		k.Log.Warn("some of the stored sessions cannot be read; the others count", "records", n, "error", state.Unreadable[0])
	}
	if until := time.Until(state.Starts.Until); until > startsWindow {
		k.Log.Warn("the stored count of session starts ends later than in a day; it is discarded", "count", state.Starts.Count, "until", state.Starts.Until.Format(time.RFC3339))
		state.Starts = engine.Starts{}
	}
	sessions := make(map[int]engine.Session)
	why := make(map[string][]int)
	discard := func(shard int, reason string) { why[reason] = append(why[reason], shard) }
	for shard, c := range state.Checkpoints {
		reason := ""
		switch {
		case c.Bot != 0 && c.Bot != k.Bot && c.Bot != k.OldBot:
			discard(shard, "another token or server")
			continue
		case c.ID == "": // a gap alone
		case c.Bot != 0 && c.Intents != k.Intents:
			reason = "other intents"
		case !c.At.IsZero() && time.Since(c.At) > k.MaxAge:
			reason = "too old"
		}
		if reason != "" {
			discard(shard, reason)
			c.AddGap(sinks.Gap{Session: c.ID, Seq: c.Seq, At: time.Now().UnixMilli(), Reason: "the stored session was discarded: " + reason})
			c.Session = engine.Session{Gaps: c.Gaps}
		}
		sessions[shard] = c.Session
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		shards := why[reason]
		slices.Sort(shards)
		k.Log.Warn("stored sessions discarded: these shards identify", "reason", reason, "shards", len(shards), "first", shards[0])
	}
	return sessions, state.Starts, nil
}

// Engine is what a Keeper asks an *engine.Engine for.
type Engine interface {
	Sessions() iter.Seq2[int, engine.Session]
	Starts() engine.Starts
	Stored(shard int, session string)
}

// Wake has Run write at once: it is engine.Options.Hold. Any goroutine may call it, once
// Load has returned, with whatever error.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run writes checkpoints of e until ctx is done. A store that takes nothing is told of,
// and tried again.
func (k *Keeper) Run(ctx context.Context, e Engine) {
	every := k.Every
	if every == 0 {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if k.failing.IsZero() || time.Since(k.tried) >= retryAfter {
				k.save(ctx, e, changed)
			}
		case <-k.wake:
			k.save(ctx, e, awaited)
		case <-ctx.Done():
			return
		}
	}
}

// Save writes all checkpoints, as the last of a process: also those that have not changed, which
// the store may have lost.
func (k *Keeper) Save(ctx context.Context, e Engine) error { return k.save(ctx, e, all) }

// What save writes.
type scope int

const (
	changed scope = iota // what the store does not have yet
	awaited              // the same; the engine waits for a session to be stored
	all                  // what it should have, too
)

// save writes checkpoints. After an error, which is logged, those that were not written are
// written the next time. If the engine waits for a session to be stored, it hears of those that
// have been already: a session may come with the id, and the seq, of the one before it.
func (k *Keeper) save(ctx context.Context, e Engine, what scope) error {
	changes := State{}
	now := time.Now()
	type session struct {
		shard int
		id    string
	}
	var stored []session // once this is over
	defer func() {       // also after a failure: a store must not stop events
		for _, s := range stored {
			e.Stored(s.shard, s.id)
		}
	}()
	for shard, s := range e.Sessions() {
		id := s.ID
		was := k.saved.Checkpoints[shard]
		if was.Session != s { // or it is stored
			s = k.storable(shard, s)
		}
		// One without events gets old only when its process has ended.
		age := now.Sub(was.At)
		current := was.Bot == k.Bot && was.Intents == k.Intents && age >= 0 && age < k.MaxAge/4
		same := was.Session == s && (current || s == (engine.Session{}))
		if id != "" && (what == awaited || !same) {
			stored = append(stored, session{shard, id})
		}
		if same && (what != all || s == (engine.Session{})) {
			continue
		}
		if changes.Checkpoints == nil {
			changes.Checkpoints = make(map[int]Checkpoint)
		}
		if s != (engine.Session{}) {
			changes.Checkpoints[shard] = Checkpoint{Session: s, Intents: k.Intents, Bot: k.Bot, At: now}
		} else {
			changes.Checkpoints[shard] = Checkpoint{}
		}
	}
	if starts := e.Starts(); what == all || starts.Count != k.saved.Starts.Count || !starts.Until.Truncate(time.Millisecond).Equal(k.saved.Starts.Until.Truncate(time.Millisecond)) {
		changes.Starts = starts
	}
	if changes.Checkpoints == nil && changes.Starts == (engine.Starts{}) && k.failing.IsZero() && now.Sub(k.tried) < checkEvery {
		return nil
	}
	k.tried = now
	failpoint.Hit("store")
	err := k.Store.Save(ctx, changes)
	if errors.Is(err, errLost) && what != all {
		k.Log.Warn("stored sessions are missing in the store: all are stored again", "error", err)
		return k.save(ctx, e, all)
	}
	if err != nil {
		if k.failing.IsZero() {
			k.failing = now
		}
		if now.Sub(k.told) >= time.Minute && ctx.Err() == nil { // or it was called off, and comes again
			k.told = now
			k.Log.Warn("the sessions can't be stored: after a crash, events since then come again or are lost", "error", err, "since", k.failing.Format(time.RFC3339))
		}
		return err
	}
	k.saved.apply(changes) // as the store has them
	if !k.failing.IsZero() {
		k.Log.Info("the sessions are stored again", "after", now.Sub(k.failing).Round(time.Millisecond))
		k.failing, k.told = time.Time{}, time.Time{}
	}
	return nil
}

// storable returns a session of the engine as a store takes it. One that no store takes is
// logged, once: its shard then has nothing stored.
func (k *Keeper) storable(shard int, s engine.Session) engine.Session {
	c, err := check(shard, Checkpoint{Session: s})
	if err == nil {
		delete(k.refused, shard)
		return c.Session
	}
	if k.refused[shard] != s.ID {
		if k.refused == nil {
			k.refused = make(map[int]string)
		}
		k.refused[shard] = s.ID
		k.Log.Warn("a session cannot be stored: the next process can't resume it", "shard", shard, "session", s.ID[:min(len(s.ID), 64)], "error", err)
	}
	return c.Session
}
