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

// AppendPresence appends a presence update (op 3); presence is the object as JSON.
func AppendPresence(dst, presence []byte) []byte {
	dst = append(dst, `{"op":3,"d":`...)
	dst = append(dst, presence...)
	return append(dst, '}')
}

// VoiceState is what op 4 asks for.
type VoiceState struct {
	Guild    string // snowflake
	Channel  string // snowflake; empty: leave
	SelfMute bool
	SelfDeaf bool
}

// AppendVoiceState appends a voice state update (op 4).
func AppendVoiceState(dst []byte, v *VoiceState) []byte {
	dst = append(dst, `{"op":4,"d":{"guild_id":`...)
	dst = appendString(dst, v.Guild)
	dst = append(dst, `,"channel_id":`...)
	if v.Channel == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, v.Channel)
	}
	dst = append(dst, `,"self_mute":`...)
	dst = strconv.AppendBool(dst, v.SelfMute)
	dst = append(dst, `,"self_deaf":`...)
	dst = strconv.AppendBool(dst, v.SelfDeaf)
	return append(dst, "}}"...)
}

// RequestMembers is what op 8 asks for: members by the start of their names, or
// by id. With an empty Query, Limit 0 and no Users it asks for all of them.
type RequestMembers struct {
	Guild     string // snowflake
	Query     string
	Limit     int
	Users     []string // at most 100 snowflakes; they replace Query and Limit
	Presences bool
	Nonce     string // at most 32 bytes; comes back in the chunks
}

// AppendRequestMembers appends a request for guild members (op 8).
func AppendRequestMembers(dst []byte, r *RequestMembers) []byte {
	dst = append(dst, `{"op":8,"d":{"guild_id":`...)
	dst = appendString(dst, r.Guild)
	if r.Users != nil {
		dst = append(dst, `,"user_ids":`...)
		dst = appendStrings(dst, r.Users)
	} else {
		dst = append(dst, `,"query":`...)
		dst = appendString(dst, r.Query)
		dst = append(dst, `,"limit":`...)
		dst = strconv.AppendInt(dst, int64(r.Limit), 10)
	}
	if r.Presences {
		dst = append(dst, `,"presences":true`...)
	}
	if r.Nonce != "" {
		dst = append(dst, `,"nonce":`...)
		dst = appendString(dst, r.Nonce)
	}
	return append(dst, "}}"...)
}

// AppendRequestSoundboardSounds appends a request for the sounds of guilds (op 31).
func AppendRequestSoundboardSounds(dst []byte, guilds []string) []byte {
	dst = append(dst, `{"op":31,"d":{"guild_ids":`...)
	dst = appendStrings(dst, guilds)
	return append(dst, "}}"...)
}

// AppendRequestChannelInfo appends a request for fields of a guild's channels
// (op 43), such as "status" and "voice_start_time".
func AppendRequestChannelInfo(dst []byte, guild string, fields []string) []byte {
	dst = append(dst, `{"op":43,"d":{"guild_id":`...)
	dst = appendString(dst, guild)
	dst = append(dst, `,"fields":`...)
	dst = appendStrings(dst, fields)
	return append(dst, "}}"...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// appendString appends s as a JSON string. None of these payloads is on the
// way of an event.
func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string can always be encoded
	return append(dst, quoted...)
}
