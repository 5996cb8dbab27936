// This file tests the lines that go on, and the ends of outages, on fake time.

package amqp

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sinks"
	"sluice/sinks/broker"
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
		time.Sleep(time.Minute)
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
		r := recovery{Outage: broker.Outage{Log: slog.New(slog.NewTextHandler(log, nil)), Broker: "RabbitMQ"}}
		tries := 0
		for begin := time.Now(); time.Since(begin) < 10*time.Minute; tries++ {
			time.Sleep(r.Failed(ErrClosed))
			if r.due(10 * time.Millisecond) {
				r.end()
			}
		}
		// Pauses grow to 2 s, and begin again after a minute.
		if n := log.count("unavailable; buffering events"); n > 21 || tries > 10*60 {
			t.Errorf("%d lines and %d tries in 10 minutes", n, tries)
		}
		if !r.due(5 * time.Second) {
			t.Error("a connection that lasts does not end the outage")
		}
	})
}

// TestOwnQueuePending has shards that take no commands for minutes: the log says so once a minute,
// for all of them.
func TestOwnQueuePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(syncLog)
		s, err := New(Options{URLs: []string{"amqp://127.0.0.1"}, Exchange: "gateway", Log: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		var taken atomic.Bool
		r := &relay{sink: s, behind: make(map[int]string)}
		r.router.Send = func(_ context.Context, c sinks.Command) error {
			if !taken.Load() {
				return fmt.Errorf("shard %d: %w", c.Shard, sinks.ErrQueueFull)
			}
			return nil
		}
		for _, key := range []string{"0", "1"} {
			go r.handle(t.Context(), &command{key: key, body: []byte(`{"op":3,"d":{"since":null,"activities":[],"status":"dnd","afk":false}}`)})
		}
		const line = `msg="RabbitMQ commands pending; their shard takes no more" queue=gateway:`
		for minute := range 4 {
			synctest.Wait()
			if n := log.count(line); n != minute+1 || n != log.count("command queue is full") {
				t.Errorf("%d lines after %d minutes: %s", n, minute, log)
			}
			time.Sleep(time.Minute + 100*time.Millisecond)
		}
		taken.Store(true)
		synctest.Wait()
		lines := log.count("\n")
		time.Sleep(2 * time.Minute)
		if n := log.count("\n"); n != lines {
			t.Errorf("%d lines of a shard that takes commands again: %s", n-lines, log)
		}
	})
}
