// This file tests what is sent, and what steers a connection.

package wire

import (
	"encoding/json"
	"runtime"
	"testing"
	"time"
)

// What is sent to Discord, byte for byte.
func TestPayloads(t *testing.T) {
	os := `{"os":"` + runtime.GOOS + `","browser":"sluice","device":"sluice"}`
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"identify", AppendIdentify(nil, &Identify{Token: "to.k-en", Intents: UnprivilegedIntents, Shard: 3, Shards: 16}),
			`{"op":2,"d":{"token":"to.k-en","intents":53575421,"properties":` + os + `,"shard":[3,16]}}`},
		{"identify with everything", AppendIdentify(nil, &Identify{Token: `"<ü`, Intents: AllIntents, Shards: 1, Compress: true,
			LargeThreshold: 250, Presence: []byte(`{"since":null,"activities":[],"status":"idle","afk":false}`)}),
			`{"op":2,"d":{"token":"\"\u003cü","intents":53608447,"properties":` + os + `,"compress":true,"large_threshold":250,` +
				`"shard":[0,1],"presence":{"since":null,"activities":[],"status":"idle","afk":false}}}`},
		{"no intents", AppendIdentify(nil, &Identify{Token: "x", Shards: 1}),
			`{"op":2,"d":{"token":"x","intents":0,"properties":` + os + `,"shard":[0,1]}}`},
		{"resume", AppendResume(nil, "token", "abc\n", 1<<53+1), `{"op":6,"d":{"token":"token","session_id":"abc\n","seq":9007199254740993}}`},
		{"heartbeat", AppendHeartbeat(nil, 251, true), `{"op":1,"d":251}`},
		{"heartbeat of 0", AppendHeartbeat(nil, 0, true), `{"op":1,"d":0}`},
		{"first heartbeat", AppendHeartbeat(nil, 0, false), `{"op":1,"d":null}`},
		{"behind what is there", AppendHeartbeat([]byte("x"), 1, true)[1:], `{"op":1,"d":1}`},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, c.got, c.want)
		}
		if !json.Valid(c.got) {
			t.Errorf("%s: not JSON", c.name)
		}
		var e Envelope
		if err := ParseEnvelope(c.got, &e); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { AppendHeartbeat(buf, 1<<53+1, true) }); n != 0 {
		t.Errorf("AppendHeartbeat: %v allocations", n)
	}
}

func TestParseHello(t *testing.T) {
	for _, c := range []struct {
		d    string
		want time.Duration // 0: refused
	}{
		{`{"heartbeat_interval":41250,"_trace":["x"]}`, 41250 * time.Millisecond},
		{`{"heartbeat_interval":41250.5}`, 41250*time.Millisecond + 500*time.Microsecond},
		{`{"heartbeat_interval":1}`, time.Millisecond},
		{`{"heartbeat_interval":86400000}`, 24 * time.Hour},
		{`{"heartbeat_interval":86400001}`, 0},
		{`{"heartbeat_interval":1e300}`, 0},
		{`{"heartbeat_interval":0}`, 0},
		{`{"heartbeat_interval":-1}`, 0},
		{`{"heartbeat_interval":"41250"}`, 0},
		{`{"heartbeat_interval":nan}`, 0},
		{`{}`, 0},
		{`null`, 0},
		{`[]`, 0},
		{`{`, 0},
		{``, 0},
	} {
		got, err := ParseHello([]byte(c.d))
		if got.HeartbeatInterval != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("ParseHello(%s) = %v, %v; want %v", c.d, got.HeartbeatInterval, err, c.want)
		}
	}
}

func TestParseReady(t *testing.T) {
	var e Envelope
	if err := ParseEnvelope(payload(t, "ready"), &e); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d    string
		want ReadyEvent // without a session: refused
	}{
		{string(e.Data), ReadyEvent{"0123456789abcdef0123456789abcdef", "wss://gateway-us-east1-c.discord.gg", 2}},
		{`{"session_id":"a"}`, ReadyEvent{SessionID: "a"}},
		{`{"session_id":"a","resume_gateway_url":null,"guilds":null}`, ReadyEvent{SessionID: "a"}},
		{`{"session_id":""}`, ReadyEvent{}},
		{`{"session_id":1}`, ReadyEvent{}},
		{`{"guilds":[]}`, ReadyEvent{}},
		{`[]`, ReadyEvent{}},
		{`null`, ReadyEvent{}},
		{`{"session_id":"a"`, ReadyEvent{}},
		{``, ReadyEvent{}},
	} {
		got, err := ParseReady([]byte(c.d))
		if got != c.want || (err == nil) != (c.want.SessionID != "") {
			t.Errorf("ParseReady(%.80s) = %+v, %v; want %+v", c.d, got, err, c.want)
		}
	}
	for d, want := range map[string]bool{"true": true, "false": false, "null": false, `"true"`: false, "": false} {
		if got := ParseInvalidSession([]byte(d)); got != want {
			t.Errorf("ParseInvalidSession(%s) = %v", d, got)
		}
	}
}
