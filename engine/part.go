// This file is a Reshard in which an engine has a part of the shards: those of some classes, which come and go meanwhile.

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"sluice/resume"
	"sluice/sinks"
)

// Part is what others decide of a Reshard in which this Engine runs a part of the bot's shards. Of two shard counts, those
// shards of either that are equal modulo the greatest common divisor of both are a class: the guilds of a shard are those of
// shards of its class. A class is here as a whole or not at all: the new shards of one are begun by Engine.Begin when all of its old ones
// run here, and end when one of these is removed or deposed. The functions are called one at a time.
type Part struct {
	// Generation is the number of the shard count that is to be: another one than that of the count in force; see
	// Options.Generation.
	Generation int
	// Switch is called when the old and the new shards here agree, also when there are none. It returns nil when all are to
	// be switched, ErrAgain when they are to be compared again, and any other error to call it off. ctx is done, with ErrAgain as
	// its cause, when they do not agree any more, or others are here.
	Switch func(ctx context.Context) error
	// Commit is called when the old shards are stopped, and their last snapshots persisted, with what resumes the new ones. nil says that
	// the new ones are in force everywhere; an error that they are nowhere, and will not be by this attempt: the
	// old ones go on. So it returns when that is known, however long it takes. Meanwhile no events go out, and none is lost. ctx is done
	// when the engine ends: it may then return without knowing. What Commit was given is never ended by the engine, whatever it
	// returns: others may have forgotten that, and put it in force all the same.
	Commit func(ctx context.Context, next iter.Seq2[int, resume.Session]) error
	// Abort is called in place of Commit when Switch has returned nil and the shards here cannot be switched: the
	// old ones go on. nil: nobody is notified.
	Abort func(ctx context.Context, why error)
	// Open is called after Commit, when the ids of Add, Remove and Depose are those of the new shards, and before anything
	// of these goes out. It returns when it may, or an error when ctx is done.
	Open func(ctx context.Context) error
}

// ErrAgain says that old and new shards are to be compared again.
var ErrAgain = errors.New("the old and the new shards are to be compared again")

// errSwitching is of what would change the shards at the switch.
var errSwitching = errors.New("the bot is being switched to another shard count")

