// This file tests the lines that go on, and the ends of outages, on fake time.

package amqp

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncLog)
		l := limiter{log: slog.New(slog.NewTextHandler(log, nil))}
		for range 300_000 {
			l.warn("again")
		}
		l.warn("another")
		if log.count("msg=again") != 1 || log.count("msg=another") != 1 {
			t.Errorf("the first: %.300s", log)
		}
		time.Sleep(logEvery)
		l.warn("again")
		if log.count("msg=again") != 2 || log.count("left_out=299999") != 1 {
			t.Errorf("after a minute: %.300s", log)
		}
	})
}

// TestRecovery has a broker that is good for a moment, again and again.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncLog)
		r := recovery{Outage: sinks.Outage{Log: slog.New(slog.NewTextHandler(log, nil)), Broker: "amqp"}}
		tries := 0
		for begin := time.Now(); time.Since(begin) < 10*time.Minute; tries++ {
			time.Sleep(r.Failed(ErrClosed, ""))
			if r.due(10 * time.Millisecond) {
				r.end()
			}
		}
		// Pauses grow to 2 s, and begin again after a minute.
		if n := log.count("takes no events"); n > 21 || tries > 10*60 {
			t.Errorf("%d lines and %d tries in 10 minutes", n, tries)
		}
		if !r.due(steady) {
			t.Error("a connection that lasts does not end the outage")
		}
	})
}
