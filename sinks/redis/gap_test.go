//go:build unix

// This file tests the fields that tell a gap from the last event of its session.

package redis

import (
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/sinks/sinktest/redistest"
)

// Redis has the last event of a session and its gap, each with a name of its own; neither is
// written again, whatever the gap's seq is then.
func TestGapIdentity(t *testing.T) {
	srv := redistest.Start(t)
	o := Options{Bot: "bot", Fields: []Field{FieldShard, FieldSession, FieldSeq}}
	for _, seq := range []int64{8812, 8800} {
		h := start(t, o, srv.Addr)
		batch := []sinks.Event{
			{Shard: 3, Session: "abc", Seq: 8812, Type: []byte("A"), Data: []byte("1")},
			{Shard: 3, Session: "abc", Seq: seq, Gap: true, Type: []byte("A"), Data: []byte("2")},
			{Shard: 3, Session: "def", Seq: 1, Type: []byte("A"), Data: []byte("3")},
		}
		if err := h.sink.Publish(t.Context(), batch, h.ack); err != nil {
			t.Fatal(err)
		}
		h.sent = len(batch)
		h.settled()
		var got []string
		for line := range strings.Lines(srv.CLI("XRANGE", "A", "-", "+")) {
			got = append(got, strings.TrimSpace(line))
		}
		text := strings.Join(got, " ")
		for _, want := range []string{"session abc seq 8812 ", "session abc/gap seq 1 ", "session def seq 1"} {
			if n := strings.Count(text+" ", want); n != 1 {
				t.Errorf("%q stands %d times in %s", want, n, text)
			}
		}
	}
}
