// This file guards that an event on its way costs no allocation. The broker is a
// fake one, for allocations in this process are what is counted.

//go:build !race

package amqp

import (
	"context"
	"testing"
	"time"

	"sluice/sinks"
)

func TestPublishAllocates(t *testing.T) {
	s, err := New(Options{URLs: []string{fakeBroker(t)}, Headers: true, Owner: "XYZ", Expiration: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	batch := make([]sinks.Event, 1000)
	for i := range batch {
		batch[i] = sinks.Event{Session: "s", Epoch: int64(i % 2), Type: []byte("MESSAGE_CREATE"), Data: make([]byte, 700)}
	}
	left := make(chan int, len(batch))
	patient, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	acked := func(n int) { left <- n }
	publish := func() {
		if err := s.Publish(t.Context(), batch, acked); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(batch); {
			select {
			case m := <-left:
				n += m
			case <-patient.Done():
				t.Fatal("a batch is not acknowledged")
			}
		}
	}
	publish()
	if n := testing.AllocsPerRun(200, publish); n > 0 {
		t.Errorf("%v allocations for %d events", n, len(batch))
	}
}
