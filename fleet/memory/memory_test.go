package memory

import (
	"testing"
	"time"

	"sluice/fleet/fleettest"
)

// stopped is a clock that stands still until it is set.
type stopped struct{ now time.Time }

func newStopped() *stopped { return &stopped{time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (s *stopped) advance(d time.Duration) { s.now = s.now.Add(d) }

func TestConformance(t *testing.T) {
	fleettest.Test(t, func(t *testing.T) fleettest.Subject {
		clock := newStopped()
		c := New(func() time.Time { return clock.now })
		return fleettest.Subject{Coordinator: c, Advance: clock.advance, Forget: func(incarnation string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.members, incarnation)
		}}
	})
}

// The suite holds for a clock that runs, too.
func TestConformanceRunning(t *testing.T) {
	fleettest.Test(t, func(t *testing.T) fleettest.Subject {
		var ahead time.Duration
		c := New(func() time.Time { return time.Now().Add(ahead) })
		return fleettest.Subject{Coordinator: c, Advance: func(d time.Duration) { ahead += d }, Forget: func(incarnation string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.members, incarnation)
		}}
	})
}

// What is compared with another coordinator is all that one can see: two in memory do not differ.
func TestRandom(t *testing.T) {
	for seed := range uint64(3) {
		clock := newStopped()
		now := func() time.Time { return clock.now }
		fleettest.Random(t, New(now), New(now), clock.advance, 5_000, seed)
	}
}
