// This file tests what an operator asks of running shards.

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/bench/sim"
	"sluice/engine"
	"sluice/sinks"
)

// reconnect asks for it, and expects no error.
func (w *world) reconnect(shard int, how engine.Reconnect) {
	w.t.Helper()
	if err := w.engine.Reconnect(w.t.Context(), shard, how); err != nil {
		w.t.Fatal(err)
	}
}

// refused expects an error with the text.
func (w *world) refused(shard int, how engine.Reconnect, text string) {
	w.t.Helper()
	if err := w.engine.Reconnect(w.t.Context(), shard, how); err == nil || !strings.Contains(err.Error(), text) {
		w.t.Errorf("Reconnect(%d, %d) = %v, want %q", shard, how, err, text)
	}
}

// Shards that are reconnected again and again, while events flow, keep their sessions; each event
// arrives once and in order.
func TestReconnectKeepsEvents(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		const shards, rounds = 3, 20
		w := newWorld(t, reader, sim.Options{Shards: shards, Rate: 20, ReplayLimit: 100_000, Seed: 1}, engine.Options{})
		w.ready(shards)
		for round := range rounds {
			for shard := range shards {
				w.reconnect(shard, engine.Reconnect(round%2)) // any, or a resume
			}
			time.Sleep(time.Duration(round%7) * time.Second / 2)
			w.ready(shards)
		}
		w.srv.Silence()
		whole(t, w.quiet())
		s := w.srv.Ledger().Summary()
		if s.Identifies != shards || s.Resumed < shards*rounds/2 {
			t.Errorf("%v", s)
		}
		for _, c := range w.srv.Ledger().Closes() {
			if c.FromClient && c.Code != 4900 {
				t.Errorf("closed with %d", c.Code)
			}
		}
		sound(t, w)
		whole(t, w.end())
	})
}

// A thousand that ask at once, and one who asks a thousand times in a row, cost no session and no
// Identify, and not a connection each.
func TestReconnectAThousandTimes(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Rate: 20, ReplayLimit: 100_000, Seed: 1}, engine.Options{})
		w.ready(1)
		began := time.Now()
		var asking sync.WaitGroup
		for range 1000 {
			asking.Go(func() { w.reconnect(0, engine.ReconnectAny) })
		}
		asking.Wait()
		for range 1000 {
			w.reconnect(0, engine.ReconnectAny)
		}
		w.ready(1)
		w.srv.Silence()
		whole(t, w.quiet())
		s := w.srv.Ledger().Summary()
		if most := int(time.Since(began)/time.Second) + 2; s.Identifies != 1 || s.Connects > most {
			t.Errorf("more than %d connections: %v", most, s)
		}
		whole(t, w.end())
	})
}

// A session that is given up ends with a gap; another begins in its turn. Asked a thousand times, the
// shard does so once a minute at most, and says when.
func TestReconnectIdentify(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Rate: 20, Seed: 1}, engine.Options{Gaps: true})
		w.ready(1)
		before := w.sessions()[0]
		w.refused(0, engine.ReconnectIdentify, "may not be asked to do so again before")
		time.Sleep(time.Minute)
		if s := w.sessions()[0]; s.ID != before.ID {
			t.Fatal("the session is lost by what was refused")
		}
		asked := time.Now()
		w.reconnect(0, engine.ReconnectIdentify)
		w.refused(0, engine.ReconnectIdentify, "about to identify")
		w.refused(0, engine.ReconnectResume, "no session to resume")
		w.wait("another session", func() bool { return w.engine.Status().Counts.Sessions == 2 })
		w.wait("its events", func() bool { return w.sink.count("READY") == 2 })
		w.wantGap(0, before, "asked for by the operator")
		if took := time.Since(asked); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		for range 1000 {
			if w.engine.Reconnect(t.Context(), 0, engine.ReconnectIdentify) == nil {
				w.ready(1)
			}
			time.Sleep(time.Second)
		}
		if n := w.srv.Ledger().Summary().Identifies; n > 8 { // 4 of them without a wait, then after 1, 2, 4 and 8 minutes
			t.Errorf("%d Identifies", n)
		}
		sound(t, w)
		w.end()
	})
}

