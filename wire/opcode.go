// This file names the gateway's opcodes.

package wire

import "strconv"

// Opcode is the "op" of a gateway payload.
// https://docs.discord.com/developers/topics/opcodes-and-status-codes
type Opcode int

const (
	OpDispatch                Opcode = 0  // receive: an event
	OpHeartbeat               Opcode = 1  // send and receive: last seq or null
	OpIdentify                Opcode = 2  // send: start a session
	OpPresenceUpdate          Opcode = 3  // send
	OpVoiceStateUpdate        Opcode = 4  // send
	OpResume                  Opcode = 6  // send: continue a session
	OpReconnect               Opcode = 7  // receive: reconnect and resume
	OpRequestGuildMembers     Opcode = 8  // send
	OpInvalidSession          Opcode = 9  // receive: d says whether it can be resumed
	OpHello                   Opcode = 10 // receive: heartbeat_interval in milliseconds
	OpHeartbeatACK            Opcode = 11 // receive
	OpRequestSoundboardSounds Opcode = 31 // send
	OpRequestChannelInfo      Opcode = 43 // send
)

// String returns the name that Discord's documentation uses, or the number of
// an opcode that has none.
func (op Opcode) String() string {
	switch op {
	case OpDispatch:
		return "Dispatch"
	case OpHeartbeat:
		return "Heartbeat"
	case OpIdentify:
		return "Identify"
	case OpPresenceUpdate:
		return "Presence Update"
	case OpVoiceStateUpdate:
		return "Voice State Update"
	case OpResume:
		return "Resume"
	case OpReconnect:
		return "Reconnect"
	case OpRequestGuildMembers:
		return "Request Guild Members"
	case OpInvalidSession:
		return "Invalid Session"
	case OpHello:
		return "Hello"
	case OpHeartbeatACK:
		return "Heartbeat ACK"
	case OpRequestSoundboardSounds:
		return "Request Soundboard Sounds"
	case OpRequestChannelInfo:
		return "Request Channel Info"
	}
	return "op " + strconv.Itoa(int(op))
}
