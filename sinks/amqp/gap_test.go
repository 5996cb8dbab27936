// This file tests the headers that tell a gap from the last event of its session.

package amqp

import (
	"bytes"
	"testing"

	"sluice/sinks"
)

func TestGapIdentity(t *testing.T) {
	e := newEncoder(&Options{Exchange: "x", Headers: true}, 0x0102, 0)
	for _, tt := range []struct {
		gap          bool
		session, seq string
	}{{false, "\x00\x00\x00\x03abc", "\x22\x6c"}, {true, "\x00\x00\x00\x07abc/gap", "\x00\x01"}} {
		b, err := e.append(nil, &sinks.Event{Shard: 3, Session: "abc", Seq: 8812, Gap: tt.gap, Type: []byte("A"), Data: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
		_, header, _ := frames(t, b, 0)
		want := "\x05shardl\x00\x00\x00\x00\x00\x00\x00\x03" + "\x07sessionS" + tt.session + "\x03seql\x00\x00\x00\x00\x00\x00" + tt.seq
		if !bytes.HasSuffix(header, []byte(want)) {
			t.Errorf("gap %v: the header frame %q does not end with %q", tt.gap, header, want)
		}
	}
}
