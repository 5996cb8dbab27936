// This file is the table of close codes and what each asks a client to do.

package wire

import "strconv"

// CloseCode is the code of a WebSocket close frame: Discord's own from 4000 on,
// the others from RFC 6455, 7.4.1.
// https://docs.discord.com/developers/topics/opcodes-and-status-codes
type CloseCode uint16

const (
	CloseNormal         CloseCode = 1000 // sent by a client it ends the session
	CloseGoingAway      CloseCode = 1001 // likewise
	CloseProtocolError  CloseCode = 1002
	CloseNoStatus       CloseCode = 1005 // a close frame without a code; never on the wire
	CloseAbnormal       CloseCode = 1006 // no close frame; never on the wire
	CloseInvalidPayload CloseCode = 1007
	CloseTooBig         CloseCode = 1009
	CloseInternal       CloseCode = 1011

	CloseUnknownError         CloseCode = 4000
	CloseUnknownOpcode        CloseCode = 4001
	CloseDecodeError          CloseCode = 4002
	CloseNotAuthenticated     CloseCode = 4003
	CloseAuthenticationFailed CloseCode = 4004
	CloseAlreadyAuthenticated CloseCode = 4005
	CloseSessionInvalid       CloseCode = 4006
	CloseInvalidSeq           CloseCode = 4007
	CloseRateLimited          CloseCode = 4008
	CloseSessionTimedOut      CloseCode = 4009
	CloseInvalidShard         CloseCode = 4010
	CloseShardingRequired     CloseCode = 4011
	CloseInvalidVersion       CloseCode = 4012
	CloseInvalidIntents       CloseCode = 4013
	CloseDisallowedIntents    CloseCode = 4014

	// CloseKeepSession is what a client sends to leave with its session kept:
	// any code but 1000 and 1001 does that.
	CloseKeepSession CloseCode = 4900
)

// CloseAction is what a close code asks a client to do.
type CloseAction uint8

const (
	ActionResume     CloseAction = iota // resume the session
	ActionResumeOnce                    // resume; if that fails, identify
	ActionIdentify                      // the session is gone: identify
	ActionStop                          // trying again cannot help
)

// String names the action.
func (a CloseAction) String() string {
	return [...]string{"resume", "resume once, then identify", "identify", "stop"}[a]
}

// closeCodes is the one table of codes that a server may close with.
var closeCodes = [...]struct {
	code    CloseCode
	action  CloseAction
	meaning string
}{
	{CloseNormal, ActionResumeOnce, "Normal closure"}, // seen when heartbeats were missed
	{CloseGoingAway, ActionResume, "Going away"},
	{CloseProtocolError, ActionResume, "Protocol error"},
	{CloseNoStatus, ActionResume, "No code"},
	{CloseAbnormal, ActionResume, "No close frame"},
	{CloseInvalidPayload, ActionResume, "Invalid payload"},
	{CloseTooBig, ActionResume, "Message too big"},
	{CloseInternal, ActionResume, "Internal error"},
	{CloseUnknownError, ActionResume, "Unknown error"},
	{CloseUnknownOpcode, ActionResume, "Unknown opcode"},
	{CloseDecodeError, ActionResume, "Decode error"},
	{CloseNotAuthenticated, ActionIdentify, "Not authenticated"},
	{CloseAuthenticationFailed, ActionStop, "Authentication failed"},
	{CloseAlreadyAuthenticated, ActionResumeOnce, "Already authenticated"},
	{CloseSessionInvalid, ActionIdentify, "Session invalid"},
	{CloseInvalidSeq, ActionIdentify, "Invalid seq"},
	{CloseRateLimited, ActionResume, "Rate limited"},
	{CloseSessionTimedOut, ActionIdentify, "Session timed out"},
	{CloseInvalidShard, ActionStop, "Invalid shard"},
	{CloseShardingRequired, ActionStop, "Sharding required"},
	{CloseInvalidVersion, ActionStop, "Invalid API version"},
	{CloseInvalidIntents, ActionStop, "Invalid intent(s)"},
	{CloseDisallowedIntents, ActionStop, "Disallowed intent(s)"},
}

// Action returns what the code asks for; unknown codes ask for a resume.
func (c CloseCode) Action() CloseAction {
	for _, row := range closeCodes {
		if row.code == c {
			return row.action
		}
	}
	return ActionResume
}

// String returns the code's meaning in Discord's words, or its number.
func (c CloseCode) String() string {
	for _, row := range closeCodes {
		if row.code == c {
			return row.meaning
		}
	}
	return "close code " + strconv.Itoa(int(c))
}

// CloseCodes returns every code that has a meaning here, in ascending order.
func CloseCodes() []CloseCode {
	codes := make([]CloseCode, len(closeCodes))
	for i, row := range closeCodes {
		codes[i] = row.code
	}
	return codes
}
