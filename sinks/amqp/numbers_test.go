// This file holds what is promised in numbers against numbers of its own.

package amqp

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/window"
)

// The defaults are those of the table of settings, and of docs/rabbitmq.md.
func TestDefaults(t *testing.T) {
	s, err := New(Options{URLs: []string{"amqp://127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	o := s.o
	if o.Exchange != "gateway" || o.Kind != "direct" || o.Window != 4096 || o.Prefetch != 64 {
		t.Errorf("exchange %s, kind %s, window %d, prefetch %d", o.Exchange, o.Kind, o.Window, o.Prefetch)
	}
	if o.Heartbeat != 10*time.Second || o.ConnectTimeout != 10*time.Second {
		t.Errorf("heartbeat %v, connect timeout %v", o.Heartbeat, o.ConnectTimeout)
	}
	if s.every != 30*time.Second || s.stuckAfter != time.Minute {
		t.Errorf("the topology is checked every %v, and a broker that confirms nothing is logged after %v", s.every, s.stuckAfter)
	}
	c := (&brokers{o: &o}).config(&s.addresses[0])
	if c.FrameSize != 131072 || c.Heartbeat != 10*time.Second {
		t.Errorf("frames of %d bytes, a heartbeat of %v", c.FrameSize, c.Heartbeat)
	}
	if consumerTimeout != 86_400_000 {
		t.Errorf("RabbitMQ is asked to wait %d ms for a command, want a day", consumerTimeout)
	}
	for _, bound := range []Options{{Prefetch: 65535}, {Prefetch: 1}, {Window: 1}, {Heartbeat: time.Second}} {
		bound.URLs = []string{"amqp://127.0.0.1"}
		if _, err := New(bound); err != nil {
			t.Errorf("%+v: %v", bound, err)
		}
	}
}

// A message is logged once a minute, to the nanosecond.
func TestLimiterMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncLog)
		l := limiter{log: slog.New(slog.NewTextHandler(log, nil))}
		for i := range 3 {
			l.warn("again", "n", i)
			time.Sleep(time.Minute - 1)
			l.warn("again", "n", i) // left out
			time.Sleep(time.Nanosecond)
		}
		l.warn("again")
		if log.count("msg=again") != 4 || log.count("left_out=1\n") != 3 || log.count("left_out") != 3 {
			t.Errorf("the log: %s", log)
		}
		time.Sleep(time.Minute)
		l.warn("again")
		if log.count("left_out") != 3 {
			t.Errorf("nothing was left out: %s", log)
		}
	})
}

// An outage is over at once if the last one ended a minute ago, and otherwise when the connection
// has lasted for 5 s.
func TestRecoveryDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncLog)
		r := recovery{Outage: broker.Outage{Log: slog.New(slog.NewTextHandler(log, nil)), Broker: "RabbitMQ"}}
		r.end()
		if log.String() != "" {
			t.Errorf("the end of no outage is logged: %s", log)
		}
		r.Failed(ErrClosed)
		if !r.due(0) {
			t.Error("the first outage is not over at once")
		}
		r.end()
		for _, tt := range []struct {
			since, lasted time.Duration
			want          bool
		}{
			{0, 0, false}, {0, 5*time.Second - 1, false}, {0, 5 * time.Second, true}, {time.Minute - 1, 0, false}, {1, 0, true},
		} {
			time.Sleep(tt.since)
			if got := r.due(tt.lasted); got != tt.want {
				t.Errorf("after a connection of %v: %v, want %v", tt.lasted, got, tt.want)
			}
		}
		if log.count("available again") != 1 {
			t.Errorf("the log: %s", log)
		}
		// What is up when an outage has ended lately waits for 5 s.
		r.Failed(ErrClosed)
		r.end()
		r.Failed(ErrClosed)
		began := time.Now()
		if r.up(t.Context()); time.Since(began) != 5*time.Second || r.out {
			t.Errorf("after %v the outage is over: %v", time.Since(began), !r.out)
		}
		r.Failed(ErrClosed)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if r.up(ended); !r.out {
			t.Error("the outage ends with the connection")
		}
	})
}

