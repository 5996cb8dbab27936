// This file tests the output: its bytes, its writes and its counts.

package stdio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/sinks"
)

var _ sinks.Sink = (*Sink)(nil)

// event returns an event of shard 3.
func event(seq int64, name, data string) sinks.Event {
	return sinks.Event{Shard: 3, Session: "s", Seq: seq, Type: []byte(name), Data: []byte(data)}
}

// offer publishes batch and returns how many events were acknowledged.
func offer(ctx context.Context, s *Sink, batch []sinks.Event) (acked int, err error) {
	err = s.Publish(ctx, batch, func(n int) { acked += n })
	return acked, err
}

// publish returns what a fresh sink writes for the events.
func publish(t *testing.T, format Format, events ...sinks.Event) []byte {
	t.Helper()
	var out bytes.Buffer
	acked, err := offer(t.Context(), NewSink(&out, format), events)
	if acked != len(events) || err != nil {
		t.Fatalf("Publish = %d, %v; want %d, nil", acked, err, len(events))
	}
	return out.Bytes()
}

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		ev   sinks.Event
		want string
	}{
		{event(17, "MESSAGE_CREATE", `{"a":1}`), `{"event":"MESSAGE_CREATE","shard":3,"seq":17,"session":"s","data":{"a":1}}`},
		{sinks.Event{Type: []byte("RESUMED"), Data: []byte("null")}, `{"event":"RESUMED","shard":0,"seq":0,"session":"","data":null}`},
		{event(1, "X", ""), `{"event":"X","shard":3,"seq":1,"session":"s","data":null}`},
		{event(1<<62, "X", `"é\u00e9\ud800 <>& / \/"`), `{"event":"X","shard":3,"seq":4611686018427387904,"session":"s","data":"é\u00e9\ud800 <>& / \/"}`},
		{event(1, `a"b\c`, `1`), `{"event":"a\"b\\c","shard":3,"seq":1,"session":"s","data":1}`},
		{event(1, "line\nfeed", `1`), `{"event":"line\nfeed","shard":3,"seq":1,"session":"s","data":1}`},
		{event(1, "É", `1`), `{"event":"É","shard":3,"seq":1,"session":"s","data":1}`},
		{event(1, "\xff", `1`), `{"event":"\ufffd","shard":3,"seq":1,"session":"s","data":1}`},
		{event(1, "", `1`), `{"event":"","shard":3,"seq":1,"session":"s","data":1}`},
		{event(1, "X", "{\r\n\t\"a\\n\": [\n]\r}"), `{"event":"X","shard":3,"seq":1,"session":"s","data":{` + "  \t" + `"a\n": [ ] }}`},
	} {
		if got := publish(t, JSON, tt.ev); string(got) != tt.want+"\n" {
			t.Errorf("got  %q\nwant %q", got, tt.want+"\n")
		}
	}
}

func TestJoinsLinesOfLargeData(t *testing.T) {
	data := "[" + strings.Repeat("\n", 3*chunk) + "1]"
	got := publish(t, JSON, event(1, "X", data), event(2, "X", "2"))
	want := `{"event":"X","shard":3,"seq":1,"session":"s","data":[` + strings.Repeat(" ", 3*chunk) + "1]}\n" +
		`{"event":"X","shard":3,"seq":2,"session":"s","data":2}` + "\n"
	if string(got) != want {
		t.Error("large data with line feeds is not one line with spaces in their place")
	}
}

