//go:build unix

// This file tests the sink against real servers, through what can happen to them.

package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
	"sluice/sinks/sinktest"
	"sluice/sinks/sinktest/redistest"
)

// rawBody is the value of the old gateway, in short: the tests have small data.
func rawBody(dst []byte, ev *sinks.Event) ([]byte, error) {
	if string(ev.Data) == "unwritable" {
		return dst, errors.New("no value")
	}
	dst = append(dst, 0xdb, byte(len(ev.Data)>>24), byte(len(ev.Data)>>16), byte(len(ev.Data)>>8), byte(len(ev.Data)))
	return append(dst, ev.Data...), nil
}

// harness is a sink and what became of the events.
type harness struct {
	t     *testing.T
	sink  *Sink
	log   syncBuffer
	mu    sync.Mutex
	acked int
	aside []string
	sent  int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// logTo returns a logger that writes the problem of an error behind it.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		var known *Error
		if err, ok := a.Value.Any().(error); ok && errors.As(err, &known) {
			a.Value = slog.StringValue(err.Error() + problemText(known.Problem))
		}
		return a
	}}))
}

func problemText(p Problem) string { return fmt.Sprintf("(problem %d)", p) }

func start(t *testing.T, o Options, addresses ...string) *harness {
	t.Helper()
	h := &harness{t: t}
	var err error
	if o.Client.InitAddress == nil {
		if o.Client, err = NewClientOption(addresses, nil); err != nil {
			t.Fatal(err)
		}
	}
	if o.Body == nil {
		o.Body = rawBody
	}
	if o.Bot == "" {
		o.Bot = strconv.FormatUint(rand.Uint64(), 16) // each harness begins with seq 1
	}
	o.Log = logTo(&h.log)
	o.DeadLetter = func(ev *sinks.Event, reason error) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.aside = append(h.aside, fmt.Sprintf("%s %s: %v", ev.Type, ev.Data, reason))
		return nil
	}
	if h.sink, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.sink.Close()
		if t.Failed() {
			t.Logf("%+v\n%s", h.sink.Status(), h.log.String())
		}
	})
	return h
}

// deadLettered returns how many events were dead-lettered, for whatever reason.
func deadLettered(st sinks.Status) (all int64) {
	for _, n := range st.DeadLettered {
		all += n
	}
	return all
}

func (h *harness) ack(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked += n
}

// publish sends events of the types in turn, with ascending data, in batches of
// random size.
func (h *harness) publish(n int, types ...string) {
	h.t.Helper()
	for left := n; left > 0; {
		batch := make([]sinks.Event, min(left, 1+rand.IntN(300)))
		for i := range batch {
			h.sent++
			batch[i] = sinks.Event{Shard: h.sent % 3, Session: "s", Seq: int64(h.sent), Type: []byte(types[h.sent%len(types)]), Data: []byte(strconv.Itoa(h.sent))}
		}
		if err := h.sink.Publish(h.t.Context(), batch, h.ack); err != nil {
			h.t.Fatal(err)
		}
		left -= len(batch)
	}
}

// count returns how many events are acknowledged.
func (h *harness) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked
}

// settled waits until all that was published is acknowledged.
func (h *harness) settled() {
	h.t.Helper()
	h.wait("acknowledgements", func() bool { return h.count() == h.sent })
}

// patience bounds every wait. A machine under load may need most of it.
const patience = 2 * time.Minute

func (h *harness) wait(what string, holds func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("no %s; %d of %d events acknowledged", what, h.count(), h.sent)
		}
	}
}

// entries returns the data of a stream's entries.
func entries(t *testing.T, address, stream string) (data []string) {
	t.Helper()
	o, _ := NewClientOption([]string{address}, nil)
	o.DisableCache = true
	c, err := rueidis.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for at := "-"; ; {
		got, err := c.Do(context.Background(), c.B().Xrange().Key(stream).Start(at).End("+").Count(10_000).Build()).AsXRange()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			data = append(data, strings.TrimLeft(e.FieldValues["data"][5:], "\x00"))
		}
		if len(got) < 10_000 {
			return data
		}
		at = "(" + got[len(got)-1].ID
	}
}