// An event is dead-lettered when the broker has closed the channel for it alone three times, with its
// size; after two such closes events are sent one at a time.
func TestDeadLetteredAfterThreeCloses(t *testing.T) {
	about := func(size int) error {
		return &closedError{method: classBasic<<16 | basicPublish, code: 406, text: fmt.Sprintf("PRECONDITION_FAILED - message size %d is larger than configured max size 10", size)}
	}
	newRunner := func(n int) *runner {
		r := &runner{Sink: &Sink{window: window.New(16)}}
		r.window.Begin(nil)
		r.window.Add(make([]sinks.Event, n), func(int) {})
		return r
	}
	r := newRunner(4)
	for i := range 3 {
		r.largest = 100
		r.window.Sending(min(2, 4-i))
		if i > 0 && (r.single == 0) != (i < 2) {
			t.Errorf("after %d closes events up to place %d are sent alone", i, r.single)
		}
		r.suspect(about(100))
		r.window.Begin(nil)
	}
	if p := r.window.Look(false); p.Poisoned != window.None || r.single != 2 {
		t.Fatalf("with another in flight: %+v, alone up to %d", p, r.single)
	}
	for i := range 3 { // from here on it is alone
		if p := r.window.Look(false); p.Poisoned != window.None && i < 1 {
			t.Fatalf("dead-lettered after %d closes: %+v", i, p)
		}
		r.window.Sending(1)
		r.suspect(about(100))
		r.window.Begin(nil)
	}
	if p := r.window.Look(false); p.Poisoned != 0 || r.reason == nil {
		t.Errorf("not dead-lettered: %+v", p)
	}

	// Three for it alone, neither two nor four.
	r = newRunner(1)
	r.single, r.largest = 1, 100
	for i := range 3 {
		if p := r.window.Look(false); p.Poisoned != window.None {
			t.Fatalf("dead-lettered after %d closes", i)
		}
		r.window.Sending(1)
		r.suspect(about(100))
		r.window.Begin(nil)
	}
	if p := r.window.Look(false); p.Poisoned != 0 {
		t.Error("not dead-lettered after three closes")
	}

	// Of another size it may be about another.
	r = newRunner(1)
	r.single, r.largest = 1, 100
	for range 10 {
		r.window.Sending(1)
		r.suspect(about(101))
		r.window.Begin(nil)
	}
	if p := r.window.Look(false); p.Poisoned != window.None {
		t.Error("dead-lettered for the size of another")
	}
}

// Confirms may be late with a window of 1,024 events and more, unless every one is waited for.
func TestPatientWindow(t *testing.T) {
	for size, want := range map[int]bool{1023: false, 1024: true, 4096: true} {
		s := &Sink{o: Options{Window: size}, window: window.New(size)}
		if got := s.patient(); got != want {
			t.Errorf("a window of %d: %v", size, got)
		}
		if s.window.Look(true); s.patient() {
			t.Errorf("a window of %d that is watched waits", size)
		}
	}
	if confirmPause != 2*time.Millisecond {
		t.Errorf("confirms are late by %v, want 2 ms", confirmPause)
	}
}

// Waits after a refusal, and the bounds of what is kept.
func TestBounds(t *testing.T) {
	for _, b := range []struct {
		what      string
		got, want any
	}{
		{"the first wait after a nack", firstRetry, 100 * time.Millisecond},
		{"the longest wait after a nack", lastRetry, 5 * time.Second},
		{"how long a connection must last", steady, 5 * time.Second},
		{"how long a broker has for its last word", closeTimeout, time.Second},
		{"how long it has to take acknowledgements at the end", settleTimeout, 5 * time.Second},
		{"how long the confirm of a reply may take", replyTimeout, 5 * time.Second},
		{"how many replies wait", maxReplies, 1024},
		{"how long a queue may be unread", unreadFor, 5 * time.Second},
		{"how often the queue of a shard may be gone", unroutableTries, 3},
		{"bytes of a command", maxCommand, 65536},
		{"bytes of a short string", maxShort, 255},
		{"events of a write", maxBatch, 512},
		{"bytes of a write", maxWrite, 262144},
	} {
		if fmt.Sprint(b.got) != fmt.Sprint(b.want) {
			t.Errorf("%s: %v, want %v", b.what, b.got, b.want)
		}
	}
}
