// This file reads the payloads that steer a connection. Nothing of them is kept but
// the few fields that are needed: what a peer sends must not cost many times its size.

package wire

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	// MaxControl bounds d of every payload but a dispatch, in bytes. Discord's Hello, the
	// largest, has some hundred with its trace.
	MaxControl = 4 << 10
	// MaxSessionID bounds a session id in bytes. Discord's have 32.
	MaxSessionID = 256
)

// Hello is the first payload of a connection (op 10).
type Hello struct {
	HeartbeatInterval time.Duration
}

// ParseHello reads d of a Hello.
func ParseHello(d []byte) (Hello, error) {
	if err := checkObject(d, MaxControl); err != nil {
		return Hello{}, fmt.Errorf("wire: hello: %w", err)
	}
	var interval []byte
	for key, value := range fields(d) {
		if string(key) == "heartbeat_interval" {
			interval = value
		}
	}
	ms, err := strconv.ParseFloat(string(interval), 64)
	// A day is far beyond Discord's 41.25 s, and safe to compute with.
	if err != nil || !(ms >= 1 && ms <= 24*60*60*1000) {
		return Hello{}, fmt.Errorf("wire: hello: heartbeat_interval is %.40q, not a number of milliseconds", interval)
	}
	return Hello{HeartbeatInterval: time.Duration(ms * float64(time.Millisecond))}, nil
}

// ReadyEvent is what a client must know of READY.
type ReadyEvent struct {
	SessionID string // 1 to MaxSessionID printable characters of ASCII
	ResumeURL string // resume_gateway_url as Discord sent it; empty if it named none, or one above MaxControl
	Guilds    int    // that the shard serves
}

// ParseReady reads d of READY. It allocates nothing but the two strings.
func ParseReady(d []byte) (ReadyEvent, error) {
	if err := checkObject(d, 0); err != nil {
		return ReadyEvent{}, fmt.Errorf("wire: ready: %w", err)
	}
	var r ReadyEvent
	for key, value := range fields(d) {
		switch string(key) {
		case "session_id":
			if len(value) > 6*MaxSessionID {
				return ReadyEvent{}, fmt.Errorf("wire: ready: session_id has %d bytes; %d are allowed", len(value)-2, MaxSessionID)
			}
			r.SessionID = text(value)
		case "resume_gateway_url":
			if r.ResumeURL = ""; len(value) <= MaxControl {
				r.ResumeURL = text(value)
			}
		case "guilds":
			r.Guilds = elements(value)
		}
	}
	if r.SessionID == "" {
		return ReadyEvent{}, errors.New("wire: ready: session_id is missing")
	}
	if !ValidSessionID(r.SessionID) {
		return ReadyEvent{}, fmt.Errorf("wire: ready: session_id %.40q is not up to %d printable characters of ASCII", r.SessionID, MaxSessionID)
	}
	return r, nil
}

// ValidSessionID reports whether id can be a session id: it is stored, logged and sent on
// by whoever handles it.
func ValidSessionID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return 1 <= len(id) && len(id) <= MaxSessionID
}

// checkObject reports why d is not a JSON object of at most limit bytes; 0: of any number.
func checkObject(d []byte, limit int) error {
	switch {
	case limit > 0 && len(d) > limit:
		return fmt.Errorf("d has %d bytes; %d are allowed", len(d), limit)
	case len(d) == 0 || d[0] != '{' || validLen(d) != len(d):
		return fmt.Errorf("d is not a JSON object: %.40q", d)
	}
	return nil
}

// ParseInvalidSession reads d of an Invalid Session (op 9): whether the session
// can be resumed.
func ParseInvalidSession(d []byte) (resumable bool) { return string(d) == "true" }
