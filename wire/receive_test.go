// This file tests that the payloads which steer a connection cost no more than they hold.

package wire

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// A READY or a Hello of many millions of elements costs no memory beside its own.
func TestReadyMemory(t *testing.T) {
	many := bytes.Repeat([]byte("0,"), 8<<20)
	for _, c := range []struct {
		name, head, tail string
		guilds           int
	}{
		{"ready", `{"session_id":"a","guilds":[`, `0],"x":1}`, 8<<20 + 1},
		{"ready without a session", `{"guilds":[`, `0]}`, -1},
		{"hello", `{"heartbeat_interval":41250,"x":[`, `0]}`, -1},
	} {
		d := append(append([]byte(c.head), many...), c.tail...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := ParseReady(d)
		if c.guilds < 0 {
			if err == nil {
				t.Errorf("%s: accepted as READY", c.name)
			}
			if _, err := ParseHello(d); err == nil {
				t.Errorf("%s: accepted as a Hello", c.name)
			}
		} else if err != nil || r.Guilds != c.guilds {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes allocated", c.name, n)
		}
	}
}

func TestReadyFields(t *testing.T) {
	for _, c := range []struct {
		d    string
		want ReadyEvent
	}{
		{`{"session_id":"a","resume_gateway_url":"wss://x","guilds":[{},{"id":"1"}]}`, ReadyEvent{"a", "wss://x", 2}},
		{`{"session_id":"a"}`, ReadyEvent{SessionID: "a"}},
		{`{ "guilds" : [ 1 , [2,3] , "]" ] , "session_id" : "\u0061" }`, ReadyEvent{SessionID: "a", Guilds: 3}},
		{`{"session_id":"a","guilds":{"0":1},"resume_gateway_url":null}`, ReadyEvent{SessionID: "a"}},
		{`{"session_id":"x","session_id":"a"}`, ReadyEvent{SessionID: "a"}},
		{`{"session_id":"` + strings.Repeat("a", MaxSessionID) + `"}`, ReadyEvent{SessionID: strings.Repeat("a", MaxSessionID)}},
		{`{"session_id":"a","resume_gateway_url":"` + strings.Repeat("u", 2*MaxControl) + `"}`, ReadyEvent{SessionID: "a"}},
	} {
		if r, err := ParseReady([]byte(c.d)); err != nil || r != c.want {
			t.Errorf("%.80s: %+v, %v", c.d, r, err)
		}
	}
	for _, d := range []string{
		``, `null`, `[]`, `{}`, `{"session_id":""}`, `{"session_id":1}`, `{"session_id":"a b"}`, `{"session_id":"\n"}`, `{"session_id":"é"}`,
		`{"session_id":"` + strings.Repeat("a", MaxSessionID+1) + `"}`, `{"session_id":"` + strings.Repeat("a", 5000) + `"}`, `{"session_id":"a"`, `{"session_id":"a"}x`,
	} {
		if r, err := ParseReady([]byte(d)); err == nil {
			t.Errorf("%.80s: taken as %+v", d, r)
		}
	}
}

func TestHelloBound(t *testing.T) {
	d := []byte(`{"heartbeat_interval":41250,"_trace":["` + strings.Repeat("x", MaxControl) + `"]}`)
	if _, err := ParseHello(d); err == nil || !strings.Contains(err.Error(), "4096 are allowed") {
		t.Error(err)
	}
	var e Envelope
	if err := ParseEnvelope([]byte(`{"op":10,"d":{"heartbeat_interval":tru}}`), &e); !errors.Is(err, ErrEnvelope) {
		t.Error(err)
	}
}
