// This file tests when snapshots are persisted, and what waits for it.

package engine_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
)

// checkpoints are in memory, and fail or wait as a test wants it.
type checkpoints struct {
	sessions map[int]resume.Session // of an earlier process
	starts   resume.Starts

	mu     sync.Mutex
	kept   map[int]resume.Session
	lasts  map[int]resume.Session // of each shard
	count  resume.Starts          // that was saved last
	saves  int                    // that have returned
	begun  int                    // the same, and those that have not
	closed bool
	err    error

	begunAtClose int

	gate chan struct{} // Save and Close wait for it; nil: they do not
}

// keep returns checkpoints of an earlier process.
func keep(sessions map[int]resume.Session) *checkpoints { return &checkpoints{sessions: sessions} }

func (c *checkpoints) Session(shard int) resume.Session { return c.sessions[shard] }

func (c *checkpoints) Starts() resume.Starts { return c.starts }

func (c *checkpoints) Save(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error {
	got := maps.Collect(snapshots)
	c.mu.Lock()
	gate := c.gate
	c.begun++
	c.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saves++
	if c.err == nil {
		c.kept, c.count = got, starts
		if c.lasts == nil {
			c.lasts = make(map[int]resume.Session)
		}
		maps.Copy(c.lasts, got)
	}
	return c.err
}

func (c *checkpoints) Close(ctx context.Context, snapshots iter.Seq2[int, resume.Session], starts resume.Starts) error {
	c.mu.Lock()
	c.closed, c.begunAtClose = true, c.begun+1
	c.mu.Unlock()
	return c.Save(ctx, snapshots, starts)
}

// stall has Save wait until free is called.
func (c *checkpoints) stall() (free func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gate := make(chan struct{})
	c.gate = gate
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(gate)
		if c.gate == gate {
			c.gate = nil
		}
	})
}

// last returns what was kept last of a shard.
func (c *checkpoints) last(shard int) resume.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lasts[shard]
}

// saving reports whether a Save has begun, and not returned.
func (c *checkpoints) saving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun > c.saves
}

func (c *checkpoints) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// state returns what was kept last, and how many Saves have begun.
func (c *checkpoints) state() (kept map[int]resume.Session, begun int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept, c.begun
}

// Snapshots are persisted behind the events, and once more when the engine has ended; so is the
// count of Identifies.
func TestCheckpoints(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := &checkpoints{starts: resume.Starts{Count: 7, Until: time.Now().Add(time.Hour)}}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c})
		w.ready(2)
		var last int64
		for range 20 {
			time.Sleep(time.Second)
			synctest.Wait()
			kept, _ := c.state()
			now := w.sessions()
			if kept[0].ID != now[0].ID || kept[1].ID != now[1].ID || kept[0].Seq > now[0].Seq || kept[0].Seq <= last {
				t.Fatalf("kept %+v of %+v", kept, now)
			}
			last = kept[0].Seq
		}
		w.srv.Silence()
		w.quiet()
		whole(t, w.end())
		if kept, _ := c.state(); !maps.Equal(kept, w.sessions()) || !c.closed {
			t.Errorf("kept %+v, closed %v, want %+v", kept, c.closed, w.sessions())
		}
		if want := (resume.Starts{Count: 9, Until: c.starts.Until}); c.count != want {
			t.Errorf("kept %+v, want %+v", c.count, want)
		}
	})
}

// Who waits for a session to be persisted does not wait for the next interval; and a session that
// comes with the id of the one before it is none that was persisted.
func TestCheckpointAtOnce(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := new(checkpoints)
		w := newWorld(t, reader, sim.Options{Rate: 20}, engine.Options{Checkpoints: c, CheckpointEvery: time.Hour})
		w.wait("events", func() bool { return w.sink.count("") > 0 })
		kept, begun := c.state()
		if kept[0].ID == "" || kept[0].ID != w.sessions()[0].ID || begun != 1 {
			t.Errorf("kept %+v in %d saves", kept, begun)
		}
		w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
		w.wait("another session", func() bool { return w.sink.count("READY") == 2 })
		if again, begun := c.state(); again[0].ID == "" || again[0].ID == kept[0].ID || begun != 2 {
			t.Errorf("kept %+v in %d saves", again, begun)
		}
		w.end()
	})
}

// Checkpoints that fail are left alone for a second, not tried with each interval, unless events
// wait for them; they keep none back.
func TestCheckpointsThatFail(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := &checkpoints{err: errors.New("connection refused")}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20}, engine.Options{Checkpoints: c})
		w.wait("events of both", func() bool { return w.sink.count("READY") == 2 })
		saves := func(d time.Duration) int {
			_, before := c.state()
			time.Sleep(d)
			synctest.Wait()
			_, after := c.state()
			return after - before
		}
		saves(time.Second)
		if n := saves(time.Minute); n < 55 || n > 61 {
			t.Errorf("%d saves in a minute, want one each second", n)
		}
		c.fail(nil)
		saves(2 * time.Second)
		if kept, _ := c.state(); len(kept) != 2 {
			t.Errorf("kept %+v after the failure", kept)
		}
		if n := saves(time.Minute); n < 599 || n > 601 {
			t.Errorf("%d saves in a minute, want one each 100 ms", n)
		}
		w.end()
	})
}

// Checkpoints that never answer do not keep the process from ending.
func TestStuckCheckpointsEnd(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		var log bytes.Buffer
		c := new(stuck)
		c.free = make(chan struct{})
		w := newWorld(t, reader, sim.Options{Rate: 5}, engine.Options{Checkpoints: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(time.Second) // it is in the middle of a Save
		began := time.Now()
		w.end()
		if d := time.Since(began); d != 4*time.Second || !strings.Contains(log.String(), "no answer") {
			t.Errorf("ended after %v, logged %q", d, &log)
		}
		close(c.free)
	})
}

