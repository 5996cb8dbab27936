// This file guards the way of an event from the socket to a broker. Not under the race
// detector, which makes sync.Pool forget at random.

//go:build linux && !race

package bench

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"sluice/engine"
	"sluice/sinks"
	"sluice/sinks/amqp"
	"sluice/sinks/broker"
	"sluice/sinks/redis"
	"sluice/sinks/sinktest/rabbitmq"
	"sluice/sinks/sinktest/redistest"
	"sluice/wire"
)

// counting counts what the sink behind it acknowledges.
type counting struct {
	sinks.Sink
	count func(int)
	ack   func(int) // the engine's, always the same
	acked atomic.Int64
}

func (c *counting) Publish(ctx context.Context, batch []sinks.Event, acked func(int)) error {
	if c.count == nil {
		c.ack = acked
		c.count = func(n int) {
			c.ack(n)
			c.acked.Add(int64(n))
		}
	}
	return c.Sink.Publish(ctx, batch, c.count)
}

// brokerAllocs bounds the allocations for an event on its way to a broker: those of a
// batch, among its events.
const brokerAllocs = 0.2

// A flood from a socket to a broker. Nothing is collected meanwhile: the events that wait
// need buffers, and a collection empties the pool of those that are free.
func TestBrokerAllocs(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	body := broker.Format{}.Append
	for _, tt := range []struct {
		name string
		sink func(t *testing.T) sinks.Sink
	}{
		{"redis", func(t *testing.T) sinks.Sink {
			client, err := redis.NewClientOption([]string{redistest.Start(t).Addr}, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := redis.New(redis.Options{Client: client, Body: body, MaxLen: 1000, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}},
		{"amqp", func(t *testing.T) sinks.Sink {
			s, err := amqp.New(amqp.Options{URLs: []string{rabbitmq.Start(t, "").URL()}, Body: body, Headers: true, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sink := &counting{Sink: tt.sink(t)}
			p := startPath(t, engine.ReaderEpoll, false, wire.CompressionZstd, sink, nil)
			defer p.end()
			flood := func(events int) (allocs uint64) {
				var frames []byte
				for range events {
					frames = append(frames, p.event()...)
				}
				want := int64(p.next + 1) // with READY
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				p.send(frames)
				for end := time.Now().Add(2 * time.Minute); sink.acked.Load() < want; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%d of %d events are acknowledged", sink.acked.Load(), want)
					}
				}
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			flood(20_000)
			const events = 30_000
			n := float64(flood(events)) / events
			t.Logf("%.3f allocations for an event", n)
			if n > brokerAllocs {
				t.Errorf("%.3f allocations for an event, %v allowed", n, brokerAllocs)
			}
		})
	}
}
