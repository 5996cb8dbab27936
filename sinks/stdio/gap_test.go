// This file tests what tells a gap from the last event of its session.

package stdio

import (
	"testing"

	"sluice/sinks"
)

func TestGapIdentity(t *testing.T) {
	gap := sinks.Event{Shard: 3, Session: "abc", Seq: 8812, Gap: true, Type: []byte(sinks.GapEvent), Data: []byte(`{"seq":8812}`)}
	if got, want := string(publish(t, JSON, gap)), `{"event":"GATEWAY_GAP","shard":3,"seq":1,"session":"abc/gap","data":{"seq":8812}}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(publish(t, MsgPack, gap)), "\x82\xa5event\xabGATEWAY_GAP\xa4data\xac"+`{"seq":8812}`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
