// This file checks and measures the check of JSON with the simulated Discord's events.

package wire_test

import (
	"testing"

	"sluice/bench/sim"
	"sluice/wire"
)

// mix returns d of events of the usual mix, and their mean size.
func mix(tb testing.TB) (events [][]byte, size int64) {
	rec, err := sim.Record(1024, "")
	if err != nil {
		tb.Fatal(err)
	}
	msgs, err := rec.Messages()
	if err != nil {
		tb.Fatal(err)
	}
	for _, msg := range msgs {
		var e wire.Envelope
		if err := wire.ParseEnvelope(msg, &e); err != nil {
			tb.Fatalf("%v: %s", err, msg)
		}
		events = append(events, e.Data)
		size += int64(len(e.Data))
	}
	return events, size / int64(len(events))
}

// BenchmarkMix measures the check of d, beside that byte by byte: with the same event again
// and again, a processor foresees every branch.
func BenchmarkMix(b *testing.B) {
	events, size := mix(b)
	for _, c := range []struct {
		name string
		len  func([]byte) int
	}{{"validLen", wire.ValidLen}, {"plain", wire.PlainLen}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(size)
			for i := 0; b.Loop(); i++ {
				d := events[i%len(events)]
				if c.len(d) != len(d) {
					b.Fatal("another length")
				}
			}
		})
	}
}
