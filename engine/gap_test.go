// This file tests that a session that ends without a successor is told of, once.

package engine_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// toldGap is an event about a gap, which came before event number at.
type toldGap struct {
	name, data, session string
	at                  int
}

// wantGap checks that gap i was told of just before the READY that follows it.
func (w *world) wantGap(i int, lost resume.Session, reason string) {
	w.t.Helper()
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	if len(w.sink.gaps) <= i {
		w.t.Fatalf("%d gaps were told, want %d", len(w.sink.gaps), i+1)
	}
	g := w.sink.gaps[i]
	if next := w.sink.received[g.at].Type; next != "READY" || g.name != "GATEWAY_GAP" {
		w.t.Errorf("%s comes before %s", g.name, next)
	}
	var d struct {
		Shard, Shards   *int
		Session, Reason string
		Seq             int64
		At              time.Time
	}
	if err := json.Unmarshal([]byte(g.data), &d); err != nil || d.Shard == nil || d.Shards == nil {
		w.t.Fatalf("%s: %v", g.data, err)
	}
	if d.Session != lost.ID || g.session != lost.ID || d.Seq < lost.Seq || d.Reason != reason || d.At.IsZero() || d.At.After(time.Now()) {
		w.t.Errorf("told %s, want the end of %+v by %q", g.data, lost, reason)
	}
}

func TestGap(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     sim.Action
		reason string
	}{
		{"op 9", sim.Action{Kind: sim.InvalidSession}, "invalid session"},
		{"4007", sim.Action{Kind: sim.CloseFrame, Code: wire.CloseInvalidSeq}, "closed by Discord with 4007 (Invalid seq)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
				w := newWorld(t, reader, sim.Options{Rate: 2, Guilds: -1}, engine.Options{Gaps: true, Events: map[string]struct{}{"READY": {}}, Compression: wire.CompressionZstd})
				w.ready(1)
				before := w.sessions()[0]
				w.srv.Do(0, tt.do)
				w.wait("a session", func() bool { return w.engine.Status().Counts.Sessions == 2 })
				w.wait("the gap", func() bool { return w.sink.count("READY") == 2 })
				w.wantGap(0, before, tt.reason)
				if s := w.sessions()[0]; s.Gaps != [2]sinks.Gap{} || s.ID == before.ID {
					t.Errorf("afterwards there is %+v", s)
				}
				w.srv.Cut(0, true)
				w.wait("a resume", func() bool { return w.engine.Status().Counts.Resumes == 1 })
				if n := w.engine.Status().Counts.Gaps; n != 1 || len(w.sink.gaps) != 1 {
					t.Errorf("%d gaps", n)
				}
				if r := w.end(); r.Unknown > 0 { // the READY lies where it was inflated to, and the gap elsewhere
					t.Errorf("events that were never sent: %v", r)
				}
			})
		})
	}
}

// Events say when their session began, a gap that of the session which has ended; those of a session
// that an engine before this one began say what the store has kept, if anything.
func TestBegan(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{ReplayLimit: 10_000}, engine.Options{Gaps: true})
		start := time.Now().UnixNano()
		w.ready(1)
		first := w.sessions()[0]
		w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
		w.wait("the gap", func() bool { return w.sink.count("READY") == 2 })
		w.srv.Cut(0, true)
		w.wait("a resume", func() bool { return w.sink.count("RESUMED") == 1 })
		second := w.sessions()[0]
		w.sink.mu.Lock()
		if a, b := w.sink.began[first.ID], w.sink.began[second.ID]; a < start-int64(time.Hour) || b <= a {
			t.Errorf("the sessions began at %d and %d, the test at %d", a, b, start)
		}
		w.sink.mu.Unlock()
		for _, kept := range []int64{second.Began, 0} {
			w.stop()
			if err := <-w.ended; err != nil {
				t.Fatalf("Run = %v", err)
			}
			stored := w.sessions()
			session := stored[0]
			session.Began = kept
			stored[0] = session
			w.sink = new(recorder)
			w.start(engine.Options{Gaps: true, Checkpoints: keep(stored)})
			w.wait("a resume", func() bool { return w.sink.count("RESUMED") == 1 })
			w.sink.mu.Lock()
			if began, ok := w.sink.began[second.ID]; !ok || began != kept {
				t.Errorf("a session of the engine before began at %d, the store has %d", began, kept)
			}
			w.sink.mu.Unlock()
		}
		w.end()
	})
}

func TestGapsOff(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{}, engine.Options{})
		w.ready(1)
		w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
		w.wait("a session", func() bool { return w.engine.Status().Counts.Sessions == 2 })
		w.end()
		if len(w.sink.gaps) > 0 || w.sessions()[0].Gaps != [2]sinks.Gap{} {
			t.Errorf("told %v", w.sink.gaps)
		}
	})
}

// Until the sink has taken the gap it is stored, beside the session that follows: the next
// engine tells it, and continues that.
func TestGapIsStored(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 10_000}, engine.Options{Gaps: true})
		w.ready(2)
		first := w.sessions()[0]
		gate := make(chan struct{})
		w.sink.hold(gate)
		var second resume.Session
		for n := range 2 { // before the second, the sink has not had the first
			second = w.sessions()[0]
			w.srv.Do(0, sim.Action{Kind: sim.InvalidSession})
			w.wait("the end of the session", func() bool { return w.engine.Status().Counts.Lost == int64(n+1) })
			if s := w.sessions()[0]; s.Gaps[0].Session != first.ID {
				t.Errorf("after %d ends of a session there is %+v", n+1, s)
			}
			w.wait("the next", func() bool { return w.engine.Status().Counts.Sessions == int64(n+3) })
		}
		w.stop()
		if err := <-w.ended; !errors.Is(err, engine.ErrDrain) {
			t.Fatalf("Run = %v", err)
		}
		stored := w.sessions()
		w.sink = new(recorder)
		w.start(engine.Options{Gaps: true, Checkpoints: keep(stored)})
		w.ready(2)
		w.wait("the gap", func() bool { return w.sink.count("RESUMED") == 2 })
		w.wantSummary(4, 2)
		w.wantGap(0, first, "invalid session")
		w.wantGap(1, second, "invalid session")
		if len(w.sink.gaps) != 2 {
			t.Errorf("told %v", w.sink.gaps)
		}
		if s := w.sessions()[0]; s.Gaps != [2]sinks.Gap{} || s.ID != stored[0].ID {
			t.Errorf("afterwards there is %+v", s)
		}
		w.end()
	})
}

// Sessions that are not resumed at the start leave gaps as well.
func TestGapAtStart(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		ours := sinks.Gap{Session: "older", Seq: 7, At: time.Now().UnixMilli(), Reason: "too old"}
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2}, engine.Options{Gaps: true, Shards: 2, Checkpoints: keep(map[int]resume.Session{
			0: {ID: "other", Seq: 3, Shards: 4},
			1: {Gaps: [2]sinks.Gap{ours}},
		})})
		w.ready(2)
		w.wait("the events", func() bool { return w.sink.count("READY") == 2 })
		for i, g := range w.sink.gaps {
			want, reason := resume.Session{ID: "other", Seq: 3}, "the shard count was changed"
			if g.session == "older" {
				want, reason = resume.Session{ID: "older", Seq: 7}, "too old"
			}
			w.wantGap(i, want, reason)
		}
		if len(w.sink.gaps) != 2 {
			t.Errorf("told %v", w.sink.gaps)
		}
		w.end()
	})
}