// whole checks that the numbers 1 to n are the entries of the streams, each once and in
// order within its stream.
func whole(t *testing.T, address string, n int, streams ...string) {
	t.Helper()
	total := 0
	for _, stream := range streams {
		last := 0
		for _, d := range entries(t, address, stream) {
			v, err := strconv.Atoi(d)
			if err != nil || v <= last {
				t.Fatalf("%s: %q after %d", stream, d, last)
			}
			last = v
			total++
		}
	}
	if total != n {
		t.Errorf("%d entries, want %d", total, n)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{Fields: []Field{FieldEvent, FieldShard, FieldSession, FieldSeq, FieldEpoch}, Stream: func(dst []byte, ev *sinks.Event) []byte {
		return fmt.Appendf(dst, "gateway:%s:%d", ev.Type, ev.Shard%2)
	}}, srv.Addr)
	batch := []sinks.Event{{Shard: 5, Session: "abc", Seq: 7, Epoch: 1_764_000_000_000, Type: []byte("A"), Data: []byte("1")}, {Shard: 4, Session: "x", Seq: 8, Type: []byte("B"), Data: []byte("unwritable")}}
	if err := h.sink.Publish(t.Context(), batch, h.ack); err != nil {
		t.Fatal(err)
	}
	h.sent = 2
	h.settled()
	got := srv.CLI("--no-raw", "XRANGE", "gateway:A:1", "-", "+")
	got = got[strings.Index(got, "1) \"data\""):]
	want := `1) "data"
      2) "\xdb\x00\x00\x00\x011"
      3) "event"
      4) "A"
      5) "shard"
      6) "5"
      7) "session"
      8) "abc"
      9) "seq"
     10) "7"
     11) "epoch"
     12) "1764000000000"`
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("the entry is\n%s\nwant\n%s", got, want)
	}
	if len(h.aside) != 1 || h.aside[0] != "B unwritable: no value" {
		t.Errorf("set aside: %q", h.aside)
	}
	if st := h.sink.Status(); st.Published != 1 || st.DeadLettered[notEncodable] != 1 || st.Lost != 0 || st.Pending != 0 || st.Oldest != 0 {
		t.Errorf("%+v", st)
	}
}

func TestManyInOrder(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{}, srv.Addr)
	h.publish(manyEvents, "A", "B", "C")
	h.settled()
	whole(t, srv.Addr, manyEvents, "A", "B", "C")
}

func TestTrims(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{MaxLen: 2000}, srv.Addr)
	h.publish(50_000, "A")
	h.settled()
	if n, _ := strconv.Atoi(strings.TrimSpace(srv.CLI("XLEN", "A"))); n < 2000 || n > 5000 {
		t.Errorf("%d entries with a bound of 2,000", n)
	}
	h = start(t, Options{Retention: time.Hour}, srv.Addr)
	srv.CLI("EVAL", "for i = 1, 301 do redis.call('XADD', 'B', '1-' .. i, 'data', 'old') end", "0") // whole nodes are trimmed
	h.publish(2000, "B")
	h.settled()
	if n, _ := strconv.Atoi(strings.TrimSpace(srv.CLI("XLEN", "B"))); n < 2000 || n > 2101 {
		t.Errorf("%d entries, of which 2,000 are new", n)
	}
}

// A server without memory refuses; afterwards everything arrives in order.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	h := start(t, Options{}, srv.Addr)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.publish(150_000, "A", "B")
	}()
	h.wait("refusal", func() bool { return strings.Contains(h.log.String(), "OOM") })
	if !strings.Contains(h.log.String(), problemText(OutOfMemory)) {
		t.Error("the problem is not logged")
	}
	srv.CLI("CONFIG", "SET", "maxmemory", "0")
	<-done
	h.settled()
	whole(t, srv.Addr, 150_000, "A", "B")
	if len(h.aside) > 0 {
		t.Errorf("set aside: %q", h.aside)
	}
}

