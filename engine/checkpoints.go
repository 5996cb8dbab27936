// This file has snapshots of the sessions persisted, behind their events.

package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"sluice/resume"
	"sluice/sinks"
)

// Checkpoints keeps what resumes the shards over the end of the process: a *resume.Keeper, in
// front of a store. Shards may be added and removed while the engine runs: what a method is given
// says nothing about shards that are not among it. Any goroutine calls Session, and one at a time
// Save and Close.
type Checkpoints interface {
	// Session returns what resumes a shard that Run begins with; the zero Session: nothing does,
	// it identifies. One that is added later brings its own.
	Session(shard int) resume.Session
	// Starts returns the Identifies of earlier processes. They matter when the API is not
	// asked, which has better figures.
	Starts() resume.Starts
	// Save persists snapshots, and the count of Identifies. A snapshot replaces what its
	// shard had; one without an ID and gaps: there is nothing to resume. Each has the Epoch that its
	// shard was added with. It is called every
	// Options.CheckpointEvery, and at once when events wait for a new session to be persisted:
	// when it returns, with whatever error, they are published, but for those of a shard with an
	// Epoch, which wait until their session is persisted. The shards of a *resume.RefusedError are
	// deposed (Engine.Depose), which is no failure. After one it is left alone for
	// a second, but for events that wait. The snapshots are read as they are iterated over, once or more.
	Save(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error
	// Close does so for the last time, when the sink has taken what it takes, and lets go of the
	// store.
	Close(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error
}

const (
	// saveRetry is how long Checkpoints that fail are left alone, unless events wait for them.
	saveRetry = time.Second
	// closeTimeout bounds how long the last snapshots may take: a disk, too, may never answer.
	closeTimeout = 4 * time.Second
)

// saver has the snapshots of a set of shards persisted.
type saver struct {
	to     Checkpoints
	shards *shardSet     // nil: none has run
	wanted chan struct{} // holds one: events wait for their session to be persisted
	ctx    context.Context
	stop   context.CancelFunc // of run, and of the Save that it is in
	ended  chan struct{}      // closed when run has

	saving  chan struct{} // holds one while to is called
	waiting []*session    // not persisted before, of the snapshots that were read
	given   []*shard      // of which they were
	closed  bool          // to is, or about to be; with saving

	leaving lasts
}

func newSaver(to Checkpoints) *saver {
	v := &saver{to: to, wanted: make(chan struct{}, 1), saving: make(chan struct{}, 1), ended: make(chan struct{})}
	v.ctx, v.stop = context.WithCancel(context.Background())
	return v
}

// want has the snapshots saved at once. Any goroutine may call it; it does not wait.
func (v *saver) want() {
	select {
	case v.wanted <- struct{}{}:
	default:
	}
}

// run saves the snapshots of the shards until close.
func (v *saver) run(shards *shardSet, every time.Duration) {
	v.shards = shards
	go func() {
		defer close(v.ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		var failed time.Time // zero: the last time it did not
		for {
			select {
			case <-tick.C:
				if !failed.IsZero() && time.Since(failed) < saveRetry {
					continue
				}
			case <-v.wanted:
			case <-v.ctx.Done():
				return
			}
			now := time.Now()
			if failed = (time.Time{}); v.save(v.ctx, v.to.Save, v.snapshots) != nil {
				failed = now
			}
		}
	}()
}

// save gives the snapshots to f. Then what waits for them goes on, in no fleet also after a failure: a store
// must not stop events. Shards that are refused are dropped, and count for no failure. Once Checkpoints
// are closed it is sinks.ErrStopped.
func (v *saver) save(ctx context.Context, f func(context.Context, iter.Seq2[int, resume.Session], resume.Starts) error, snapshots iter.Seq2[int, resume.Session]) error {
	select {
	case v.saving <- struct{}{}:
		defer func() { <-v.saving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if v.closed {
		return sinks.ErrStopped
	}
	var starts resume.Starts
	if v.shards != nil {
		starts = v.shards.env.identify.used()
	}
	err := f(ctx, snapshots, starts)
	var refused *resume.RefusedError
	if errors.As(err, &refused) {
		err = refused.Err
		for _, s := range v.given { // an id may be another's by now
			if slices.Contains(refused.Shards, s.id) {
				v.shards.drop(s, "the store has another owner")
			}
		}
	}
	for _, ses := range v.waiting {
		if s := ses.shard.Load(); s.epoch == 0 || err == nil && !s.deposed.Load() {
			ses.markPersisted()
		}
	}
	clear(v.waiting)
	v.waiting, v.given = v.waiting[:0], nil
	return err
}

// snapshots yields the shards and what would resume each of them now, and notes which sessions
// wait to be persisted.
func (v *saver) snapshots(yield func(int, resume.Session) bool) {
	v.given = v.shards.list()
	for _, s := range v.given {
		if s.deposed.Load() {
			continue
		}
		if ses := s.current.Load(); ses != nil && !ses.persisted.Load() {
			v.waiting = append(v.waiting, ses) // before what comes in its place is read
		}
		if !yield(s.id, s.snapshot()) {
			return
		}
	}
}

// close saves the last snapshots, of the shards that have run, if any.
func (v *saver) close() error {
	v.stop()
	ended := make(chan error, 1)
	go func() {
		if v.shards != nil {
			<-v.ended
		}
		ended <- v.save(context.Background(), func(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error {
			v.closed = true
			return v.to.Close(ctx, snapshots, starts)
		}, v.snapshots)
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(closeTimeout):
		return fmt.Errorf("no answer within %v", closeTimeout)
	}
}

// snapshot returns what would resume the shard now: up to the last event that the sink has
// acknowledged. Any goroutine may call it.
func (s *shard) snapshot() resume.Session {
	now := resume.Session{Epoch: s.epoch}
	if ses := s.current.Load(); ses != nil {
		now = resume.Session{
			ID: ses.id, ResumeURL: ses.resumeURL, Seq: ses.checkpoint(), Shards: s.gen.shards, Began: ses.began, Epoch: s.epoch,
		}
	}
	if ses := s.current.Load(); ses != nil && ses.id == now.ID && now.Seq < ses.skipEnd {
		now.Skip = ses.skip
	}
	if f := s.env.overlap; f != nil {
		// After the checkpoint, which only rises: what is kept has been acknowledged to the shard.
		if first, done, ok := f.First(s.gen.number, s.id, now.ID); ok {
			now.Seq, now.Skip = min(now.Seq, first-1), resume.AppendSkip(done)
		}
	}
	// After the session, in place of which it comes.
	if gaps := s.gaps.Load(); gaps != nil {
		for _, g := range *gaps {
			if !g.acknowledged() {
				now.AddGap(g.snapshot())
			}
		}
	}
	return now
}
