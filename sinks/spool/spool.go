// This file is the sink as the publisher calls it: events go into memory, or onto the disk.

// Package spool keeps events on the disk while a broker takes none.
//
// A Sink stands before another one, the broker's. As long as that takes events they pass
// through memory. When the engine's memory is full, what the broker has not acknowledged and
// all that comes goes to segments of a log on the disk, and counts as delivered once it is
// synced: the gateway's sessions go on. When the broker is back the log is read from its
// beginning, in order, until nothing is left of it.
//
// Events are copied as they pass: what the broker's sink still holds when the
// spool takes over must be acknowledged to the engine, whose memory it would be.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"sluice/sinks"
)

// Options are the settings of a Sink. Directory and Log are required.
type Options struct {
	// Directory is where the segments are, made if it is not there. One process has it.
	Directory string
	// MaxBytes bounds the segments; with so many no more is taken until some are
	// delivered. 0: 10 GiB.
	MaxBytes int64
	// SegmentBytes is the size of a segment from which the next is begun. 0: 16 MiB.
	SegmentBytes int64
	// Full reports whether the engine has no more capacity in memory; any goroutine may
	// call it. nil: whether the inner sink has acknowledged nothing for a second.
	Full func() bool
	// Ending reports whether the engine is shutting down; any goroutine may call it. What
	// the inner sink has not acknowledged for a second then goes to the disk, for the next
	// process: otherwise the shutdown would wait for the broker. nil: it is not asked.
	Ending func() bool
	Log    *slog.Logger
}

const (
	// maxMemory bounds the copies of events that the inner sink has not acknowledged: what
	// Redis takes in 10 ms at its fastest.
	maxMemory = 2 << 20
	// readEvents bounds the events that are read from the disk at a time.
	readEvents = 1024
	// fullPoll is how often Full is asked.
	fullPoll   = 50 * time.Millisecond
	fullAfter  = time.Second
	retryAfter = time.Second // after the disk has failed
	logEvery   = time.Minute
)

// Sink is an sinks.Sink before another.
type Sink struct {
	o     Options
	inner sinks.Sink
	lock  *flock.Flock // nil in tests
	stop  context.CancelFunc
	fed   sync.WaitGroup
	most  int           // maxMemory; tests have less
	freed chan struct{} // holds one: something was acknowledged
	work  chan struct{} // holds one: there is something to pass on

	mu       sync.Mutex
	queue    []*batch // oldest first: those that the inner sink has, and those that it will get
	given    int      // of queue: to the inner sink
	memory   int      // bytes of queue
	inMemory int      // events of queue that are not on the disk
	free     []*batch
	spooling bool // new events go to the disk
	log      *segments
	spooled  int64
	progress time.Time // when the inner sink last acknowledged something
	err      error     // of the inner sink; final

	ages      ages  // of what is on the disk, but for what an earlier process has left there
	passed    int64 // events of the disk that the inner sink has acknowledged since the spooling began
	spoolFrom time.Time

	failing  time.Time // since when the disk takes nothing; zero: it does
	tried    time.Time // when it was last asked to
	logged   time.Time
	failures int64
	failure  string // the last

	seen seen

	// of the goroutine of feed
	cursor cursor
}

// batch is events with memory of their own.
type batch struct {
	events []sinks.Event
	text   []byte    // holds their names and data
	at     time.Time // when they came
	left   int       // events that the inner sink has not acknowledged
	acked  func(int) // nil: they are acknowledged, as they are on the disk
	end    position  // where it ends on the disk; the zero value: it is not there
	old    bool      // an earlier process has left it there
}

// InUseError is of a directory that another process uses.
type InUseError struct{ Dir string }

func (e *InUseError) Error() string {
	return fmt.Sprintf("spool: the directory %s is in use by another process; give each its own", e.Dir)
}

