// This file tests what an event of a fleet has besides.

package stdio

import (
	"bytes"
	"testing"

	"sluice/sinks"
)

func TestFleet(t *testing.T) {
	batch := []sinks.Event{
		{Shard: 300, Session: "s", Seq: 70_000, Epoch: 1_764_000_000_000, Type: []byte("A"), Data: []byte("{}")},
		{Shard: 3, Session: "s", Seq: 9, Epoch: 1_764_000_000_001, Gap: true, Type: []byte(sinks.GapEvent), Data: []byte("{}")},
		{Shard: 3, Session: "s", Seq: 9, Type: []byte("B"), Data: []byte("{}")}, // of none
	}
	for format, want := range map[Format]string{
		JSON: `{"event":"A","shard":300,"seq":70000,"session":"s","epoch":1764000000000,"owner":"XYZ","data":{}}` + "\n" +
			`{"event":"GATEWAY_GAP","shard":3,"seq":1,"session":"s/gap","epoch":1764000000001,"owner":"XYZ","data":{}}` + "\n" +
			`{"event":"B","shard":3,"seq":9,"session":"s","data":{}}` + "\n",
		MsgPack: "\x87\xa5event\xa1A\xa5shard\xcd\x01\x2c\xa3seq\xce\x00\x01\x11\x70\xa7session\xa1s\xa5epoch\xcf\x00\x00\x01\x9a\xb6\x97\xe8\x00\xa5owner\xa3XYZ\xa4data\xa2{}" +
			"\x87\xa5event\xabGATEWAY_GAP\xa5shard\x03\xa3seq\x01\xa7session\xa5s/gap\xa5epoch\xcf\x00\x00\x01\x9a\xb6\x97\xe8\x01\xa5owner\xa3XYZ\xa4data\xa2{}" +
			"\x82\xa5event\xa1B\xa4data\xa2{}",
	} {
		var out bytes.Buffer
		s := NewSink(&out, format)
		s.Owner = "XYZ"
		if n, err := offer(t.Context(), s, batch); n != len(batch) || err != nil {
			t.Fatal(n, err)
		}
		if out.String() != want {
			t.Errorf("%s:\n%q, want\n%q", format, &out, want)
		}
	}
}
