//go:build unix

// This file compares what an event costs Redis itself: through the sink, by the number of shards in a batch, and through
// commands without a script.

package redis

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// turnBatches is how many batches a subject writes in its turn.
const turnBatches = 40

// BenchmarkTurns has all subjects write in turns, b.N each, to one server: whatever else the machine does, it does to
// all of them. It reports the median of the server's own processor time for an event. Run it with -benchtime 20x.
func BenchmarkTurns(b *testing.B) {
	srv := redistest.Start(b)
	client, err := NewClientOption([]string{srv.Addr}, nil)
	if err != nil {
		b.Fatal(err)
	}
	type subject struct {
		name  string
		turn  func()
		costs []float64
	}
	var subjects []*subject
	c, err := Connect(b.Context(), client)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for _, multi := range []bool{false, true} {
		subjects = append(subjects, &subject{name: map[bool]string{false: "xadd", true: "multi"}[multi], turn: func() { turnPipeline(b, c, multi) }})
	}
	for _, of := range []struct{ shards, batch int }{{1, benchBatch}, {64, benchBatch}, {1000, benchBatch}, {64, 80}} {
		name := fmt.Sprintf("%d-shards", of.shards)
		if of.batch != benchBatch {
			name += fmt.Sprintf("-by-%d", of.batch)
		}
		turn, closeSink := turnSink(b, client, of.shards, of.batch)
		defer closeSink()
		subjects = append(subjects, &subject{name: name, turn: turn})
	}
	for _, s := range subjects {
		s.turn()
	}
	b.ResetTimer()
	for range b.N {
		for _, s := range subjects {
			before := mainTime(b, srv)
			s.turn()
			s.costs = append(s.costs, float64(mainTime(b, srv)-before)/(turnBatches*benchBatch))
		}
	}
	b.ReportMetric(0, "ns/op") // is of all
	for _, s := range subjects {
		slices.Sort(s.costs)
		b.ReportMetric(s.costs[len(s.costs)/2], s.name+"-ns")
	}
}

// turnSink returns a turn of a sink that writes events of so many shards, one after the other, so many in a batch.
func turnSink(b *testing.B, client rueidis.ClientOption, shards, batch int) (turn func(), closeSink func() error) {
	s, err := New(Options{Bot: strconv.FormatUint(rand.Uint64(), 16), Client: client, MaxLen: benchMaxLen, Log: slog.New(slog.DiscardHandler),
		Body: func(dst []byte, ev *sinks.Event) ([]byte, error) { return append(dst, ev.Data...), nil }})
	if err != nil {
		b.Fatal(err)
	}
	ring := make([][]sinks.Event, slots+2) // a batch is lent until it is acknowledged
	for r := range ring {
		for range batch {
			ring[r] = append(ring[r], sinks.Event{Type: []byte("MESSAGE_CREATE"), Data: bytes.Repeat([]byte("x"), benchValue), Session: "0123456789abcdef0123456789abcdef"})
		}
	}
	acked, seq, sent := make(chan int, slots*benchBatch), 0, 0
	return func() {
		left := turnBatches * benchBatch
		for n := left; n > 0; n -= batch {
			events := ring[sent%len(ring)]
			sent++
			for i := range events {
				seq++
				events[i].Shard, events[i].Seq = seq%shards, int64(seq)
			}
			if err := s.Publish(b.Context(), events[:min(n, batch)], func(n int) { acked <- n }); err != nil {
				b.Fatal(err)
			}
			left -= <-acked // one batch at a time, as the others
		}
	}, s.Close
}

// turnPipeline adds the entries with XADDs alone, or each batch in a transaction that writes a position, too.
func turnPipeline(b *testing.B, c rueidis.Client, multi bool) {
	value := rueidis.BinaryString(bytes.Repeat([]byte("x"), benchValue))
	maxLen := strconv.Itoa(benchMaxLen)
	cmds := make([]rueidis.Completed, 0, benchBatch+4)
	for n := range turnBatches {
		cmds = cmds[:0]
		if multi {
			cmds = append(cmds, c.B().Multi().Build(), c.B().Set().Key("offset").Value(strconv.Itoa(n)).Build(),
				c.B().Hset().Key("positions").FieldValue().FieldValue("0", strconv.Itoa(n)).Build())
		}
		for i := range benchBatch {
			if n%4 == 3 && i == 0 { // as often as the sink does
				cmds = append(cmds, c.B().Xadd().Key("MESSAGE_CREATE").Maxlen().Almost().Threshold(maxLen).Id("*").FieldValue().FieldValue("data", value).Build())
			} else {
				cmds = append(cmds, c.B().Xadd().Key("MESSAGE_CREATE").Id("*").FieldValue().FieldValue("data", value).Build())
			}
		}
		if multi {
			cmds = append(cmds, c.B().Exec().Build())
		}
		for _, r := range c.DoMulti(b.Context(), cmds...) {
			if err := r.Error(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// mainTime returns the processor time that the server's main thread says it has used.
func mainTime(b *testing.B, srv *redistest.Server) (sum time.Duration) {
	return cpuOf(b, srv, "used_cpu_user_main_thread", "used_cpu_sys_main_thread")
}