// InUse reports whether a process uses the directory. It changes nothing there.
func InUse(dir string) bool {
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetFlag(os.O_RDWR))
	free, err := lock.TryLock()
	lock.Close()
	return err == nil && !free
}

// Open returns a Sink before inner, which it owns from then on. What an earlier process
// has left in the directory is delivered first.
func Open(o Options, inner sinks.Sink) (*Sink, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 10 << 30
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if err := os.MkdirAll(o.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	lock := flock.New(filepath.Join(o.Directory, "lock"))
	if locked, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	} else if !locked {
		return nil, &InUseError{o.Directory}
	}
	s, err := open(o, directory(o.Directory), inner)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	s.lock = lock
	return s, nil
}

// open opens a Sink over a disk that is locked.
func open(o Options, d disk, inner sinks.Sink) (*Sink, error) {
	log, at, err := openSegments(d, o.SegmentBytes, o.Log)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		o: o, inner: inner, most: maxMemory, log: log, progress: time.Now(), cursor: cursor{l: log, at: at},
		freed: make(chan struct{}, 1), work: make(chan struct{}, 1),
	}
	if s.spooling = at != log.end() && len(log.list) > 0; s.spooling {
		s.spoolFrom = time.Now()
		o.Log.Info("events of an earlier process are in the spool; they are delivered first", "bytes", log.total)
	} else {
		log.delivered(at)
	}
	s.note()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.fed.Go(func() { s.feed(ctx) })
	s.fed.Go(func() { s.watch(ctx) })
	return s, nil
}

// Publish takes the events into memory, or onto the disk. It waits while neither has capacity.
func (s *Sink) Publish(ctx context.Context, events []sinks.Event, acked func(n int)) error {
	if len(events) == 0 {
		return nil
	}
	for {
		done, err := s.take(events, acked)
		if done || err != nil {
			return err
		}
		select {
		case <-s.freed:
		case <-time.After(retryAfter): // the disk may work again
		case <-ctx.Done():
			return fmt.Errorf("spool: %w", context.Cause(ctx))
		}
	}
}

// take takes the events if it can.
func (s *Sink) take(events []sinks.Event, acked func(int)) (done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.note()
	switch {
	case s.err != nil:
		return false, s.err
	case s.spooling:
	case s.memory < s.most:
		s.add(events, acked)
		return true, nil
	default:
		return false, nil
	}
	size := s.log.encode(events)
	if s.log.total+size > s.o.MaxBytes && s.log.total > 0 {
		s.diskFailed(fmt.Errorf("it has %d bytes, its bound", s.log.total))
		return false, nil
	}
	if err := s.log.append(); err != nil {
		s.diskFailed(err)
		return false, nil
	}
	s.diskWorks()
	s.spooled += int64(len(events))
	s.ages.add(time.Now(), len(events))
	acked(len(events))
	signal(s.work)
	return true, nil
}

// watch begins to spool when memory is full. Publish can't: the engine does not call it while
// it has passed on as many events as it may.
func (s *Sink) watch(ctx context.Context) {
	tick := time.NewTicker(fullPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		if !s.spooling && len(s.queue) > 0 && s.full() && (s.failing.IsZero() || time.Since(s.tried) >= retryAfter) {
			if err := s.begin(); err != nil {
				s.diskFailed(err)
			} else {
				s.diskWorks()
				signal(s.freed)
			}
			s.note()
		}
		s.mu.Unlock()
	}
}

// full reports whether memory is used up.
func (s *Sink) full() bool {
	stalled := time.Since(s.progress) >= fullAfter
	switch {
	case stalled && s.o.Ending != nil && s.o.Ending():
		return true
	case s.o.Full != nil:
		return s.o.Full()
	}
	return stalled
}

