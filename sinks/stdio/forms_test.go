// This file tests what holds in every form that a command may have.

package stdio

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"sluice/sinks"
	"sluice/sinks/commands"
	"sluice/sinks/msgpack"
)

// A form is a way in which a packet, JSON text, can be sent to a shard.
type form struct {
	name string
	// parse makes a command of it. packed says that the packet is to be a MessagePack map
	// and not JSON within it.
	parse func(packet string) (sinks.Command, error)
}

// item reads one command as from standard input.
func item(input string) (c sinks.Command, err error) {
	log := &records{}
	ReadCommands(strings.NewReader(input), func(got sinks.Command) error {
		got.Packet = append([]byte(nil), got.Packet...)
		c = got
		return nil
	}, nil, slog.New(log))
	if len(log.lines) > 0 {
		err = fmt.Errorf("%s", strings.Join(log.lines, "; "))
	}
	return c, err
}

func raw(s string) string { return string(msgpack.AppendRaw(nil, []byte(s))) }

// quote returns s as a JSON string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// jsonForms carry the packet as JSON.
var jsonForms = []form{
	{"line with a shard", func(p string) (sinks.Command, error) { return item(`{"shard":3,"packet":` + p + "}\n") }},
	{"line with a guild", func(p string) (sinks.Command, error) { return item(`{"guild_id":"3","packet":` + p + "}\n") }},
	{"SEND", func(p string) (sinks.Command, error) {
		return item(`{"event":"SEND","data":{"shard":3,"packet":` + p + "}}\n")
	}},
	{"SEND in a string", func(p string) (sinks.Command, error) {
		return item(`{"event":"SEND","data":` + quote(`{"shard":3,"packet":`+p+"}") + "}\n")
	}},
	{"shard's number", func(p string) (sinks.Command, error) { return item(`{"event":"3","data":` + p + "}\n") }},
	{"shard's number, in a string", func(p string) (sinks.Command, error) { return item(`{"event":"3","data":` + quote(p) + "}\n") }},
	{"MessagePack around a string", func(p string) (sinks.Command, error) {
		return item("\x82\xa5event\xa13\xa4data" + raw(p))
	}},
	{"stream SEND, raw", func(p string) (sinks.Command, error) {
		return commands.Parse("SEND", []byte(raw(`{"shard":3,"packet":`+p+"}")))
	}},
	{"stream SEND, JSON", func(p string) (sinks.Command, error) {
		return commands.Parse("SEND", []byte(`{"shard":3,"packet":`+p+"}"))
	}},
	{"stream of a shard, raw", func(p string) (sinks.Command, error) { return commands.Parse("3", []byte(raw(p))) }},
	{"stream of a shard, JSON", func(p string) (sinks.Command, error) { return commands.Parse("3", []byte(p)) }},
	{"gateway_send, JSON", func(p string) (sinks.Command, error) {
		return commands.Parse("gateway_send", []byte(`{"shardId":3,"payload":`+p+"}"))
	}},
}

// packedForms carry the packet as a MessagePack map.
var packedForms = []form{
	{"map with a shard", func(p string) (sinks.Command, error) { return item("\x82\xa5shard\x03\xa6packet" + p) }},
	{"map with a guild", func(p string) (sinks.Command, error) { return item("\x82\xa8guild_id\x03\xa6packet" + p) }},
	{"map SEND", func(p string) (sinks.Command, error) {
		return item("\x82\xa5event\xa4SEND\xa4data\x82\xa5shard\x03\xa6packet" + p)
	}},
	{"map with a shard's number", func(p string) (sinks.Command, error) { return item("\x82\xa5event\xa13\xa4data" + p) }},
	{"stream SEND", func(p string) (sinks.Command, error) {
		return commands.Parse("SEND", []byte("\x82\xa5shard\x03\xa6packet"+p))
	}},
	{"stream of a shard", func(p string) (sinks.Command, error) { return commands.Parse("3", []byte(p)) }},
	{"gateway_send", func(p string) (sinks.Command, error) {
		return commands.Parse("gateway_send", []byte("\x82\xa7shardId\x03\xa7payload"+p))
	}},
}

// A packet that decoders read differently is refused in every form.
func TestRefusedInEveryForm(t *testing.T) {
	for _, f := range jsonForms {
		if c, err := f.parse(`{"op":3,"d":{"a":"\ud83d\ude00"}}`); err != nil || string(c.Packet) != `{"op":3,"d":{"a":"\ud83d\ude00"}}` && !strings.Contains(f.name, "string") {
			t.Errorf("%s: %s, %v", f.name, c.Packet, err)
		}
		for _, tt := range []struct{ d, want string }{
			{`{"a":"\ud83d"}`, "half of a surrogate pair"},
			{`{"\udc00":1}`, "half of a surrogate pair"},
			{`{"a":"\ud83d\u0041"}`, "half of a surrogate pair"},
			{`{"a":1e999}`, "beyond a double"},
			{`{"a":-18446744073709551615}`, "beyond 64 bits"},
			{`{"a":{"b":1,"c":[],"\u0062":2}}`, `the key "b" stands twice`},
			{`{"a":"\u0000"}`, "NUL"},
			{"{\"a\":\"\xff\"}", "UTF-8"},
			{"{\"a\":\"\xed\xa0\xbd\"}", "UTF-8"},
			{`{"a":` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `}`, "nested more than 100"},
		} {
			c, err := f.parse(`{"op":3,"d":` + tt.d + `}`)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %.80q: %s, %v; want %q", f.name, tt.d, c.Packet, err, tt.want)
			}
		}
	}
	for _, f := range packedForms {
		for _, tt := range []struct{ d, want string }{
			{"\x81\xa1a\xa3\xed\xa0\xbd", "UTF-8"},
			{"\x81\xa3\xed\xa0\xbd\x01", "UTF-8"},
			{"\x81\xa1a\xc4\x01\xff", "UTF-8"},
			{"\x81\xa1a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "no form in JSON"},
			{"\x81\xa1a\xa1\x00", "NUL"},
			{"\x82\xa1a\x01\xa1a\x02", `the key "a" stands twice`},
			{"\x81\xa1a\x82\xa1b\x01\xc4\x01b\x02", `the key "b" stands twice`},
			{"\x81\xa1a\xd6\xff\x00\x00\x00\x00", "no form in JSON"},
		} {
			c, err := f.parse("\x82\xa2op\x03\xa1d" + tt.d)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %q: %s, %v; want %q", f.name, tt.d, c.Packet, err, tt.want)
			}
		}
	}
}

