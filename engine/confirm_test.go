// This file tests shards whose ownership is confirmed before they connect, and goes meanwhile.

package engine_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// owners answer for a fleet.
type owners struct {
	trusted atomic.Bool

	mu    sync.Mutex
	asked []int64            // epochs
	auto  bool               // answered at once, within Confirm
	last  func(bool)         // done of the last question
	lost  map[int64]struct{} // epochs that are another's
}

func newOwners(auto bool) *owners {
	o := &owners{auto: auto, lost: make(map[int64]struct{})}
	o.trusted.Store(true)
	return o
}

func (o *owners) confirm(_ int, epoch int64, done func(bool)) {
	o.mu.Lock()
	o.asked, o.last = append(o.asked, epoch), done
	auto, lost := o.auto, o.isLost(epoch)
	o.mu.Unlock()
	if auto {
		done(!lost)
		done(lost) // counts for nothing
	}
}

func (o *owners) isLost(epoch int64) bool {
	_, lost := o.lost[epoch]
	return lost
}

// count returns how often was asked.
func (o *owners) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

// answer answers the last question.
func (o *owners) answer(owned bool) {
	o.mu.Lock()
	done := o.last
	o.mu.Unlock()
	done(owned)
}

func (o *owners) lose(epoch int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost[epoch] = struct{}{}
}

// Each connection of a shard with an epoch is confirmed before it is made, at whatever time the answer
// comes; that wait is logged. A shard that is another's by then is deposed, and connects to nothing.
func TestConfirm(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		o, log := newOwners(false), new(logLines)
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, Rate: 5, ReplayLimit: 10_000}, engine.Options{
			IDs: none, Confirm: o.confirm, Trusted: o.trusted.Load, Log: log.logger(),
		})
		w.add(1, resume.Session{}) // in no fleet: nobody is asked
		w.ready(1)
		w.add(0, resume.Session{Epoch: 7})
		time.Sleep(3 * time.Minute)
		if n := w.dialed(); n != 1 || o.count() != 1 || w.shard(0).State != engine.Confirming {
			t.Errorf("%d connections, asked %d times, %v", n, o.count(), w.shard(0).State)
		}
		if lines := log.lines("shards wait", "state=confirming", "shards=1", "shard=0"); len(lines) < 2 {
			t.Errorf("logged %q", lines)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := w.engine.Reconnect(ctx, 0, engine.ReconnectIdentify); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Reconnect: %v", err)
		}
		cancel()
		o.answer(true)
		w.ready(2)
		time.Sleep(10 * time.Second)
		w.srv.Cut(0, true)
		w.wait("the next question", func() bool { return o.count() == 2 })
		time.Sleep(10 * time.Second)
		if n := w.dialed(); n != 2 {
			t.Errorf("%d connections", n)
		}
		o.answer(true)
		w.ready(2)
		w.srv.Cut(0, true)
		w.wait("the next question", func() bool { return o.count() == 3 })
		session := w.sessions()[0]
		o.answer(false)
		w.wait("the end of the shard", func() bool { return w.engine.Status().Running == 1 })
		time.Sleep(time.Minute)
		if n := w.dialed(); n != 3 {
			t.Errorf("%d connections", n)
		}
		if lines := log.lines("shard deposed", "shard=0", "not confirmed"); len(lines) != 1 {
			t.Errorf("logged %q", lines)
		}
		var elsewhere *sinks.NotLocalError
		if _, err := w.engine.Remove(t.Context(), 0); !errors.As(err, &elsewhere) {
			t.Errorf("Remove: %v", err)
		}
		// Nor is a shard deposed by an answer about the one before it, and stopping waits for no answer.
		session.Epoch = 8
		w.add(0, session)
		w.wait("the next question", func() bool { return o.count() == 4 })
		o.mu.Lock()
		old := o.last
		o.mu.Unlock()
		w.remove(0)
		session.Epoch = 9
		w.add(0, session)
		old(false)
		o.answer(true)
		w.ready(2)
		w.srv.Silence()
		whole(t, w.quiet())
		if s := w.srv.Ledger().Summary(); s.Identifies != 2 {
			t.Errorf("%d identifies", s.Identifies)
		}
		sound(t, w)
		whole(t, w.end())
	})
}

// The answer may come within Confirm, also while the shard is added.
func TestConfirmAtOnce(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		o := newOwners(true)
		w := newWorld(t, reader, sim.Options{}, engine.Options{IDs: none, Confirm: o.confirm}) // Trusted is no one's
		o.lose(1)
		w.add(0, resume.Session{Epoch: 1, ID: "of another"})
		w.wait("the end of the shard", func() bool { return w.engine.Status().Running == 0 })
		w.add(0, resume.Session{Epoch: 2})
		w.ready(1)
		if n := w.dialed(); n != 1 {
			t.Errorf("%d connections", n)
		}
		// An answer takes its time, which is no stop of the process.
		o.mu.Lock()
		o.auto = false
		o.mu.Unlock()
		w.srv.Cut(0, true)
		w.wait("the question", func() bool { return o.count() == 3 })
		time.Sleep(30 * time.Second)
		o.answer(true)
		w.ready(1)
		if n := o.count(); n != 3 {
			t.Errorf("asked %d times", n)
		}
		w.end()
	})
}