// TestMsgPack holds the headers against the bytes of the old gateway's stream.
func TestMsgPack(t *testing.T) {
	for _, tt := range []struct {
		size   int
		header string
	}{
		{1, "\xa1"},
		{31, "\xbf"},
		{32, "\xda\x00\x20"},
		{115, "\xda\x00\x73"},
		{255, "\xda\x00\xff"},
		{256, "\xda\x01\x00"},
		{65535, "\xda\xff\xff"},
		{65536, "\xdb\x00\x01\x00\x00"},
		{1 << 20, "\xdb\x00\x10\x00\x00"},
	} {
		text := strings.Repeat("1", tt.size)
		want := "\x82\xa5event" + "\xaeMESSAGE_CREATE" + "\xa4data" + tt.header + text
		if got := publish(t, MsgPack, event(1, "MESSAGE_CREATE", text)); string(got) != want {
			t.Errorf("%d bytes of data: got %.60q…, want %.60q…", tt.size, got, want)
		}
		want = "\x82\xa5event" + tt.header + text + "\xa4data" + "\xa2{}"
		if got := publish(t, MsgPack, event(1, text, "{}")); string(got) != want {
			t.Errorf("%d bytes of name: got %.60q…, want %.60q…", tt.size, got, want)
		}
	}
	if got, want := publish(t, MsgPack, event(1, "A", "[\n]"), event(2, "B", "")), "\x82\xa5event\xa1A\xa4data\xa3[\n]\x82\xa5event\xa1B\xa4data\xa4null"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestGolden holds a stream of both formats against files, which other programs'
// decoders can be tried on as well.
func TestGolden(t *testing.T) {
	events := []sinks.Event{
		{Shard: 0, Seq: 1, Type: []byte("READY"), Data: []byte(`{"v":10,"session_id":"a1b2","shard":[0,2]}`)},
		{Shard: 1, Seq: 0, Type: []byte("RESUMED"), Data: nil},
		{Shard: 1, Seq: 9007199254740993, Type: []byte("MESSAGE_CREATE"), Data: []byte(`{"id":"1234567890123456789","content":"h\u00e9llo \"wörld\" 🌊\n","n":12345678901234567890}`)},
		{Shard: 12, Seq: 3, Type: []byte("TYPING_START"), Data: []byte(`{}`)},
		{Shard: 12, Seq: 4, Type: []byte("GUILD_CREATE"), Data: []byte("{\"members\":[" + strings.TrimSuffix(strings.Repeat(`{"id":"1"},`, 7000), ",") + "]}")},
	}
	for i := range events {
		events[i].Session = "s"
	}
	for _, format := range []Format{JSON, MsgPack} {
		want, err := os.ReadFile(filepath.Join("..", "..", "testdata", "stdio", "events."+format.String()))
		if err != nil {
			t.Fatal(err)
		}
		if got := publish(t, format, events...); !bytes.Equal(got, want) {
			t.Errorf("%s: the output is not that of the golden file (%d and %d bytes)", format, len(got), len(want))
		}
	}
}

// sizes returns the sizes of the writes to it.
type sizes []int

func (s *sizes) Write(b []byte) (int, error) {
	*s = append(*s, len(b))
	return len(b), nil
}

func TestWrites(t *testing.T) {
	small := event(1, "X", strings.Repeat("1", 750))
	large := event(1, "X", strings.Repeat("1", 1<<20))
	for _, tt := range []struct {
		name  string
		batch []sinks.Event
		want  int
	}{
		{"none", nil, 0},
		{"a lone one", []sinks.Event{small}, 1},
		{"less than a chunk", slices.Repeat([]sinks.Event{small}, 256), 1},
		{"some chunks", slices.Repeat([]sinks.Event{small}, 4*256), 4},
		{"a large one", []sinks.Event{large}, 3},
		{"a large one between small ones", []sinks.Event{small, large, small}, 3},
		{"two large ones", []sinks.Event{large, large}, 5},
	} {
		var s sizes
		if _, err := offer(t.Context(), NewSink(&s, JSON), tt.batch); err != nil {
			t.Fatal(err)
		}
		if len(s) != tt.want {
			t.Errorf("%s: %d writes of %v bytes, want %d writes", tt.name, len(s), s, tt.want)
		}
	}
}

// brokenAfter is a writer that takes so many bytes.
type brokenAfter struct {
	room   int
	silent bool // short writes without an error
	taken  []byte
}

var errBroken = errors.New("broken")

func (w *brokenAfter) Write(b []byte) (int, error) {
	n := min(len(b), w.room)
	w.room -= n
	w.taken = append(w.taken, b[:n]...)
	if n == len(b) || w.silent {
		return n, nil
	}
	return n, errBroken
}

// TestAcknowledgesWhatWasWritten breaks the output at every byte around the ends
// of small and large events.
func TestAcknowledgesWhatWasWritten(t *testing.T) {
	batch := []sinks.Event{
		event(1, "A", `{"a":1}`),
		event(2, "B", strings.Repeat("2", direct)),
		event(3, "C", strings.Repeat("3", direct)),
		event(4, "D", "["+strings.Repeat("\n", direct)+"]"),
		event(5, "E", ""),
		event(6, "F", "6"),
	}
	for _, format := range []Format{JSON, MsgPack} {
		whole := publish(t, format, batch...)
		var ends []int
		for i := range batch {
			ends = append(ends, len(publish(t, format, batch[:i+1]...)))
		}
		var rooms []int
		for _, end := range append(ends, 0) {
			for room := max(end-45, 0); room <= min(end+45, len(whole)); room++ {
				rooms = append(rooms, room)
			}
		}
		for _, room := range rooms {
			want := 0
			for want < len(ends) && ends[want] <= room {
				want++
			}
			for _, silent := range []bool{false, true} {
				w := &brokenAfter{room: room, silent: silent}
				s := NewSink(w, format)
				acked, err := offer(t.Context(), s, batch)
				wantErr := errBroken
				if silent {
					wantErr = io.ErrShortWrite
				}
				if room == len(whole) {
					wantErr = nil
				}
				if acked != want || !errors.Is(err, wantErr) {
					t.Fatalf("%s, broken after %d bytes: Publish = %d, %v; want %d, %v", format, room, acked, err, want, wantErr)
				}
				if !bytes.Equal(w.taken, whole[:room]) {
					t.Fatalf("%s, broken after %d bytes: other bytes were written", format, room)
				}
				if wantErr == nil {
					continue
				}
				w.room = 1 << 30
				if acked, again := offer(t.Context(), s, batch); acked != 0 || again != err || len(w.taken) != room {
					t.Fatalf("%s: the call after a failed one = %d, %v, and wrote %d bytes; want the same error and no byte",
						format, acked, again, len(w.taken)-room)
				}
			}
		}
	}
}

func TestContextDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	s := NewSink(&out, JSON)
	if acked, err := offer(ctx, s, []sinks.Event{event(1, "X", "1")}); acked != 0 || !errors.Is(err, context.Canceled) || out.Len() != 0 {
		t.Errorf("Publish = %d, %v, with %d bytes written; want 0, canceled and none", acked, err, out.Len())
	}
	if acked, err := offer(t.Context(), s, []sinks.Event{event(1, "X", "1")}); acked != 1 || err != nil {
		t.Errorf("the next Publish = %d, %v; want 1, nil", acked, err)
	}
}

