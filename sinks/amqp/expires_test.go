// This file tests that the time messages may wait changes while events are sent.

package amqp

import (
	"bytes"
	"testing"
	"time"

	"sluice/sinks"
)

// After a change an event is what it would be from a sink that began with the new value.
func TestExpirationChanges(t *testing.T) {
	now := time.Duration(0)
	o := Options{Exchange: "x", Headers: true, Persistent: true, ExpirationNow: func() time.Duration { return now }}
	e := newEncoder(&o, 7, 0)
	ev := &sinks.Event{Type: []byte("A"), Session: "s", Data: []byte("1")}
	for _, now = range []time.Duration{time.Minute, 0, 1500 * time.Millisecond, 1500 * time.Millisecond, -1} {
		fixed := Options{Exchange: "x", Headers: true, Persistent: true, Expiration: now}
		want, err := newEncoder(&fixed, 7, 0).append(nil, ev)
		if err != nil {
			t.Fatal(err)
		}
		e.refresh(&o)
		if got, err := e.append(nil, ev); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v, want %x", now, got, err, want)
		}
	}
}
