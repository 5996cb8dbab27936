// This file keeps a store up with a running engine.

package resume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"

	"sluice/internal/failpoint"
	"sluice/sinks"
	"sluice/wire"
)

// Keeper writes the checkpoints of an engine to a store: it is its engine.Checkpoints. Store, Bot
// and Log are required. Load, Save and Close are called by one goroutine at a time; Status by any.
type Keeper struct {
	Store   Store
	Bot     uint64        // FingerprintAt of the bot's token and server
	OldBot  uint64        // that earlier versions stored, and counts as Bot: Fingerprint of the token; 0: nothing does
	Intents wire.Intents  // that its sessions have
	Setting int           // the shard count of the settings; 0: they have none
	MaxAge  time.Duration // of a checkpoint that is resumed; 0: 1 h. Discord keeps sessions for minutes.
	// Final, if set, is asked about an error of loading. What it returns ends Load; nil: the store
	// is waited for.
	Final func(ctx context.Context, err error) error
	Log   *slog.Logger

	sessions map[int]Session // that were loaded
	starts   Starts

	saved   State          // what the store has
	plan    Plan           // what is to be in it; zero: whatever is
	unsure  bool           // whether the store has what it had before the last Replace, or what that was
	failing time.Time      // since when it is unavailable; zero: it is not
	tried   time.Time      // when it was last asked to
	logged  time.Time      // when it was last logged that it is
	refused map[int]string // the sessions that cannot be stored, by shard

	watched watched
}

// LoadTimeout is how long Load waits for a store that is unavailable before the shards identify:
// Discord keeps sessions hardly longer.
const LoadTimeout = time.Minute

// Load reads the store. What belongs to another bot or other intents, or is too old, is logged
// and discarded; but for another bot's it is a gap. A store that is unavailable is waited for, but
// not for ever: it must not keep events back. Without what is stored the Keeper goes on like
// any other.
func (k *Keeper) Load(ctx context.Context) error {
	for began, logged := time.Now(), false; ; {
		err := k.load(ctx)
		if err == nil {
			return nil
		}
		if k.Final != nil {
			if err := k.Final(ctx, err); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil // nothing will be started
		case time.Since(began) > LoadTimeout:
			k.Log.Error("the persisted sessions cannot be loaded: all shards identify", "error", err)
			return nil
		case !logged:
			logged = true
			k.Log.Warn("the persisted sessions cannot be loaded; waiting for the store", "error", err, "at_most", LoadTimeout)
		}
		select {
		case <-time.After(time.Second / 2):
		case <-ctx.Done():
		}
	}
}

func (k *Keeper) load(ctx context.Context) error {
	state, err := k.Store.Load(ctx)
	if err != nil {
		if ctx.Err() == nil {
			k.watched.failed(time.Now(), 0, err)
		}
		return fmt.Errorf("resume: %w", err)
	}
	k.watched.done(time.Now(), false)
	k.saved = state
	if n := len(state.Unreadable); n > 0 {
		k.Log.Warn("some of the persisted sessions cannot be read; the others count", "records", n, "error", state.Unreadable[0])
	}
	k.starts = state.Starts
	if until := state.Starts.Until; time.Until(until) > MaxStartsWindow {
		k.Log.Warn("the persisted count of session starts ends later than in a day; it is discarded", "count", state.Starts.Count, "until", until.Format(time.RFC3339))
		k.starts = Starts{}
	}
	switch p := state.Plan; {
	case p == (Plan{}):
	case p.Bot == k.Bot && p.Instead == k.Setting:
		k.plan = p
	default: // somebody has changed their mind since
		k.plan = Plan{Shards: max(k.Setting, 1), Instead: max(k.Setting, 1), Bot: k.Bot}
		if p.Shards != p.Instead && p.Shards != k.Setting {
			k.Log.Warn("the bot was resharded by a process before; the settings have changed since, and count", "shards", k.Setting, "resharded_to", p.Shards, "instead_of", p.Instead)
		}
	}
	k.sessions = make(map[int]Session)
	why := make(map[string][]int)
	for shard, c := range state.Checkpoints {
		reason := k.discards(c)
		if reason != "" {
			why[reason] = append(why[reason], shard)
		}
		switch reason {
		case otherBot:
			continue
		case "":
		default:
			c = discarded(c, reason)
		}
		k.sessions[shard] = c.Session
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		shards := why[reason]
		slices.Sort(shards)
		k.Log.Warn("persisted sessions discarded: these shards identify", "reason", reason, "shards", len(shards), "first", shards[0])
	}
	return nil
}