func TestGivesBackTheBuffer(t *testing.T) {
	s := NewSink(io.Discard, JSON)
	for _, ev := range []sinks.Event{
		event(1, "X", strings.Repeat("1", 64<<20)),
		event(2, "X", strings.Repeat("\n", 8<<20)+"1"),
		event(3, strings.Repeat("\n", 1<<20), "1"),
	} {
		if _, err := offer(t.Context(), s, []sinks.Event{ev}); err != nil {
			t.Fatal(err)
		}
		if cap(s.buf) > 2*chunk {
			t.Errorf("after event %d a buffer of %d bytes is kept", ev.Seq, cap(s.buf))
		}
	}
}

// TestClosedPipe is that a pipe of the system without a reader gives an error
// that IsClosedPipe knows.
func TestClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	acked, err := offer(t.Context(), NewSink(w, JSON), []sinks.Event{event(1, "X", "1")})
	if acked != 0 || !IsClosedPipe(err) {
		t.Errorf("Publish = %d, %v; want 0 and the error of a closed pipe", acked, err)
	}
	for _, err := range []error{nil, errBroken, io.ErrShortWrite, io.EOF, os.ErrClosed} {
		if IsClosedPipe(err) {
			t.Errorf("IsClosedPipe(%v) = true", err)
		}
	}
}

