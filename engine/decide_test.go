// This file tests every row of the client's decision table (section 17 of the
// gateway's reference) and every close code.

package engine

import (
	"strings"
	"testing"

	"sluice/wire"
)

// What follows each end of a connection: close code sent, Resume or Identify, and the pause before
// it.
func TestDecide(t *testing.T) {
	const keep = wire.CloseKeepSession
	live := history{session: true}
	closed := func(code wire.CloseCode) cause { return cause{causeClosed, code} }
	tests := []struct {
		name string
		c    cause
		h    history
		want outcome
	}{
		{"op 7", cause{kind: causeReconnect}, live, outcome{keep, nextResume, false, pauseBackoff}},
		{"op 7 before a session", cause{kind: causeReconnect}, history{}, outcome{keep, nextIdentify, false, pauseBackoff}},
		{"ack missing", cause{kind: causeZombie}, live, outcome{keep, nextResume, false, pauseBackoff}},
		{"TCP error", cause{kind: causeNetwork}, live, outcome{0, nextResume, false, pauseBackoff}},
		{"TCP error before a session", cause{kind: causeNetwork}, history{}, outcome{0, nextIdentify, false, pauseBackoff}},
		{"broken stream", cause{causeBroken, wire.CloseInvalidPayload}, live, outcome{wire.CloseInvalidPayload, nextResume, false, pauseBackoff}},

		{"1001", closed(1001), live, outcome{keep, nextResume, false, pauseBackoff}},
		{"no code (1005)", closed(1005), live, outcome{keep, nextResume, false, pauseBackoff}},
		{"1011", closed(1011), live, outcome{1011, nextResume, false, pauseBackoff}},
		{"4000", closed(4000), live, outcome{4000, nextResume, false, pauseBackoff}},
		{"4001", closed(4001), live, outcome{4001, nextResume, false, pauseBackoff}},
		{"4002", closed(4002), live, outcome{4002, nextResume, false, pauseBackoff}},
		{"4008", closed(4008), live, outcome{4008, nextResume, false, pauseInvalid}},
		{"unknown 4099", closed(4099), live, outcome{4099, nextResume, false, pauseBackoff}},

		{"1000 once", closed(1000), history{session: true, doubtful: 1}, outcome{keep, nextResume, false, pauseBackoff}},
		{"1000 again", closed(1000), history{session: true, doubtful: 2}, outcome{keep, nextIdentify, false, pauseBackoff}},
		{"1000 after another failure", closed(1000), history{session: true, resumeFailures: 1, doubtful: 1}, outcome{keep, nextResume, false, pauseBackoff}},
		{"4005 once", closed(4005), history{session: true, doubtful: 1}, outcome{4005, nextResume, false, pauseBackoff}},
		{"4005 again", closed(4005), history{session: true, doubtful: 2}, outcome{4005, nextIdentify, false, pauseBackoff}},

		{"op 9 true", cause{kind: causeInvalidKeep}, live, outcome{keep, nextResume, false, pauseInvalid}},
		{"op 9 true four times", cause{kind: causeInvalidKeep}, history{session: true, resumeFailures: 4}, outcome{keep, nextResume, true, pauseInvalid}},
		{"op 9 true for ever", cause{kind: causeInvalidKeep}, history{session: true, resumeFailures: 5}, outcome{keep, nextIdentify, false, pauseInvalid}},
		{"op 9 false", cause{kind: causeInvalidDrop}, live, outcome{keep, nextIdentify, false, pauseInvalid}},
		{"bucket refused", cause{kind: causeInvalidDrop}, history{}, outcome{keep, nextIdentify, false, pauseInvalid}},

		{"4003", closed(4003), live, outcome{4003, nextIdentify, false, pauseBackoff}},
		{"4006", closed(4006), live, outcome{4006, nextIdentify, false, pauseBackoff}},
		{"4007", closed(4007), live, outcome{4007, nextIdentify, false, pauseBackoff}},
		{"4009", closed(4009), live, outcome{4009, nextIdentify, false, pauseBackoff}},

		{"4004", closed(4004), live, outcome{4004, nextStop, false, pauseBackoff}},
		{"4010", closed(4010), live, outcome{4010, nextStop, false, pauseBackoff}},
		{"4011", closed(4011), live, outcome{4011, nextStop, false, pauseBackoff}},
		{"4012", closed(4012), live, outcome{4012, nextStop, false, pauseBackoff}},
		{"4013", closed(4013), live, outcome{4013, nextStop, false, pauseBackoff}},
		{"4014", closed(4014), live, outcome{4014, nextStop, false, pauseBackoff}},
		{"4014 without a session", closed(4014), history{}, outcome{4014, nextStop, false, pauseBackoff}},

		{"resume host failed once", cause{kind: causeConnectFailed}, history{session: true, hostFailures: 1}, outcome{0, nextResume, false, pauseBackoff}},
		{"resume host failed twice", cause{kind: causeConnectFailed}, history{session: true, hostFailures: 2}, outcome{0, nextResume, true, pauseBackoff}},
		{"resume host silent twice", cause{kind: causeNoHello}, history{session: true, hostFailures: 2}, outcome{keep, nextResume, true, pauseBackoff}},
		{"main host failed too", cause{kind: causeConnectFailed}, history{session: true, hostFailures: 2, resumeFailures: 2}, outcome{0, nextResume, true, pauseBackoff}},
		{"dial failed before a session", cause{kind: causeConnectFailed}, history{}, outcome{0, nextIdentify, false, pauseBackoff}},
		{"address block", cause{kind: causeConnectRefused}, live, outcome{0, nextResume, false, pauseBlocked}},
		{"dial failed after a failed resume", cause{kind: causeConnectFailed}, history{session: true, hostFailures: 1, resumeFailures: 2}, outcome{0, nextResume, false, pauseBackoff}},
		{"resume cut once", cause{kind: causeNetwork}, history{session: true, resumeFailures: 1}, outcome{0, nextResume, false, pauseBackoff}},
		{"resume cut twice", cause{kind: causeNetwork}, history{session: true, resumeFailures: 2}, outcome{0, nextResume, false, pauseBackoff}},
		{"resume cut thrice", cause{kind: causeNetwork}, history{session: true, resumeFailures: 3}, outcome{0, nextResume, true, pauseBackoff}},
		{"resume cut four times", cause{kind: causeNetwork}, history{session: true, resumeFailures: 4}, outcome{0, nextResume, true, pauseBackoff}},
		{"resume cut five times", cause{kind: causeNetwork}, history{session: true, resumeFailures: 5}, outcome{0, nextIdentify, false, pauseBackoff}},
		{"no READY", cause{kind: causeNoReady}, history{}, outcome{keep, nextIdentify, false, pauseBackoff}},
		{"odd numbers once", cause{kind: causeOddSeq}, history{session: true, oddSeqs: 1}, outcome{wire.CloseInvalidPayload, nextResume, false, pauseBackoff}},
		{"odd numbers twice", cause{kind: causeOddSeq}, history{session: true, oddSeqs: 2}, outcome{wire.CloseInvalidPayload, nextResume, false, pauseBackoff}},
		{"odd numbers thrice", cause{kind: causeOddSeq}, history{session: true, oddSeqs: 3}, outcome{wire.CloseInvalidPayload, nextIdentify, false, pauseBackoff}},
		{"asked for", cause{kind: causeAsked}, history{session: true, resumeFailures: 2}, outcome{keep, nextResume, false, pauseNone}},
		{"asked for before a session", cause{kind: causeAsked}, history{}, outcome{keep, nextIdentify, false, pauseNone}},
		{"another session asked for", cause{kind: causeAsked}, history{session: true, giveUp: true}, outcome{keep, nextIdentify, false, pauseNone}},
		{"resume unanswered", cause{kind: causeSilentResume}, history{session: true, resumeFailures: 1}, outcome{keep, nextResume, false, pauseBackoff}},
	}
	seen := map[wire.CloseCode]bool{}
	for _, tt := range tests {
		if got := decide(tt.c, tt.h); got != tt.want {
			t.Errorf("%s: decide(%v %d, %+v) = %+v, want %+v", tt.name, tt.c.kind, tt.c.code, tt.h, got, tt.want)
		}
		seen[tt.c.code] = true
	}
	for _, code := range wire.CloseCodes() {
		if code >= 4000 && code < 4015 && !seen[code] {
			t.Errorf("close code %d has no row in this test", code)
		}
	}
}

// No decision may send a code that ends a session which shall be resumed.
func TestDecideKeepsSession(t *testing.T) {
	for kind := range causeNames {
		for code := wire.CloseCode(1000); code < 5000; code++ {
			for _, h := range []history{{session: true}, {session: true, resumeFailures: 3}, {session: true, hostFailures: 2}} {
				o := decide(cause{causeKind(kind), code}, h)
				if causeKind(kind) == causeBroken {
					continue // its code is 1002, 1007 or 1009
				}
				if o.next == nextResume && (o.closeWith == wire.CloseNormal || o.closeWith == wire.CloseGoingAway) {
					t.Fatalf("decide(%v %d) closes with %d and resumes", causeKind(kind), code, o.closeWith)
				}
			}
		}
	}
}

// An engine with a part of the shards does not say that they are switched: it merely agrees.
func TestReshardAnyway(t *testing.T) {
	for want, o := range map[string]ReshardOptions{"; they are switched all the same": {}, "; this member agrees to the switch all the same": {Part: new(Part)}} {
		if got := o.anyway(); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
