//go:build unix

// This file measures how entries get into a stream: by the sink, with one call of a
// script for a batch, and by XADDs in a pipeline, on a real server.

package redis

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// Of BenchmarkWrite: the entries of a batch, or a pipeline; the bytes of a value, which
// are those of a message in the mean; and how many entries the stream keeps.
const (
	benchBatch  = 256
	benchValue  = 753
	benchMaxLen = 20_000
)

// BenchmarkWrite adds entries to one stream. The processor's time is that of this
// process, and that of the server's.
func BenchmarkWrite(b *testing.B) {
	srv := redistest.Start(b)
	client, err := NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("script, no positions", func(b *testing.B) { benchmarkSink(b, srv, client, 0) })
	for _, shards := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("script, %d shards", shards), func(b *testing.B) { benchmarkSink(b, srv, client, shards) })
	}
	b.Run("pipeline, trimmed every 1,000", func(b *testing.B) { benchmarkPipeline(b, srv, client, trimEntries) })
	b.Run("pipeline, trimmed by each XADD", func(b *testing.B) { benchmarkPipeline(b, srv, client, 1) })
}

// benchmarkSink has the events come from so many shards in turn, 0: without positions.
func benchmarkSink(b *testing.B, srv *redistest.Server, client rueidis.ClientOption, shards int) {
	bot := ""
	if shards > 0 {
		bot = strconv.FormatUint(rand.Uint64(), 16)
	}
	s, err := New(Options{Bot: bot, Client: client, MaxLen: benchMaxLen, Log: slog.New(slog.DiscardHandler),
		Body: func(dst []byte, ev *sinks.Event) ([]byte, error) { return append(dst, ev.Data...), nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	// A batch is lent until it is acknowledged: each slot has its own.
	ring := make([][]sinks.Event, slots+2)
	for r := range ring {
		for range benchBatch {
			ring[r] = append(ring[r], sinks.Event{Type: []byte("MESSAGE_CREATE"), Data: bytes.Repeat([]byte("x"), benchValue), Session: "0123456789abcdef0123456789abcdef"})
		}
	}
	acked, seq := make(chan int, slots*benchBatch), 0
	publish := func(events int) {
		left := events
		for n := events; n > 0; n -= benchBatch {
			batch := ring[seq/benchBatch%len(ring)]
			for i := range batch {
				seq++
				batch[i].Shard, batch[i].Seq = seq%max(shards, 1), int64(seq)
			}
			if err := s.Publish(b.Context(), batch[:min(n, len(batch))], func(n int) { acked <- n }); err != nil {
				b.Fatal(err)
			}
			for len(acked) > 0 {
				left -= <-acked
			}
		}
		for left > 0 {
			left -= <-acked
		}
	}
	publish(benchBatch) // connects
	measure(b, srv, func() { publish(b.N) })
}

// benchmarkPipeline has Redis trim the stream with every so manieth entry.
func benchmarkPipeline(b *testing.B, srv *redistest.Server, client rueidis.ClientOption, every int) {
	c, err := Connect(b.Context(), client)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	value := rueidis.BinaryString(bytes.Repeat([]byte("x"), benchValue))
	maxLen := strconv.Itoa(benchMaxLen)
	cmds := make([]rueidis.Completed, 0, benchBatch)
	measure(b, srv, func() {
		for n := 0; n < b.N; {
			cmds = cmds[:0]
			for ; n < b.N && len(cmds) < benchBatch; n++ {
				if (n+1)%every == 0 {
					cmds = append(cmds, c.B().Xadd().Key("MESSAGE_CREATE").Maxlen().Almost().Threshold(maxLen).Id("*").FieldValue().FieldValue("data", value).Build())
				} else {
					cmds = append(cmds, c.B().Xadd().Key("MESSAGE_CREATE").Id("*").FieldValue().FieldValue("data", value).Build())
				}
			}
			for _, r := range c.DoMulti(context.Background(), cmds...) {
				if err := r.Error(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// measure reports events a second, and what each costs this process and the server.
func measure(b *testing.B, srv *redistest.Server, f func()) {
	b.ReportAllocs()
	server, client := serverTime(b, srv), processorTime()
	b.ResetTimer()
	f()
	b.StopTimer()
	each := func(d time.Duration) float64 { return float64(d) / float64(b.N) }
	b.ReportMetric(each(processorTime()-client), "CPU-ns/event")
	b.ReportMetric(each(serverTime(b, srv)-server), "redis-CPU-ns/event")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverTime returns the processor's time that the server says it has used.
func serverTime(b *testing.B, srv *redistest.Server) time.Duration {
	return cpuOf(b, srv, "used_cpu_user", "used_cpu_sys")
}

// cpuOf returns the sum of these times of INFO cpu.
func cpuOf(b *testing.B, srv *redistest.Server, names ...string) (sum time.Duration) {
	for line := range strings.Lines(srv.CLI("INFO", "cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if !slices.Contains(names, name) {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(seconds * float64(time.Second))
	}
	return sum
}