func TestFormatNames(t *testing.T) {
	if j, m := JSON.String(), MsgPack.String(); j != "json" || m != "msgpack" {
		t.Errorf("the formats are %q and %q", j, m)
	}
}

// usualBatch returns events such as a busy shard's.
func usualBatch() []sinks.Event {
	r := rand.New(rand.NewPCG(1, 2))
	batch := make([]sinks.Event, 256)
	for i := range batch {
		data := fmt.Sprintf(`{"id":"%d","content":%q}`, r.Uint64(), strings.Repeat("ab cd ", 118))
		batch[i] = event(int64(1e6+i), "MESSAGE_CREATE", data)
	}
	return batch
}

func TestPublishAllocatesNothing(t *testing.T) {
	batch := append(usualBatch(), sinks.Event{Session: "s", Epoch: 1_764_000_000_000, Type: []byte("A"), Data: []byte("{}")}, event(1, "GUILD_CREATE", strings.Repeat("1", 2*direct)), event(2, "X", "[\n]"))
	for _, format := range []Format{JSON, MsgPack} {
		s := NewSink(io.Discard, format)
		s.Owner = "XYZ"
		publish := func() {
			if _, err := offer(t.Context(), s, batch); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(100, publish); n != 0 {
			t.Errorf("%s: %v allocations for a batch, want 0", format, n)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	batch := usualBatch()
	for _, format := range []Format{JSON, MsgPack} {
		b.Run(format.String(), func(b *testing.B) {
			s := NewSink(io.Discard, format)
			b.SetBytes(int64(len(batch) * len(batch[0].Data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Publish(b.Context(), batch, func(int) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/event")
		})
	}
}

// FuzzJSONLines holds the lines against encoding/json: one for each event, and
// the same values in them.
func FuzzJSONLines(f *testing.F) {
	f.Add("MESSAGE_CREATE", 3, int64(17), []byte(`{"a":[1,"é\u00e9",null]}`), uint16(9))
	f.Add("a\"\\\n\x00\xff\u2028", -1, int64(-1), []byte("{\r\n \"a\" :\t1\r}\n"), uint16(1))
	f.Add("X", 0, int64(0), []byte(nil), uint16(0))
	f.Fuzz(func(t *testing.T, name string, shard int, seq int64, data []byte, padding uint16) {
		if !json.Valid(data) {
			data, _ = json.Marshal(string(data))
		}
		// White space between, so that large and joined data are met.
		padded := append(bytes.Repeat([]byte{' '}, 2*int(padding)), data...)
		batch := []sinks.Event{
			{Shard: shard, Seq: seq, Type: []byte(name), Data: data},
			{Shard: shard, Seq: seq, Type: []byte(name), Data: padded},
		}
		lines := bytes.SplitAfter(publish(t, JSON, batch...), []byte("\n"))
		if len(lines) != 3 || len(lines[2]) != 0 {
			t.Fatalf("2 events gave %d lines", len(lines)-1)
		}
		quoted, _ := json.Marshal(name)
		var wantName string
		_ = json.Unmarshal(quoted, &wantName)
		for i, line := range lines[:2] {
			var got struct {
				Event string
				Shard int
				Seq   int64
				Data  json.RawMessage
			}
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			if got.Event != wantName || got.Shard != shard || got.Seq != seq {
				t.Errorf("got %q %d %d, want %q %d %d", got.Event, got.Shard, got.Seq, wantName, shard, seq)
			}
			if bytes.IndexByte(line, '\r') >= 0 {
				t.Errorf("a carriage return in %q", line)
			}
			want := bytes.ReplaceAll(batch[i].Data, []byte("\n"), []byte(" "))
			want = bytes.TrimSpace(bytes.ReplaceAll(want, []byte("\r"), []byte(" ")))
			if !bytes.Equal(bytes.TrimSpace(got.Data), want) {
				t.Errorf("data %q, want %q", got.Data, want)
			}
		}
	})
}
