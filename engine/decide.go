// This file decides what a shard does when its connection has ended: section
// by section the table of the gateway's reference, as one function without
// side effects.

package engine

import (
	"fmt"

	"sluice/wire"
)

// causeKind is why a connection ended or could not be made.
type causeKind uint8

const (
	causeReconnect      causeKind = iota // op 7
	causeInvalidKeep                     // op 9, d true
	causeInvalidDrop                     // op 9, d false
	causeZombie                          // a heartbeat was due and nothing had been heard since the last
	causeNetwork                         // the socket ended without a close frame (1006)
	causeClosed                          // a close frame with code
	causeBroken                          // the peer broke the protocol or a stream; code is our answer
	causeConnectFailed                   // dial, TLS or the WebSocket handshake failed
	causeConnectRefused                  // the handshake was answered with 429: an address block
	causeNoHello                         // connected, and no Hello in time
	causeSilentResume                    // Resume sent, and nothing replayed in time
	causeNoReady                         // Identify sent, and no READY in time
	causeOddSeq                          // sequence numbers that cannot be Discord's
	causeAsked                           // Engine.Reconnect
	causeUnconfirmed                     // Options.Trusted says no
	causeTurnLost                        // IdentifyQueue.Spend does
)

var causeNames = [...]string{
	"reconnect asked for", "invalid session (resumable)", "invalid session", "zombie connection",
	"connection lost", "closed by Discord", "protocol broken", "connect failed", "connect refused (429)",
	"no hello", "no answer to resume", "no READY", "odd sequence numbers",
	"asked for by the operator", "ownership not confirmed", "identify turn lost",
}

func (k causeKind) String() string { return causeNames[k] }

// cause is a causeKind with the close code that came or goes with it.
type cause struct {
	kind causeKind
	code wire.CloseCode
}

// reason says in words why the connection ended.
func (c cause) reason() string {
	if c.code == 0 {
		return c.kind.String()
	}
	return fmt.Sprintf("%s with %d (%s)", c.kind, uint16(c.code), c.code)
}

// history is what a decision depends on beside its cause.
type history struct {
	session bool // there is a session that could be resumed
	// hostFailures counts the connections in a row to the resume host that
	// did not get as far as Hello.
	hostFailures int
	// resumeFailures counts the Resumes in a row that ended without Resumed
	// and without a replayed event.
	resumeFailures int
	// doubtful counts the close codes 1000 and 4005 since the last new event:
	// Discord does not say whether the session outlived them, one Resume asks.
	doubtful int
	// oddSeqs counts the connections that odd sequence numbers ended, since one lived
	// without.
	oddSeqs int
	// giveUp says that the operator wants another session.
	giveUp bool
}

// Bounds of patience with a session that does not come back.
const (
	// maxHostFailures failed connections give up the resume host for the
	// main one ("after 2–3 failed dials"), with the session kept.
	maxHostFailures = 2
	// maxResumeFailures fruitless Resumes give up the session. The later ones
	// go through the main host.
	maxResumeFailures = 5
	// maxOddSeqs connections with odd sequence numbers give up the session.
	maxOddSeqs = 3
)

// nextStep is what the next connection is for.
type nextStep uint8

const (
	nextResume nextStep = iota
	nextIdentify
	nextStop
)

// pause is the kind of wait before the next connection.
type pause uint8

const (
	pauseBackoff pause = iota // by the number of failures in a row; none after a connection that had lived
	pauseInvalid              // 1–5 s at least, as Discord's staff asks after op 9 and for a rate limited sender
	pauseBlocked              // 30–60 s at least: an address block is not waited out by trying
	pauseNone                 // none: somebody wants it
)

// outcome is a decision.
type outcome struct {
	closeWith wire.CloseCode // close code to send; 0: the connection is already gone
	next      nextStep
	mainHost  bool // resume through the main URL
	pause     pause
}

// decide says what follows the end of a connection for the cause c.
func decide(c cause, h history) outcome {
	o := outcome{next: nextResume, pause: pauseBackoff}
	switch c.kind {
	case causeReconnect, causeZombie, causeNoHello, causeSilentResume, causeNoReady, causeUnconfirmed, causeTurnLost:
		o.closeWith = wire.CloseKeepSession
	case causeInvalidKeep:
		o.closeWith = wire.CloseKeepSession
		o.pause = pauseInvalid
	case causeInvalidDrop:
		o.closeWith = wire.CloseKeepSession // 1000 would end a session that is another's by now
		o.next = nextIdentify
		o.pause = pauseInvalid
	case causeBroken:
		o.closeWith = c.code
	case causeOddSeq:
		o.closeWith = wire.CloseInvalidPayload
		if h.oddSeqs >= maxOddSeqs {
			o.next = nextIdentify
		}
	case causeAsked:
		o.closeWith = wire.CloseKeepSession
		o.pause = pauseNone
		if h.giveUp {
			o.next = nextIdentify
		}
	case causeConnectRefused:
		o.pause = pauseBlocked
	case causeClosed:
		o.closeWith = echo(c.code)
		switch c.code.Action() {
		case wire.ActionIdentify:
			o.next = nextIdentify
		case wire.ActionResumeOnce:
			if h.doubtful > 1 {
				o.next = nextIdentify
			}
		case wire.ActionStop:
			o.next = nextStop
		}
		if c.code == wire.CloseRateLimited {
			o.pause = pauseInvalid
		}
	}
	if o.next == nextResume && (!h.session || h.resumeFailures >= maxResumeFailures) {
		o.next = nextIdentify
	}
	if o.next == nextResume {
		o.mainHost = h.hostFailures >= maxHostFailures || h.resumeFailures > maxResumeFailures/2
	}
	return o
}

// echo is the code with which a close frame is answered (RFC 6455, 5.5.1).
// A 1000 or 1001 is not sent back: from a client it ends the session.
func echo(code wire.CloseCode) wire.CloseCode {
	switch code {
	case wire.CloseNormal, wire.CloseGoingAway, wire.CloseNoStatus:
		return wire.CloseKeepSession
	}
	return code
}
