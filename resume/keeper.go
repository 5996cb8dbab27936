// This file keeps a store up with a running engine.

package resume

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"

	"sluice/engine"
	"sluice/wire"
)

// Keeper writes the checkpoints of an engine to a store, behind the events: what
// is stored is never ahead of what the sink has acknowledged. Store, Bot and Log are
// required. Its methods are called by one goroutine at a time.
type Keeper struct {
	Store   Store
	Bot     uint64        // Fingerprint of the bot's token
	Intents wire.Intents  // that its sessions have
	MaxAge  time.Duration // of a checkpoint that is resumed; 0: 1 h. Discord keeps sessions for minutes.
	Every   time.Duration // how often checkpoints are written; 0: 100 ms
	Log     *slog.Logger

	saved   State     // what the store has
	failing time.Time // since when it takes nothing; zero: it does
	told    time.Time
}

// Load returns the sessions in the store that can be resumed, for engine.Options. What
// belongs to another bot or other intents, or is too old, is set aside with a word.
func (k *Keeper) Load(ctx context.Context) (map[int]engine.Session, error) {
	state, err := k.Store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	k.saved = state
	maxAge := k.MaxAge
	if maxAge == 0 {
		maxAge = time.Hour
	}
	sessions := make(map[int]engine.Session)
	why := make(map[string][]int)
	for shard, c := range state.Checkpoints {
		switch {
		case c.Bot != k.Bot:
			why["another token"] = append(why["another token"], shard)
		case c.Intents != k.Intents:
			why["other intents"] = append(why["other intents"], shard)
		case time.Since(c.At) > maxAge:
			why["too old"] = append(why["too old"], shard)
		default:
			sessions[shard] = c.Session
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		shards := why[reason]
		slices.Sort(shards)
		k.Log.Warn("stored sessions set aside: these shards identify", "reason", reason, "shards", len(shards), "first", shards[0])
	}
	return sessions, nil
}

// Run writes what sessions returns, which is Engine.Sessions, until ctx is done. A store
// that takes nothing is told of, and tried again.
func (k *Keeper) Run(ctx context.Context, sessions func() iter.Seq2[int, engine.Session]) {
	every := k.Every
	if every == 0 {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.Save(ctx, sessions())
		case <-ctx.Done():
			return
		}
	}
}

// Save writes the checkpoints that have changed. After an error, which is told, those
// that were not written are written the next time.
func (k *Keeper) Save(ctx context.Context, sessions iter.Seq2[int, engine.Session]) error {
	changes := State{}
	now := time.Now()
	for shard, s := range sessions {
		if was := k.saved.Checkpoints[shard]; was.Session == s && (s.ID == "" || was.Bot == k.Bot && was.Intents == k.Intents) {
			continue
		}
		if changes.Checkpoints == nil {
			changes.Checkpoints = make(map[int]Checkpoint)
		}
		changes.Checkpoints[shard] = Checkpoint{Session: s, Intents: k.Intents, Bot: k.Bot, At: now}
	}
	if changes.Checkpoints == nil && k.failing.IsZero() {
		return nil
	}
	if err := k.Store.Save(ctx, changes); err != nil {
		if k.failing.IsZero() {
			k.failing = now
		}
		if now.Sub(k.told) >= time.Minute {
			k.told = now
			k.Log.Warn("the sessions can't be stored: after a crash, events since then come again or are lost", "error", err, "since", k.failing.Format(time.RFC3339))
		}
		return err
	}
	k.saved.apply(changes)
	if !k.failing.IsZero() {
		k.Log.Info("the sessions are stored again", "after", now.Sub(k.failing).Round(time.Millisecond))
		k.failing, k.told = time.Time{}, time.Time{}
	}
	return nil
}