// stuck never answers, whatever ends.
type stuck struct {
	checkpoints
	free chan struct{}
}

func (s *stuck) Save(context.Context, iter.Seq2[int, resume.Session], resume.Starts) error {
	<-s.free
	return nil
}

// A process that could not start has its checkpoints closed, without a snapshot.
func TestCheckpointsWithoutStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(checkpoints)
		e, err := engine.New(engine.Options{Token: "t", GatewayURL: "ws://gateway:80", Shards: 1, IDs: []int{1}, Sink: discard{}, Checkpoints: c})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(t.Context()); !errors.As(err, new(*engine.ShardIDError)) {
			t.Errorf("Run = %v", err)
		}
		if kept, begun := c.state(); !c.closed || begun != 1 || len(kept) > 0 || c.count != (resume.Starts{}) {
			t.Errorf("closed %v, kept %+v, %+v in %d saves", c.closed, kept, c.count, begun)
		}
	})
}

// When Remove returns the shard's last snapshot is persisted, behind any that was being saved, and
// later ones do not mention the shard. One that was added is mentioned.
func TestCheckpointOfRemoved(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := new(checkpoints)
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20, ReplayLimit: 10_000}, engine.Options{Checkpoints: c})
		w.wait("events", func() bool { return w.sink.count("READY") == 2 })
		persist := c.stall()
		w.wait("a save", c.saving)
		type result struct {
			session resume.Session
			err     error
		}
		removed := make(chan result, 1)
		go func() {
			s, err := w.engine.Remove(t.Context(), 1)
			removed <- result{s, err}
		}()
		time.Sleep(2 * time.Second)
		select {
		case <-removed:
			t.Error("removed while an older snapshot is being saved")
		default:
		}
		persist()
		r := <-removed
		if r.err != nil || r.session.ID == "" {
			t.Fatalf("removed: %+v, %v", r.session, r.err)
		}
		if last := c.last(1); last != r.session {
			t.Errorf("kept %+v, want %+v", last, r.session)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if kept, _ := c.state(); len(kept) != 1 || kept[0].ID == "" {
			t.Errorf("kept %+v after shard 1 was removed", kept)
		}
		if err := w.engine.Add(t.Context(), 1, r.session); err != nil {
			t.Fatal(err)
		}
		w.ready(2)
		time.Sleep(time.Second)
		synctest.Wait()
		if kept, _ := c.state(); kept[1].ID != r.session.ID {
			t.Errorf("kept %+v after shard 1 was added", kept)
		}
		c.fail(errors.New("disk full"))
		if s, err := w.engine.Remove(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "disk full") || s.ID != r.session.ID {
			t.Errorf("removed with a store that fails: %+v, %v", s, err)
		}
		w.srv.Silence()
		w.end()
	})
}

// lateSink takes events, and acknowledges them when it is asked to.
type lateSink struct {
	*recorder
	acked   func(int)
	pending int
}

func (s *lateSink) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	return s.recorder.Publish(ctx, batch, func(n int) {
		s.acked = acked
		s.pending += n
	})
}

func (s *lateSink) acknowledge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked(s.pending)
	s.pending = 0
}

// Checkpoints that are closed are not asked again, by a Remove that has waited for the sink until then:
// what Close was given has its shard, too.
func TestRemoveAfterCheckpointsAreClosed(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := new(checkpoints)
		sink := &lateSink{recorder: new(recorder)}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20}, engine.Options{Sink: sink, Checkpoints: c, ShutdownTimeout: time.Second})
		w.wait("events", func() bool { return sink.count("READY") == 2 })
		removed := make(chan error, 1)
		go func() {
			_, err := w.engine.Remove(t.Context(), 1)
			removed <- err
		}()
		time.Sleep(time.Second)
		persist := c.stall()
		w.stop()
		time.Sleep(2 * time.Second) // ErrDrain; Close has begun
		sink.acknowledge()
		time.Sleep(time.Second)
		persist()
		if err := <-removed; !errors.Is(err, sinks.ErrStopped) {
			t.Errorf("Remove: %v", err)
		}
		synctest.Wait()
		if kept, begun := c.state(); !c.closed || len(kept) != 2 || begun != c.begunAtClose {
			t.Errorf("closed %v, with %+v; %d saves, %d of them until Close", c.closed, kept, begun, c.begunAtClose)
		}
		if err := <-w.ended; !errors.Is(err, engine.ErrDrain) {
			t.Errorf("Run: %v", err)
		}
	})
}

// Two calls of Remove have the last snapshot saved once: the second one's would come when the shard
// may be another's.
func TestRemoveTwiceAtOnce(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		c := new(checkpoints)
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 20}, engine.Options{Checkpoints: c, CheckpointEvery: time.Hour})
		w.wait("events", func() bool { return w.sink.count("READY") == 2 })
		_, before := c.state()
		persist := c.stall()
		removed := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := w.engine.Remove(t.Context(), 1)
				removed <- err
			}()
		}
		time.Sleep(10 * time.Second)
		persist()
		var elsewhere *sinks.NotLocalError
		first, second := <-removed, <-removed
		if first != nil {
			first, second = second, first
		}
		if first != nil || !errors.As(second, &elsewhere) {
			t.Errorf("Remove: %v and %v", first, second)
		}
		if _, begun := c.state(); begun != before+1 {
			t.Errorf("%d saves", begun-before)
		}
		w.end()
	})
}
