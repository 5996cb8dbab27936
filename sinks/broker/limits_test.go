// This file tests the bounds of values that docs/formats.md states.

package broker

import (
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/wire"
)

// What Discord may send has at most so many levels as every encoding takes: no event is
// dead-lettered for them.
func TestDeepestEvent(t *testing.T) {
	for _, tt := range []struct{ open, value, end string }{{"[", "", "]"}, {`{"a":`, "{}", "}"}} {
		nested := func(levels int) string {
			if tt.value != "" {
				levels--
			}
			return strings.Repeat(tt.open, levels) + tt.value + strings.Repeat(tt.end, levels)
		}
		var e wire.Envelope
		if err := wire.ParseEnvelope([]byte(`{"t":"X","s":1,"op":0,"d":`+nested(512)+"}"), &e); err != nil {
			t.Fatal(err)
		}
		for i, encoding := range Encodings() {
			for _, envelope := range []bool{false, true} {
				f := Format{Encoding(i), envelope}
				if _, err := f.Append(nil, &sinks.Event{Type: e.Type, Seq: e.Seq, Data: e.Data}); err != nil {
					t.Errorf("%s, %v: %v", encoding, envelope, err)
				}
			}
		}
		for _, text := range []string{`{"t":"X","s":1,"op":0,"d":` + nested(513) + "}", `{"d":` + nested(513) + `,"op":0}`} {
			if err := wire.ParseEnvelope([]byte(text), &e); err == nil {
				t.Errorf("513 levels of %s are taken", tt.open)
			}
		}
		if _, err := (Format{Encoding: Msgpack}).Append(nil, &sinks.Event{Data: []byte(nested(513))}); err == nil {
			t.Errorf("513 levels of %s become MessagePack", tt.open)
		}
	}
}

// MessagePack is at most three times as long as the JSON, by and large.
func TestLargestMessagePack(t *testing.T) {
	for _, value := range []string{"-0", "1e9", "0.5", "1", "-129", "256", "65536", "4294967296", `""`, "[]", "{}", "null", `"\ud800"`} {
		list := []byte("[" + strings.Repeat(value+",", 99_999) + value + "]")
		packed, err := (Format{Encoding: Msgpack}).Append(nil, &sinks.Event{Data: list})
		if err != nil || len(packed) > 3*len(list)+16 {
			t.Errorf("%d bytes of %s become %d: %v", len(list), value, len(packed), err)
		}
	}
}
