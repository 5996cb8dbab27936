// This file tests which queues of a fleet are looked after.

package amqp

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// A queue that moves has no consumer for a moment, and it may be so at each check: it counts as deleted and declared
// again only if it was read here all the time.
func TestFleetKnown(t *testing.T) {
	r := &fleetRelay{read: make(map[string]time.Time)}
	unread := make(map[string]time.Time)
	for _, key := range []string{"stays", "moves", "leaves"} {
		r.reads(key, true)
		unread[key] = time.Now()
	}
	r.reads("leaves", false)
	r.reads("moves", false)
	for time.Now().Equal(unread["moves"]) { // a coarse clock
	}
	r.reads("moves", true)
	if keys := r.known(unread); !slices.Equal(keys, []string{"moves", "stays"}) {
		t.Errorf("read: %q", keys)
	}
	if left := slices.Sorted(maps.Keys(unread)); !slices.Equal(left, []string{"stays"}) {
		t.Errorf("unread all the time: %q", left)
	}
}