// add puts copies of the events into the queue.
func (s *Sink) add(events []sinks.Event, acked func(int)) {
	b := s.newBatch()
	size := 0
	for i := range events {
		size += len(events[i].Type) + len(events[i].Data)
	}
	if cap(b.text) < size {
		b.text = make([]byte, 0, size)
	}
	for i := range events {
		ev := &events[i]
		start := len(b.text)
		b.text = append(append(b.text, ev.Type...), ev.Data...)
		name := start + len(ev.Type)
		b.events = append(b.events, sinks.Event{
			Shard: ev.Shard, Session: ev.Session, Seq: ev.Seq, Began: ev.Began, Gap: ev.Gap, Type: b.text[start:name:name], Data: b.text[name:len(b.text):len(b.text)],
		})
	}
	b.at, b.left, b.acked = time.Now(), len(events), acked
	s.inMemory += len(events)
	if len(s.queue) == 0 {
		s.progress = b.at // nobody has waited until now
	}
	s.queue = append(s.queue, b)
	s.memory += cap(b.text)
	signal(s.work)
}

func (s *Sink) newBatch() *batch {
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b
	}
	return new(batch)
}

const (
	// Bounds of what is kept for the next batches.
	keptBatches = 16
	keptText    = 1 << 20
)

func (s *Sink) release(b *batch) {
	clear(b.events)
	*b = batch{events: b.events[:0], text: b.text[:0]}
	if cap(b.text) > keptText {
		b.text = nil
	}
	if len(s.free) < keptBatches {
		s.free = append(s.free, b)
	}
}

// begin puts all that the inner sink has not acknowledged onto the disk, and acknowledges it
// to the engine. The inner sink keeps what it has been given; the rest is read again.
func (s *Sink) begin() error {
	for _, b := range s.queue {
		if b.end != (position{}) {
			continue // it was written before the disk failed
		}
		// All of it, also what is acknowledged: the position says so in the end.
		s.log.encode(b.events)
		if err := s.log.append(); err != nil {
			return err
		}
		b.end = s.log.end()
	}
	s.spooling, s.spoolFrom, s.passed = true, time.Now(), 0
	s.o.Log.Warn("broker unavailable; spooling events", "directory", s.o.Directory)
	for _, b := range s.queue {
		s.spooled += int64(b.left)
		s.ages.add(b.at, b.left)
		b.acked(b.left)
		b.acked = nil
	}
	s.inMemory = 0
	// The reader of the log begins behind what the inner sink has.
	s.cursor.at = s.log.begun()
	if s.given > 0 {
		s.cursor.at = s.queue[s.given-1].end
	}
	for _, b := range s.queue[s.given:] {
		s.memory -= cap(b.text)
		s.release(b)
	}
	s.queue = s.queue[:s.given]
	return nil
}

// DiskError is of a disk that takes nothing, or no more than Options.MaxBytes.
type DiskError struct{ Err error }

func (e *DiskError) Error() string { return e.Err.Error() }
func (e *DiskError) Unwrap() error { return e.Err }

// diskFailed logs that the disk takes nothing.
func (s *Sink) diskFailed(err error) {
	now := time.Now()
	s.tried = now
	s.fails(err)
	if s.failing.IsZero() {
		s.failing, s.logged = now, time.Time{}
	}
	if now.Sub(s.logged) >= logEvery {
		s.logged = now
		s.o.Log.Error("spool unavailable; buffering events", "directory", s.o.Directory,
			"error", &DiskError{err}, "for", now.Sub(s.failing).Round(time.Second))
	}
}

func (s *Sink) diskWorks() {
	if !s.failing.IsZero() {
		s.o.Log.Info("spool available again", "after", time.Since(s.failing).Round(time.Millisecond), "waiting", s.inMemory+int(s.ages.events))
		s.failing = time.Time{}
	}
}

// Close ends the inner sink. What it has not acknowledged stays on the disk, if it is there.
func (s *Sink) Close() error {
	s.stop()
	s.fed.Wait()
	err := s.inner.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	err = errors.Join(err, s.log.close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// signal wakes who waits on a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