// What would lose a session that cannot be had again is refused.
func TestReconnectWithoutBudget(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 2, IdentifyTotal: 2}, engine.Options{})
		w.ready(2)
		time.Sleep(2 * time.Minute)
		w.refused(1, engine.ReconnectIdentify, "shard 1: the identify budget is used up")
		w.reconnect(1, engine.ReconnectAny)
		time.Sleep(time.Minute)
		w.ready(2)
		if s := w.engine.Status().Counts; s.Lost != 0 || s.Resumes != 1 {
			t.Errorf("%+v", s)
		}
		w.end()
	})
}

// A shard that waits to connect goes at once; one that connects is asked when that has ended, or not
// at all.
func TestReconnectInBackoff(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{SessionTTL: time.Hour, ReplayAge: time.Hour}, engine.Options{Gaps: true})
		w.ready(1)
		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		w.srv.Cut(0, true)
		time.Sleep(10 * time.Minute) // waits of up to a minute
		for _, how := range []engine.Reconnect{engine.ReconnectAny, engine.ReconnectResume} {
			before := w.dialed()
			for range 100 {
				w.reconnect(0, how)
			}
			time.Sleep(2 * time.Second)
			if n := w.dialed() - before; n < 1 || n > 4 {
				t.Errorf("%d connections were tried within two seconds", n)
			}
		}
		w.srv.SetGateway(sim.GateOpen)
		w.srv.SetResumeHost(sim.GateOpen)
		time.Sleep(2 * time.Second)
		if w.engine.Status().Ready == 0 { // else its wait has ended meanwhile
			w.reconnect(0, engine.ReconnectAny)
		}
		time.Sleep(2 * time.Second)
		if s := w.engine.Status(); s.Ready != 1 || s.Counts.Resumes != 1 {
			t.Errorf("%+v", s)
		}

		w.srv.SetGateway(sim.GateSilent) // it connects, or waits for Hello
		w.srv.SetResumeHost(sim.GateSilent)
		w.srv.Cut(0, true)
		w.wait("the connection", func() bool { return w.engine.Status().Ready == 0 })
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.engine.Reconnect(ctx, 0, engine.ReconnectAny); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		w.reconnect(0, engine.ReconnectAny)

		w.srv.SetGateway(sim.GateRefuse)
		w.srv.SetResumeHost(sim.GateRefuse)
		time.Sleep(time.Minute)
		w.reconnect(0, engine.ReconnectIdentify) // of a shard without a connection
		w.srv.SetGateway(sim.GateOpen)
		w.ready(1)
		if s := w.engine.Status().Counts; s.Lost != 1 || s.Gaps != 1 || s.Sessions != 2 {
			t.Errorf("%+v", s)
		}
		w.end()
	})
}

// Each error says which shard, and changes nothing.
func TestReconnectErrors(t *testing.T) {
	onReaders(t, func(t *testing.T, reader engine.ReaderKind) {
		w := newWorld(t, reader, sim.Options{Shards: 4}, engine.Options{IDs: []int{0, 1, 2}})
		w.ready(3)
		if err := w.engine.Reconnect(t.Context(), 4, engine.ReconnectAny); !errors.As(err, new(*engine.ShardIDError)) {
			t.Error(err)
		}
		notLocal := func(shard int) {
			t.Helper()
			var e *sinks.NotLocalError
			if err := w.engine.Reconnect(t.Context(), shard, engine.ReconnectAny); !errors.As(err, &e) || e.Shard != shard {
				t.Errorf("shard %d: %v", shard, err)
			}
		}
		notLocal(3)
		if _, err := w.engine.Remove(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		notLocal(1)
		w.engine.Depose(2)
		notLocal(2)
		w.refused(0, 3, fmt.Sprint("there is no Reconnect ", 3))
		if n := w.srv.Ledger().Summary().Connects; n != 3 {
			t.Errorf("%d connections", n)
		}
		w.end()
		if err := w.engine.Reconnect(t.Context(), 0, engine.ReconnectAny); err != sinks.ErrStopped {
			t.Error(err)
		}
	})
}
