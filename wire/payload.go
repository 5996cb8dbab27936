// This file writes what a client sends.

package wire

import (
	"encoding/json"
	"runtime"
	"strconv"
)

// Identify is what starts a session (op 2).
type Identify struct {
	Token          string
	Intents        Intents
	Shard, Shards  int
	Compress       bool   // payload compression; without effect under a transport compression
	LargeThreshold int    // 50 to 250; 0: not sent
	Presence       []byte // a presence object as JSON; nil: not sent
}

// clientName is what we call ourselves in the properties of an Identify.
const clientName = "sluice"

// AppendIdentify appends the payload of an Identify to dst.
func AppendIdentify(dst []byte, id *Identify) []byte {
	dst = append(dst, `{"op":2,"d":{"token":`...)
	dst = appendString(dst, id.Token)
	dst = append(dst, `,"intents":`...)
	dst = strconv.AppendUint(dst, uint64(id.Intents), 10)
	dst = append(dst, `,"properties":{"os":`...)
	dst = appendString(dst, runtime.GOOS)
	dst = append(dst, `,"browser":"`+clientName+`","device":"`+clientName+`"}`...)
	if id.Compress {
		dst = append(dst, `,"compress":true`...)
	}
	if id.LargeThreshold != 0 {
		dst = append(dst, `,"large_threshold":`...)
		dst = strconv.AppendInt(dst, int64(id.LargeThreshold), 10)
	}
	dst = append(dst, `,"shard":[`...)
	dst = strconv.AppendInt(dst, int64(id.Shard), 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(id.Shards), 10)
	dst = append(dst, ']')
	if id.Presence != nil {
		dst = append(dst, `,"presence":`...)
		dst = append(dst, id.Presence...)
	}
	return append(dst, "}}"...)
}

// AppendResume appends the payload that continues a session (op 6) after seq.
func AppendResume(dst []byte, token, session string, seq int64) []byte {
	dst = append(dst, `{"op":6,"d":{"token":`...)
	dst = appendString(dst, token)
	dst = append(dst, `,"session_id":`...)
	dst = appendString(dst, session)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, seq, 10)
	return append(dst, "}}"...)
}

// AppendHeartbeat appends a heartbeat (op 1) with the last sequence number that
// was received, or null if there is none.
func AppendHeartbeat(dst []byte, seq int64, hasSeq bool) []byte {
	dst = append(dst, `{"op":1,"d":`...)
	if hasSeq {
		dst = strconv.AppendInt(dst, seq, 10)
	} else {
		dst = append(dst, "null"...)
	}
	return append(dst, '}')
}

// appendString appends s as a JSON string. None of these payloads is on the
// event path.
func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string can always be encoded
	return append(dst, quoted...)
}
