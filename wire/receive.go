// This file reads the payloads that steer a connection.

package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fastjson"
)

// Hello is the first payload of a connection (op 10).
type Hello struct {
	HeartbeatInterval time.Duration
}

// ParseHello reads d of a Hello.
func ParseHello(d []byte) (Hello, error) {
	v, err := fastjson.ParseBytes(d)
	if err != nil {
		return Hello{}, fmt.Errorf("wire: hello: %w", err)
	}
	ms := v.GetFloat64("heartbeat_interval")
	// A day is far beyond Discord's 41.25 s, and safe to compute with.
	if !(ms >= 1 && ms <= 24*60*60*1000) {
		return Hello{}, fmt.Errorf("wire: hello: heartbeat_interval is %v ms", ms)
	}
	return Hello{HeartbeatInterval: time.Duration(ms * float64(time.Millisecond))}, nil
}

// ReadyEvent is what a client must know of READY.
type ReadyEvent struct {
	SessionID string
	ResumeURL string // resume_gateway_url; empty if Discord named none
	Guilds    int    // that the shard serves
}

// ParseReady reads d of READY.
func ParseReady(d []byte) (ReadyEvent, error) {
	v, err := fastjson.ParseBytes(d)
	if err != nil {
		return ReadyEvent{}, fmt.Errorf("wire: ready: %w", err)
	}
	r := ReadyEvent{
		SessionID: string(v.GetStringBytes("session_id")),
		ResumeURL: string(v.GetStringBytes("resume_gateway_url")),
		Guilds:    len(v.GetArray("guilds")),
	}
	if r.SessionID == "" {
		return ReadyEvent{}, errors.New("wire: ready: session_id is missing")
	}
	return r, nil
}

// ParseInvalidSession reads d of an Invalid Session (op 9): whether the session
// can be resumed.
func ParseInvalidSession(d []byte) (resumable bool) { return string(d) == "true" }
