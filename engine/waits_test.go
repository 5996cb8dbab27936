// This file tests that no wait is silent, or for ever.

package engine_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
)

// logLines keeps what is logged.
type logLines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// lines returns the lines that hold all of the parts.
func (l *logLines) lines(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.all.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// READY does not come: that is logged, after half a minute and then each minute, and after ten
// the shard identifies again, in its turn, ever more rarely.
func TestNoReady(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		log := new(logLines)
		w := newWorld(t, reader, sim.Options{Faults: sim.Faults{Script: []sim.Rule{
			{When: sim.OnIdentify, Times: 1000, Do: sim.Action{Kind: sim.SlowReady, Delay: 100 * time.Hour}},
		}}}, engine.Options{Log: log.logger()})
		time.Sleep(29 * time.Second)
		if lines := log.lines("no READY yet"); len(lines) != 0 {
			t.Errorf("after 29 s: %s", lines)
		}
		time.Sleep(9 * time.Minute)
		if lines := log.lines("no READY yet", "level=WARN", "shard=0", "heartbeats_unanswered=0"); len(lines) != 9 {
			t.Errorf("%d warnings in nine and a half minutes, want 9: %s", len(lines), lines)
		}
		if n := w.srv.Ledger().Summary().Identifies; n != 1 {
			t.Errorf("%d identifies within ten minutes", n)
		}
		time.Sleep(2 * time.Minute)
		if n := w.srv.Ledger().Summary().Identifies; n != 2 {
			t.Errorf("%d identifies in twelve minutes, want 2", n)
		}
		if codes := w.clientClose(); len(codes) != 1 || codes[0] != 4900 {
			t.Errorf("closed with %v, want 4900", codes)
		}
		time.Sleep(24 * time.Hour)
		if n := w.srv.Ledger().Summary().Identifies; n < 60 || n > 120 {
			t.Errorf("%d identifies in a day", n)
		}
		sound(t, w)
		w.end()
	})
}

// The same with a bound of one's own.
func TestReadyTimeout(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Faults: sim.Faults{Script: []sim.Rule{
			{When: sim.OnIdentify, Times: 1, Do: sim.Action{Kind: sim.SlowReady, Delay: time.Hour}},
		}}}, engine.Options{ReadyTimeout: time.Minute})
		began := time.Now()
		w.ready(1)
		if d := time.Since(began); d < time.Minute || d > 2*time.Minute {
			t.Errorf("ready after %v", d)
		}
		w.end()
	})
}

// Each session is closed soon after it has begun: the shard does not use up the day's session
// starts, which the others need.
func TestSessionsThatDoNotLast(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2}, engine.Options{})
		w.ready(2)
		for began := time.Now(); time.Since(began) < 8*time.Hour; time.Sleep(time.Second) {
			w.srv.CloseShard(0, 4009, "")
		}
		if n := w.srv.Ledger().Summary().Identifies; n < 30 || n > 55 {
			t.Errorf("%d identifies in 8 hours", n)
		}
		// A session that lasts ends it: the next identify does not wait.
		w.ready(2)
		time.Sleep(11 * time.Minute)
		w.ready(2)
		began := time.Now()
		w.srv.CloseShard(0, 4009, "")
		w.wait("the next session", func() bool { return w.engine.Status().Ready == 1 })
		w.ready(2)
		if d := time.Since(began); d > 15*time.Second {
			t.Errorf("%v behind a session that had lasted", d)
		}
		sound(t, w)
		w.end()
	})
}

// Shards that wait for their turn to identify say so, once a minute for all.
func TestWaitsLogged(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		log := new(logLines)
		w := newWorld(t, reader, sim.Options{Shards: 100}, engine.Options{Log: log.logger(), QueueBytes: 64 << 10})
		time.Sleep(5*time.Minute + 10*time.Second)
		lines := log.lines("shards wait", `state="identify queued"`, "session_starts=")
		if len(lines) < 4 || len(lines) > 5 || !strings.Contains(lines[3], "longest=4m0s") {
			t.Errorf("%s", lines)
		}
		w.ready(100)
		w.quiet()
		if n := len(log.lines("event queue full")); n != 0 {
			t.Errorf("the queue was full %d times", n)
		}
		gate := make(chan struct{})
		w.sink.hold(gate)
		w.srv.Burst(0, 5000)
		time.Sleep(15 * time.Second)
		if lines := log.lines("event queue full", "level=WARN", "bytes=65536", "waiting="); len(lines) != 1 || strings.Contains(lines[0], "waiting=0") {
			t.Errorf("%s", lines)
		}
		time.Sleep(5 * time.Minute)
		if lines := log.lines("event queue full"); len(lines) < 5 || len(lines) > 6 {
			t.Errorf("%s", lines)
		}
		removed := make(chan struct{})
		go func() {
			defer close(removed)
			w.remove(1)
		}()
		time.Sleep(3 * time.Minute)
		if lines := log.lines("shards wait", "state=draining", "shards=1", "shard=1"); len(lines) < 1 || len(lines) > 2 {
			t.Errorf("%s", lines)
		}
		close(gate)
		<-removed
		time.Sleep(10 * time.Second)
		if lines := log.lines("event queue no longer full; reading resumed", "level=INFO", "after=8m"); len(lines) != 1 {
			t.Errorf("%s", lines)
		}
		w.end()
	})
}