// A session is neither resumed nor begun while the ownership was not confirmed of late: the connection is closed
// with its session kept, and confirmed anew.
func TestUntrusted(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		o := newOwners(true)
		w := newWorld(t, reader, sim.Options{ReplayLimit: 10_000}, engine.Options{IDs: none, Confirm: o.confirm, Trusted: o.trusted.Load})
		o.trusted.Store(false)
		w.add(0, resume.Session{Epoch: 1})
		time.Sleep(5 * time.Minute)
		if s := w.srv.Ledger().Summary(); s.Identifies > 0 || s.Connects < 3 || s.Connects > 60 || o.count() < s.Connects {
			t.Errorf("%v; asked %d times", s, o.count())
		}
		o.trusted.Store(true)
		w.ready(1)
		// A connection that stays open is kept, and heartbeats go on: nobody knows better.
		o.trusted.Store(false)
		asked := o.count()
		time.Sleep(10 * time.Minute)
		if w.engine.Status().Ready != 1 || o.count() != asked {
			t.Errorf("%d ready, asked %d times", w.engine.Status().Ready, o.count()-asked)
		}
		w.srv.Cut(0, true)
		time.Sleep(30 * time.Second)
		if n := len(w.resumes()); n > 0 || w.engine.Status().Ready != 0 {
			t.Errorf("%d resumes", n)
		}
		o.trusted.Store(true)
		w.ready(1)
		kept := 0
		for _, c := range w.srv.Ledger().Closes() {
			if c.FromClient && c.Code != wire.CloseKeepSession {
				t.Errorf("closed with %v", c.Code)
			} else if c.FromClient {
				kept++
			}
		}
		if kept < 3 {
			t.Errorf("%d connections closed with the session kept", kept)
		}
		if n := ended(w.engine.Status(), "ownership not confirmed", 0); n < 3 {
			t.Errorf("%d connections counted", n)
		}
		w.srv.Silence()
		w.quiet()
		w.wantSummary(1, 1)
		w.end()
	})
}

// After the process was stopped nothing is sent before the ownership is confirmed again: neither a
// heartbeat, nor a command, nor an answer to one of Discord's. A shard in no fleet goes on.
func TestStoppedProcess(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		o := newOwners(true)
		w := newWorld(t, reader, sim.Options{Shards: 2, MaxConcurrency: 2, ReplayLimit: 10_000}, engine.Options{IDs: none, Confirm: o.confirm, Trusted: o.trusted.Load})
		w.add(0, resume.Session{Epoch: 1})
		w.add(1, resume.Session{})
		w.ready(2)
		asked := o.count()
		w.engine.Stopped() // and confirmed
		w.send(0)
		time.Sleep(2 * time.Minute)
		if n := w.dialed(); n != 2 || o.count() != asked || w.engine.Status().Commands.Sent != 1 {
			t.Errorf("%d connections, asked %d times, %d commands", n, o.count()-asked, w.engine.Status().Commands.Sent)
		}
		for i, what := range []string{"heartbeat", "command", "a heartbeat that is asked for"} {
			sent := w.shard(0).Sent
			o.mu.Lock()
			o.auto = false
			o.mu.Unlock()
			o.trusted.Store(false)
			w.engine.Stopped()
			switch i {
			case 1:
				w.send(0)
			case 2:
				w.srv.Do(0, sim.Action{Kind: sim.AskHeartbeat})
			}
			w.wait("the question", func() bool { return o.count() == asked+i+1 })
			if n := w.shard(0).Sent; n != sent || w.shard(1).State != engine.Ready {
				t.Errorf("%s: %d sent after the stop; shard 1 is %v", what, n-sent, w.shard(1).State)
			}
			time.Sleep(10 * time.Second)
			o.trusted.Store(true)
			o.mu.Lock()
			o.auto = true
			o.mu.Unlock()
			o.answer(true)
			w.ready(2)
		}
		// An answer from before a stop is none.
		o.mu.Lock()
		o.auto = false
		o.mu.Unlock()
		w.srv.Cut(0, true)
		w.wait("the question", func() bool { return o.count() == asked+4 })
		w.engine.Stopped()
		o.answer(true)
		w.wait("another question", func() bool { return o.count() == asked+5 }) // a loop looks every few milliseconds
		if state := w.shard(0).State; state != engine.Confirming {
			t.Errorf("state %v", state)
		}
		o.answer(true)
		w.ready(2)
		w.srv.Silence()
		w.quiet()
		w.wantSummary(2, 4)
		w.end()
	})
}

// send gives a command to a shard.
func (w *world) send(shard int) {
	w.t.Helper()
	if err := w.engine.Send(w.t.Context(), sinks.Command{Shard: shard, Packet: []byte(`{"op":3,"d":{"since":null,"activities":[],"status":"online","afk":false}}`)}); err != nil {
		w.t.Errorf("Send: %v", err)
	}
}