// Begin starts a shard of the next count, under an epoch, beside those in force: all of its class must run here, or it is a
// *sinks.NotLocalError. Begin waits until a Reshard with a Part is at work, and until a shard of that id that has ended is gone, or ctx is done.
func (e *Engine) Begin(ctx context.Context, shard int, epoch int64) error {
	f, err := e.wait(ctx)
	if err != nil {
		return err
	}
	for {
		begun, err := f.begin(shard, epoch)
		if err != nil || begun {
			return err
		}
		if err := pauseFor(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// Abandon ends a shard that Begin has started, and its session, unless Part.Commit was given that. It does not wait, and
// does nothing if there is none.
func (e *Engine) Abandon(shard int) {
	if f := e.running.Load(); f != nil {
		f.abandon(shard)
	}
}

// begin starts a shard of the next generation. It returns false when it is not the time for it yet.
func (f *shardSet) begin(id int, epoch int64) (begun bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := *f.current.Load()
	f.forgetEnded()
	switch {
	case f.closed:
		return false, sinks.ErrStopped
	case now.to == nil || now.to.classes == 0:
		return false, nil
	case id < 0 || id >= now.to.shards:
		return false, &ShardIDError{ID: id, Shards: now.to.shards}
	case f.frozen:
		return false, errSwitching
	case slices.ContainsFunc(f.ended, func(s *shard) bool { return s.id == id }):
		return false, nil
	}
	i, found := search(now.next, id)
	if found {
		return false, fmt.Errorf("shard %d of %d has been begun", id, now.to.shards)
	}
	for old := id % now.to.classes; old < now.gen.shards; old += now.to.classes {
		if s := now.find(old); s == nil || s.leaving.Load() {
			return false, &sinks.NotLocalError{Shard: old}
		}
	}
	s := newShard(id, now.to, f.env, resume.Session{Epoch: epoch})
	if p := f.env.followed.Load(); p != nil {
		s.presence = *p
	}
	f.env.overlap.Compare(id)
	f.reader.add(s) // before others see it
	now.next = slices.Insert(slices.Clone(now.next), i, s)
	f.replace(now)
	return true, nil
}

func (f *shardSet) abandon(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.committing {
		f.endNext(func(s *shard) bool { return s.id == id })
	}
}

// part ends the new shards of a class, of which an old shard leaves. The lock is held.
func (f *shardSet) part(id int) {
	now := f.current.Load()
	if now.to == nil || now.to.classes == 0 || f.committing {
		return
	}
	class := id % now.to.classes
	f.endNext(func(s *shard) bool { return s.id%now.to.classes == class })
	f.env.overlap.Leave(id)
}

// endNext stops shards of the next generation, whose sessions end. The lock is held.
func (f *shardSet) endNext(which func(s *shard) bool) {
	now := *f.current.Load()
	next := now.next
	now.next = nil
	n := len(f.ended)
	for _, s := range next {
		if !which(s) {
			now.next = append(now.next, s)
			continue
		}
		s.counters.addTo(&now.past)
		f.ended = append(f.ended, s)
	}
	f.replace(now)
	for _, s := range f.ended[n:] {
		s.leaving.Store(true)
		s.ends.Store(f.stopping.Err() == nil && !s.given) // or they may be in force, and nobody was told
		s.wake(wakeStop)
	}
}

// forgetEnded forgets shards of the next generation that have ended, and of which nothing comes any more. The lock is held.
func (f *shardSet) forgetEnded() {
	f.ended = slices.DeleteFunc(f.ended, func(s *shard) bool {
		for _, done := range [...]chan struct{}{s.released, s.drained} {
			select {
			case <-done:
			default:
				return false
			}
		}
		return true
	})
}

// whole reports whether no shard leaves, and each has those of the next count beside it. The lock is held.
func (f *shardSet) whole() bool {
	now := f.current.Load()
	f.forgetEnded()
	// New ones are of classes that are whole, so that it is enough to count.
	return now.to.classes == 0 || len(f.ended) == 0 && len(now.next)*now.gen.shards == len(now.all)*now.to.shards &&
		!slices.ContainsFunc(now.all, func(s *shard) bool { return s.leaving.Load() })
}

// freeze keeps shards from coming and going until thaw, goOn or enforce, but for those that are deposed.
func (f *shardSet) freeze() (now currentShards, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return now, sinks.ErrStopped
	case !f.whole():
		return now, errors.New("some shards come or go")
	}
	f.frozen = true
	return *f.current.Load(), nil
}

// commits has what is deposed change nothing about the next generation until goOn or enforce, unless others are here than were.
func (f *shardSet) commits(was currentShards) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.current.Load()
	if !slices.Equal(now.all, was.all) || !slices.Equal(now.next, was.next) {
		return errors.New("some shards have gone meanwhile")
	}
	f.committing = true
	for _, s := range now.next {
		s.given = true
	}
	return nil
}

// thaw lets shards come and go again. Those of the next generation that have lost what they need meanwhile end. The lock is held.
func (f *shardSet) thaw() {
	f.frozen, f.committing = false, false
	now := f.current.Load()
	if now.to.classes == 0 {
		return
	}
	old := make(map[int]int) // shards, by class
	for _, s := range now.all {
		old[s.id%now.to.classes]++
	}
	for _, s := range now.next {
		if class := s.id % now.to.classes; old[class] < now.gen.shards/now.to.classes {
			old[class] = now.gen.shards // once
			f.part(class)
		}
	}
	f.endNext(func(s *shard) bool { return s.state() == Stopped })
}

// gcd returns the greatest common divisor.
func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