// A key that is no stream: its events are set aside, the others pass.
func TestWrongType(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	srv.CLI("SET", "B", "text")
	h := start(t, Options{}, srv.Addr)
	h.publish(3000, "A", "B", "C")
	h.settled()
	whole(t, srv.Addr, 2000, "A", "C")
	if st := h.sink.Status(); st.DeadLettered[notAStream] != 1000 || deadLettered(st) != 1000 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	if len(h.aside) != 1000 || !strings.Contains(h.aside[0], "stream B: WRONGTYPE") {
		t.Errorf("%d events set aside, the first: %q", len(h.aside), h.aside[:min(1, len(h.aside))])
	}
	if !strings.Contains(h.log.String(), problemText(NoStream)) {
		t.Error("the problem is not logged")
	}
	if n := strings.Count(h.log.String(), "dead-lettered"); n > 2 {
		t.Errorf("told %d times", n)
	}
}

// An entry over which the server ends the connection is found, and the rest passes.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--proto-max-bulk-len", "1mb")
	h := start(t, Options{}, srv.Addr)
	h.publish(500, "A")
	batch := []sinks.Event{
		{Type: []byte("A"), Data: []byte("501")},
		{Type: []byte("A"), Data: bytes.Repeat([]byte("x"), 2<<20)},
		{Type: []byte("A"), Data: []byte("502")},
	}
	if err := h.sink.Publish(t.Context(), batch, h.ack); err != nil {
		t.Fatal(err)
	}
	h.sent += 2
	h.publish(500, "A")
	h.sent++
	h.settled()
	whole(t, srv.Addr, 1002, "A")
	if len(h.aside) != 1 {
		t.Errorf("%d events set aside", len(h.aside))
	}
	if st := h.sink.Status(); st.DeadLettered[tooLarge] != 1 || deadLettered(st) != 1 || st.Connections < 2 || st.Published != 1002 {
		t.Errorf("%+v", st)
	}
}

// A server that has become a replica refuses; the one that the address leads to
// afterwards has it all.
func TestReadOnlyReplica(t *testing.T) {
	t.Parallel()
	srv, other := redistest.Start(t), redistest.Start(t)
	h := start(t, Options{}, srv.Addr)
	h.publish(1000, "A")
	h.settled()
	host, port, _ := net.SplitHostPort(other.Addr)
	srv.CLI("REPLICAOF", host, port)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.publish(1000, "A")
	}()
	h.wait("refusal", func() bool { return strings.Contains(h.log.String(), "READONLY") })
	srv.CLI("REPLICAOF", "NO", "ONE")
	<-done
	h.settled()
	if st := h.sink.Status(); st.Published != 2000 || deadLettered(st) != 0 {
		t.Errorf("%+v", st)
	}
}

// A server that has lost what it acknowledged is not waited for, and it is told.
func TestLostByServer(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	h := start(t, Options{}, srv.Addr)
	h.publish(1000, "A")
	h.settled()
	offset := strings.TrimSpace(srv.CLI("KEYS", "sluice:fence:*"))
	srv.CLI("SET", offset, "400") // as a replica that lagged behind has it
	h.publish(1000, "A")
	h.settled()
	if st := h.sink.Status(); st.Undone != 600 || !strings.Contains(h.log.String(), "has lost entries") {
		t.Errorf("%+v", st)
	}
	srv.CLI("FLUSHALL")
	srv.CLI("SCRIPT", "FLUSH")
	h.publish(1000, "A")
	h.settled()
	if got := entries(t, srv.Addr, "A"); len(got) != 1000 {
		t.Errorf("%d entries after the server was emptied", len(got))
	}
}

func TestCloseWithoutServer(t *testing.T) {
	t.Parallel()
	h := start(t, Options{}, "127.0.0.1:"+strconv.Itoa(sinktest.FreePort(t)))
	h.sink.Close()
	h.sink.Close()
}
