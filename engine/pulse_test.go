// This file tests how it is noticed that the process was stopped.

package engine

import (
	"testing"
	"time"
)

// A clock that has gone on by more than the bound since the last beat is a stop, which each shard finds once,
// whoever has found it before.
func TestPulse(t *testing.T) {
	p := plainPath(t)
	trusted, asked := true, 0
	s := p.s
	s.epoch = 1
	s.env.opts.Trusted = func() bool { asked++; return trusted }
	s.env.pulse.after, s.env.pulse.began = 4*time.Second, p.now
	beat := func(d time.Duration) time.Time {
		p.now = p.now.Add(d)
		s.env.pulse.last.Store(int64(p.now.Sub(s.env.pulse.began)))
		return p.now
	}
	s.beat.at = p.now.Add(time.Hour)
	for range 10 {
		s.step(beat(4 * time.Second))
	}
	if asked != 0 || s.state() != Ready {
		t.Fatalf("asked %d times without a stop; %v", asked, s.state())
	}
	p.now = p.now.Add(4*time.Second + 1)
	s.step(p.now)
	p.event(2)
	if asked != 1 || s.state() != Ready {
		t.Fatalf("asked %d times after a stop; %v", asked, s.state())
	}
	trusted = false
	p.event(3)
	if p.drain(); asked != 1 || p.sink.events != 3 {
		t.Fatalf("asked %d times without a stop; %d events", asked, p.sink.events)
	}
	p.now = p.now.Add(5 * time.Second)
	if n := s.env.pulse.look(p.now); n != 2 {
		t.Fatalf("%d stops", n)
	}
	beat(0) // another has found it
	p.event(4)
	if p.drain(); asked != 2 || p.sink.events != 3 || s.state() != Backoff {
		t.Errorf("asked %d times, %d events, %v", asked, p.sink.events, s.state())
	}
}