// What is around the packet is read by the same rules.
func TestAmbiguousCommand(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{`{"shard":0,"shard":1,"packet":{}}`, `the key "shard" stands twice`},
		{`{"shard":0,"packet":{},"\u0070acket":{}}`, `the key "packet" stands twice`},
		{`{"event":"3","data":"{\"a\":\"\ud800\"}"}`, "half of a surrogate pair"},
		{`{"event":"\ud800","data":{}}`, "half of a surrogate pair"},
		{`{"shard":1,"x":1e999,"packet":{}}`, "beyond a double"},
	} {
		if c, err := item(tt.line + "\n"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v; want %q", tt.line, c, err, tt.want)
		}
	}
}

// Where Discord has snowflakes, MessagePack may have whole numbers: they are sent as
// strings. In JSON they may have lost digits, whatever brings it.
func TestIntegerSnowflakes(t *testing.T) {
	const u64 = "\xcf\x01\x21\x23\x8b\x6a\x00\x00\x01"
	for _, f := range packedForms {
		for _, tt := range []struct{ d, want string }{
			{"\x82\xa8guild_id" + u64 + "\xaachannel_id" + u64, `{"guild_id":"81385349955190785","channel_id":"81385349955190785"}`},
			{"\x82\xa8guild_id\xd3\x01\x21\x23\x8b\x6a\x00\x00\x01\xaachannel_id\xc0", `{"guild_id":"81385349955190785","channel_id":null}`},
			{"\x81\xa9guild_ids\x93\x07" + u64 + "\xa18", `{"guild_ids":["7","81385349955190785","8"]}`},
			{"\x81\xa8user_ids\x92" + u64 + "\xcd\x01\x00", `{"user_ids":["81385349955190785","256"]}`},
			{"\x81\xa8user_ids" + u64, `{"user_ids":"81385349955190785"}`},
			{"\x81\xc4\x08guild_id\xcb\x40\x08\x00\x00\x00\x00\x00\x00", `{"guild_id":"3"}`}, // a float that is exact
			{"\x82\xa5limit\x00\xa5query\xa0", `{"limit":0,"query":""}`},
			{"\x81\xa8guild_id\xff", `{"guild_id":-1}`}, // refused by wire.ParseCommand
			{"\x81\xa8guild_id\xcb\x43\x72\x12\x34\x56\x78\x9a\xbc", `{"guild_id":8.138504926617082e+16}`},
		} {
			c, err := f.parse("\x82\xa2op\x03\xa1d" + tt.d)
			if err != nil || string(c.Packet) != `{"op":3,"d":`+tt.want+`}` {
				t.Errorf("%s: %q: %s, %v; want %s", f.name, tt.d, c.Packet, err, tt.want)
			}
		}
	}
	c, err := item("\x82\xa8guild_id" + u64 + "\xa6packet\x80")
	if err != nil || c.Guild != 81385349955190785 {
		t.Errorf("guild_id beside the packet: %+v, %v", c, err)
	}
	for _, value := range []string{`{"guild_id":81385349955190785,"packet":{}}`, raw(`{"guild_id":81385349955190785,"packet":{}}`)} {
		if c, err := commands.Parse("SEND", []byte(value)); err == nil || !strings.Contains(err.Error(), "may have lost digits") {
			t.Errorf("%q: %+v, %v", value, c, err)
		}
	}
}

// 300,000 bad lines give the same message each, whose particulars are attributes: a
// handler can count them. What is read on does not grow.
func TestBadLinesHaveOneMessage(t *testing.T) {
	messages := map[string]int{}
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.MessageKey {
			messages[a.Value.String()]++
		}
		return a
	}}))
	bad := []string{"x\n", "{\n", "[]\n", `{"shard":1,"packet":{"a":1e999}}` + "\n", "\x81\xc1\n", ok + "\n"}
	var input strings.Builder
	for i := range 300_000 {
		input.WriteString(bad[i%len(bad)])
	}
	sent := 0
	counts := commands.NewCounts()
	err := ReadCommands(strings.NewReader(input.String()), func(sinks.Command) error {
		if sent++; sent%2 == 0 {
			return sinks.ErrQueueFull
		}
		return nil
	}, counts, log)
	if st := counts.Status(); len(st) != 1 || st[0].Received != 300_000 || st[0].Given != 25_000 || st[0].Refused[commands.QueueFull] != 25_000 || st[0].Waiting != 25_000 {
		t.Errorf("%+v", st)
	}
	if err != nil || sent != 50_000 || len(messages) != 1 || messages["command refused"] != 275_000 {
		t.Errorf("%v; %d sent; messages %v", err, sent, messages)
	}
}