const otherBot = "another token or server"

// discards returns why the session of a checkpoint is not resumed; "": it is.
func (k *Keeper) discards(c Checkpoint) (reason string) {
	switch {
	case c.Bot != 0 && c.Bot != k.Bot && c.Bot != k.OldBot:
		return otherBot
	case c.ID == "": // a gap alone
	case c.Bot != 0 && c.Intents != k.Intents:
		return "other intents"
	case !c.At.IsZero() && time.Since(c.At) > k.maxAge():
		return "too old"
	}
	return ""
}

func (k *Keeper) maxAge() time.Duration { return cmp.Or(k.MaxAge, time.Hour) }

// Session returns what was loaded of a shard.
func (k *Keeper) Session(shard int) Session { return k.sessions[shard] }

// Resumes returns what resumes a shard of a checkpoint that was loaded by itself, as Load does of all.
// Any goroutine may call it.
func (k *Keeper) Resumes(shard int, c Checkpoint) Session {
	reason := k.discards(c)
	if reason == "" {
		return c.Session
	}
	k.Log.Warn("a persisted session is discarded: the shard identifies", "shard", shard, "reason", reason)
	if reason == otherBot {
		return Session{Began: c.Began}
	}
	return discarded(c, reason).Session
}

// discarded returns a checkpoint whose session is not resumed.
func discarded(c Checkpoint, reason string) Checkpoint {
	c.AddGap(sinks.Gap{Session: c.ID, Seq: c.Seq, At: time.Now().UnixMilli(), Reason: "the persisted session was discarded: " + reason})
	c.Session = Session{Gaps: c.Gaps, Began: c.Began}
	return c
}

// Shards returns the shard count in force: that of the settings, or what the bot was resharded to instead. 0: neither.
func (k *Keeper) Shards() int {
	if k.plan.Instead == k.Setting && k.plan.Shards > 0 {
		return k.plan.Shards
	}
	return k.Setting
}

// Starts returns the count of Identifies that was loaded.
func (k *Keeper) Starts() Starts { return k.starts }

// Save writes the snapshots that the store does not have yet. After an error, which is logged,
// those that were not written are written the next time.
func (k *Keeper) Save(ctx context.Context, snapshots iter.Seq2[int, Session], starts Starts) error {
	return k.save(ctx, snapshots, starts, false)
}

// Close writes the last snapshots of a process, also those that have not changed, which the store
// may have lost, and closes the store.
func (k *Keeper) Close(ctx context.Context, snapshots iter.Seq2[int, Session], starts Starts) error {
	return errors.Join(k.save(ctx, snapshots, starts, true), k.Store.Close())
}

// Replace writes snapshots in place of all that is stored, with their shard count.
func (k *Keeper) Replace(ctx context.Context, shards int, snapshots iter.Seq2[int, Session], starts Starts) error {
	return k.replace(ctx, Plan{Shards: shards, Instead: k.Setting, Bot: k.Bot}, snapshots)
}

func (k *Keeper) replace(ctx context.Context, plan Plan, snapshots iter.Seq2[int, Session]) error {
	store, ok := k.Store.(Replacer)
	if !ok {
		return ErrNoReplace
	}
	state := State{Checkpoints: make(map[int]Checkpoint), Plan: plan}
	now := time.Now()
	for shard, s := range snapshots {
		if s = k.storable(shard, s); s != (Session{}) {
			state.Checkpoints[shard] = Checkpoint{Session: s, Intents: k.Intents, Bot: k.Bot, At: now}
		}
	}
	failpoint.Hit("store.replace")
	k.unsure = true
	if err := store.Replace(ctx, state); err != nil {
		k.unsure = !errors.Is(err, ErrNoReplace)
		k.watched.failed(now, len(state.Checkpoints), err)
		return fmt.Errorf("resume: %w", err)
	}
	failpoint.Hit("store.replaced")
	k.unsure, k.plan = false, plan
	state.Starts = k.saved.Starts
	k.saved = State{}
	k.saved.Apply(state)
	k.watched.done(now, true)
	return nil
}

