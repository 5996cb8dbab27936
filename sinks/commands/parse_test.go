// This file tests the commands that come from brokers.

package commands

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/sinks/msgpack"
	"sluice/wire"
)

// Every form of a command that bots write, and the message for every wrong one.
func TestParse(t *testing.T) {
	raw := func(s string) string { return string(msgpack.AppendRaw(nil, []byte(s))) }
	packed := func(s string) string {
		b, err := msgpack.AppendFromJSON(nil, []byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const packet = `{"op":8,"d":{"guild_id":"1"}}`
	send := `{"guild_id":"81384788765712384","packet":` + packet + `}`
	for _, tt := range []struct {
		name, value string
		guild       uint64
		shard       int
	}{
		{"SEND", raw(send), 81384788765712384, 0},
		{"SEND", "\xc5\x00" + string(rune(len(send))) + send, 81384788765712384, 0},
		{"SEND", packed(send), 81384788765712384, 0},
		{"SEND", send, 81384788765712384, 0},
		{"SEND", raw(`{"shard":5,"packet":` + packet + `}`), 0, 5},
		{"17", raw(packet), 0, 17},
		{"17", packed(packet), 0, 17},
		{"17", packet + " \r\n", 0, 17},
		{"17", raw("\n" + packet + "\t"), 0, 17},
		{"gateway_send", packed(`{"payload":` + packet + `,"shardId":3}`), 0, 3},
	} {
		c, err := Parse(tt.name, []byte(tt.value))
		if err != nil || c.Guild != tt.guild || c.Shard != tt.shard || string(c.Packet) != packet {
			t.Errorf("%s %.40q: %+v, %v", tt.name, tt.value, c, err)
		}
	}
	for _, tt := range []struct{ name, value, want string }{
		{"SEND", "", "ends too soon"},
		{"SEND", raw(send)[:40], "ends too soon"},
		{"SEND", raw(send) + "x", "something follows"},
		{"SEND", raw(`{"guild_id":"1"}`), "packet is missing"},
		{"SEND", raw(`{"guild_id":81384788765712384,"packet":{}}`), "send it as a string"},
		{"SEND", raw(`{"guild_id":`), "not JSON"},
		{"SEND", `{"guild_id":`, "not JSON"},
		{"SEND", "\xc1", ""},
		{"SEND", "\x07", "not a JSON object"},
		{"SEND", strings.Repeat("x", MaxSize+1), "long"},
		{"MESSAGE", raw(packet), "no command"},
		{"-1", raw(packet), "no command"},
		{"gateway_send", packed(`{"shardId":3}`), "payload is missing"},
		{"gateway_send", packed(`{"payload":{}}`), "guild_id is missing"},
	} {
		if c, err := Parse(tt.name, []byte(tt.value)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %.40q: %+v, %v; want %q", tt.name, tt.value, c, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("SEND", []byte("\xa2{}"))
	f.Add("3", []byte("\x81\xa2op\x03"))
	f.Add("gateway_send", []byte(`{"shardId":1,"payload":{"op":3}}`))
	f.Add("SEND", []byte("\x82\xa8guild_id\x07\xa6packet\x82\xa2op\x04\xa1d\x82\xa8guild_id\x07\xaachannel_id\xc0"))
	f.Add("3", []byte(`{"op":31,"d":{"guild_ids":["7","\u0037"]}}`))
	f.Add("3", []byte(`{"op":8,"d":{"guild_id":"7","query":"\ud83d\ude00","limit":1e3}}`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		c, err := Parse(name, value)
		if err != nil {
			return
		}
		if len(c.Packet) == 0 || c.Packet[0] != '{' {
			t.Errorf("the packet is %q", c.Packet)
		}
		if err := wire.CheckIJSON(c.Packet); err != nil {
			t.Errorf("the packet is %q: %v", c.Packet, err)
		}
		if parsed, err := wire.ParseCommand(c.Packet); err == nil {
			checkPacket(t, c.Packet, parsed)
		}
	})
}

// checkPacket reports what encoding/json says against a packet that is sent.
func checkPacket(t *testing.T, packet []byte, c wire.Command) {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(packet, &p); err != nil {
		t.Errorf("%q: %v", packet, err)
		return
	}
	d, _ := p["d"].(map[string]any)
	switch {
	case p["op"] != float64(c.Op) || d == nil:
		t.Errorf("%q: op %d was read", packet, c.Op)
	case len(packet) > wire.MaxSend || !utf8.Valid(packet):
		t.Errorf("%q is too long or no UTF-8", packet)
	case c.Guild != 0:
		if id, err := wire.ParseSnowflake(fmt.Sprint(d["guild_id"])); err != nil || id != c.Guild {
			t.Errorf("%q: guild %d was read", packet, c.Guild)
		}
	}
}
