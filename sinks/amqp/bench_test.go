//go:build linux

// This file measures the sink beside a plain publisher with pipelined confirms, both
// with a real RabbitMQ.

package amqp

import (
	"syscall"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"sluice/sinks"
	"sluice/sinks/sinktest/rabbitmq"
)

// inFlight bounds what is not confirmed, in both publishers.
const inFlight = 4096

// BenchmarkPublish publishes messages of 750 bytes of which a queue keeps the last
// 1,000. The processor's time is that of this process, without the broker's; but the
// broker takes all the rest of it, and so bounds events/s.
func BenchmarkPublish(b *testing.B) {
	node := rabbitmq.Start(b, "")
	ch := channel(b, dial(b, node.URL()))
	if err := ch.ExchangeDeclare("gateway", "direct", true, false, false, false, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := ch.QueueDeclare("bench", false, false, false, false, amqp091.Table{"x-max-length": 1000}); err != nil {
		b.Fatal(err)
	}
	if err := ch.QueueBind("bench", "MESSAGE_CREATE", "gateway", false, nil); err != nil {
		b.Fatal(err)
	}
	b.Run("own", func(b *testing.B) { benchmarkOwn(b, node.URL()) })
	b.Run("amqp091-go", func(b *testing.B) { benchmarkPlain(b, node.URL()) })
}

// BenchmarkPublishFake does the same with a broker that costs next to nothing: what it
// costs is part of the processor's time.
func BenchmarkPublishFake(b *testing.B) {
	b.Run("own", func(b *testing.B) { benchmarkOwn(b, fakeBroker(b)) })
	b.Run("amqp091-go", func(b *testing.B) { benchmarkPlain(b, fakeBroker(b)) })
}

func benchmarkOwn(b *testing.B, url string) {
	s, err := New(Options{URLs: []string{url}, Window: inFlight, Expiration: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	batch := make([]sinks.Event, 256)
	for i := range batch {
		batch[i] = sinks.Event{Type: []byte("MESSAGE_CREATE"), Data: make([]byte, 750)}
	}
	done := make(chan struct{})
	left := b.N
	acked := func(n int) {
		if left -= n; left == 0 {
			close(done)
		}
	}
	measure(b, func() {
		for n := b.N; n > 0; n -= len(batch) {
			if err := s.Publish(b.Context(), batch[:min(n, len(batch))], acked); err != nil {
				b.Fatal(err)
			}
		}
		<-done
	})
}

func benchmarkPlain(b *testing.B, url string) {
	ch := channel(b, dial(b, url))
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 750)
	confirms := make(chan *amqp091.DeferredConfirmation, inFlight)
	measure(b, func() {
		go func() {
			defer close(confirms)
			for range b.N {
				body := appendRaw(make([]byte, 0, 1000), data)
				c, err := ch.PublishWithDeferredConfirm("gateway", "MESSAGE_CREATE", false, false, amqp091.Publishing{Body: body, Expiration: "60000"})
				if err != nil {
					b.Error(err)
					return
				}
				confirms <- c
			}
		}()
		for c := range confirms {
			if !c.Wait() {
				b.Fatal("refused")
			}
		}
	})
}

// measure reports events a second, and this process's time for each.
func measure(b *testing.B, f func()) {
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime()
	f()
	used := processorTime() - before
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(used)/float64(b.N), "CPU-ns/event")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
