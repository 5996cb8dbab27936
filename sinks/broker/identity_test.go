// This file tests that an event and a gap are told apart by their names alone.

package broker

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sluice/sinks"
)

// lost is the gap behind event 8812 of a session, and last that event.
var (
	last = sinks.Event{Shard: 3, Session: "abc", Seq: 8812, Type: []byte("MESSAGE_CREATE"), Data: []byte("{}")}
	lost = sinks.Event{Shard: 3, Session: "abc", Seq: 8812, Gap: true, Type: []byte(sinks.GapEvent), Data: []byte("{}")}
)

// A gap and the event whose seq it carries differ for consumers in every format.
func TestGapIdentity(t *testing.T) {
	session, seq := last.Identity()
	if session != "abc" || seq != 8812 {
		t.Errorf("the event is %s %d", session, seq)
	}
	session, seq = lost.Identity()
	if session != "abc/gap" || seq != 1 {
		t.Errorf("the gap is %s %d", session, seq)
	}
	again := lost // by the next process, whose checkpoint stands elsewhere
	again.Seq = 8800
	if s, n := again.Identity(); s != session || n != seq {
		t.Errorf("the redelivered gap is %s %d", s, n)
	}
	if n := testing.AllocsPerRun(100, func() { last.Identity() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	for _, tt := range []struct {
		format Format
		want   string
	}{
		{Format{JSON, false}, "{}"},
		{Format{JSON, true}, `{"op":0,"s":1,"t":"GATEWAY_GAP","d":{}}`},
		{Format{MsgpackString, false}, "\xa2{}"},
		{Format{MsgpackString, true}, "\xdb\x00\x00\x00\x27" + `{"op":0,"s":1,"t":"GATEWAY_GAP","d":{}}`},
		{Format{Msgpack, false}, "\x80"},
		{Format{Msgpack, true}, "\x84\xa2op\x00\xa1s\x01\xa1t\xabGATEWAY_GAP\xa1d\x80"},
		{Format{Discordjs, false}, "\x82\xa7shardId\x03\xa7payload\x84\xa1t\xabGATEWAY_GAP\xa1s\x01\xa2op\x00\xa1d\x80"},
	} {
		if got, err := tt.format.Append(nil, &lost); err != nil || string(got) != tt.want {
			t.Errorf("%+v: %q, %v; want %q", tt.format, got, err, tt.want)
		}
	}
	d := &DeadLetters{Path: filepath.Join(t.TempDir(), "dead")}
	if err := d.Put(&lost, errors.New("too large")); err != nil {
		t.Fatal(err)
	}
	var letter deadLetter
	if b, err := os.ReadFile(d.Path); err != nil || json.Unmarshal(b, &letter) != nil || letter.Session != "abc/gap" || letter.Seq != 1 {
		t.Errorf("the dead letter is %+v, %v", letter, err)
	}
}