// save writes snapshots; all: also those that the store should have.
func (k *Keeper) save(ctx context.Context, snapshots iter.Seq2[int, Session], starts Starts, all bool) error {
	now := time.Now()
	if k.unsure {
		plan := k.plan
		if plan == (Plan{}) {
			plan = Plan{Shards: max(k.Setting, 1), Instead: max(k.Setting, 1), Bot: k.Bot}
		}
		if err := k.replace(ctx, plan, snapshots); err != nil {
			return err
		}
	}
	changes := State{}
	if k.plan != k.saved.Plan || all && k.plan != (Plan{}) {
		changes.Plan = k.plan
	}
	for shard, s := range snapshots {
		was := k.saved.Checkpoints[shard]
		if was.Session != s { // or it is stored
			s = k.storable(shard, s)
		}
		// One without events gets old only when its process has ended.
		age := now.Sub(was.At)
		current := was.Bot == k.Bot && was.Intents == k.Intents && age >= 0 && age < k.maxAge()/4
		same := was.Session == s && (current || s == (Session{}))
		if same && (!all || s == (Session{})) {
			continue
		}
		if changes.Checkpoints == nil {
			changes.Checkpoints = make(map[int]Checkpoint)
		}
		if s != (Session{}) {
			changes.Checkpoints[shard] = Checkpoint{Session: s, Intents: k.Intents, Bot: k.Bot, At: now}
		} else {
			changes.Checkpoints[shard] = Checkpoint{}
		}
	}
	if all || starts.Count != k.saved.Starts.Count || !starts.Until.Truncate(time.Millisecond).Equal(k.saved.Starts.Until.Truncate(time.Millisecond)) {
		changes.Starts = starts
	}
	if changes.Checkpoints == nil && changes.Starts == (Starts{}) && changes.Plan == (Plan{}) && k.failing.IsZero() && now.Sub(k.tried) < CheckEvery {
		k.watched.done(now, false)
		return nil
	}
	k.tried = now
	failpoint.Hit("store")
	err := k.Store.Save(ctx, changes)
	if errors.Is(err, ErrLost) && !all {
		k.Log.Warn("persisted sessions are missing in the store; all are persisted again", "error", err)
		clear(k.saved.Checkpoints) // those that are not among snapshots, with the next Save
		return k.save(ctx, snapshots, starts, true)
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		k.saved.Apply(changes)
		for _, shard := range refused.Shards {
			delete(k.saved.Checkpoints, shard)
		}
		k.watched.done(now, true)
		return err
	}
	if err != nil {
		if ctx.Err() == nil { // or it was cancelled, and is tried again
			k.watched.failed(now, len(changes.Checkpoints), err)
		}
		if k.failing.IsZero() {
			k.failing = now
		}
		if now.Sub(k.logged) >= time.Minute && ctx.Err() == nil { // or it was cancelled, and is tried again
			k.logged = now
			k.Log.Warn("the sessions cannot be persisted: after a crash, events since then are redelivered or lost", "error", err, "since", k.failing.Format(time.RFC3339))
		}
		return err
	}
	k.saved.Apply(changes) // as the store has them
	k.watched.done(now, changes.Checkpoints != nil || changes.Starts != (Starts{}))
	if !k.failing.IsZero() {
		k.Log.Info("the sessions are persisted again", "after", now.Sub(k.failing).Round(time.Millisecond))
		k.failing, k.logged = time.Time{}, time.Time{}
	}
	return nil
}

// Checkpoint returns what a store takes of a snapshot now, for one that is not Store. It is called by whoever may call Save.
func (k *Keeper) Checkpoint(shard int, s Session) Checkpoint {
	return Checkpoint{Session: k.storable(shard, s), Intents: k.Intents, Bot: k.Bot, At: time.Now()}
}

// storable returns a session as a store takes it. One that no store takes is logged, once: its
// shard then has nothing stored.
func (k *Keeper) storable(shard int, s Session) Session {
	c, err := Check(shard, Checkpoint{Session: s})
	if err == nil {
		delete(k.refused, shard)
		return c.Session
	}
	if k.refused[shard] != s.ID {
		if k.refused == nil {
			k.refused = make(map[int]string)
		}
		k.refused[shard] = s.ID
		k.Log.Warn("a session cannot be persisted: the next process cannot resume it", "shard", shard, "session", s.ID[:min(len(s.ID), 64)], "error", err)
	}
	return c.Session
}
