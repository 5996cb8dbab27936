// This file says what can go wrong and when: the kinds of faults, the moments,
// rules of a script.

package sim

import (
	"fmt"
	"slices"
	"time"

	"sluice/wire"
)

// Kind is a kind of fault.
type Kind uint8

const (
	CutFIN           Kind = iota // end TCP, without a close frame
	CutRST                       // reset TCP
	HalfOpen                     // from now on nothing is written and nothing read is looked at; the socket stays
	SwallowACKs                  // heartbeats are no longer acknowledged
	Reconnect                    // op 7, and close 1001 after Options.ReconnectGrace
	InvalidSession               // op 9 false; the session ends
	InvalidResumable             // op 9 true; the session can be resumed
	CloseFrame                   // close with Action.Code and Action.Reason
	SlowReady                    // READY, or what follows a Resume, comes later by Action.Delay; the session can expire meanwhile
	RefuseUpgrade                // the upgrade is answered by Action.Status (503)
	RefuseDial                   // the connection is reset as soon as it is accepted
	SilentDial                   // the connection is accepted and nothing follows, not even TLS
	RateLimitJSON                // REST: 429 as Discord answers it
	RateLimitHTML                // REST: 429 as Cloudflare answers it
	ServerError                  // REST: Action.Status (502) with an HTML page
	Garbage                      // bytes that no decompressor and no JSON parser takes
	BadFrame                     // a frame that RFC 6455 forbids
	Truncate                     // half a frame, then the end of TCP
	SplitFrames                  // from now on messages come in fragments with control frames between
	SplitWrites                  // from now on writes are cut at random places
	PingFrame                    // a WebSocket PING
	AskHeartbeat                 // op 1

	// What becomes of the connection that a session or a shard already has; only
	// at OnResumeLive and OnIdentifyAgain. Sessions end as the code says.
	OldClosed  // it is closed with Action.Code (4000) and Action.Reason
	OldStarved // it stays open and its heartbeats are acknowledged, but events go only to the new one
	OldInvalid // it gets op 9 false; at OnIdentifyAgain its session ends
	OldKept    // both get every event, for Action.Delay if it is not 0; then the old one is closed like OldClosed
	numKinds
)

var kindNames = [numKinds]string{
	"cut-fin", "cut-rst", "half-open", "swallow-acks", "reconnect", "invalid-session", "invalid-resumable", "close",
	"slow-ready", "refuse-upgrade", "refuse-dial", "silent-dial", "429-json", "429-html", "5xx", "garbage", "bad-frame",
	"truncate", "split-frames", "split-writes", "ping", "ask-heartbeat", "old-closed", "old-starved", "old-invalid", "old-kept",
}

// String returns the name that scripts use.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// KindSet is a set of kinds.
type KindSet uint32

// Kinds returns the set of some kinds.
func Kinds(kinds ...Kind) (set KindSet) {
	for _, k := range kinds {
		set |= 1 << k
	}
	return set
}

// Has reports whether k is in the set.
func (set KindSet) Has(k Kind) bool { return set&(1<<k) != 0 }

// aboutOld are the kinds that say what becomes of the old connection.
const aboutOld = KindSet(1<<OldClosed | 1<<OldStarved | 1<<OldInvalid | 1<<OldKept)

// AllKinds are all faults that a client survives.
const AllKinds KindSet = 1<<numKinds - 1

// Moment is when a rule applies.
type Moment uint8

const (
	OnREST          Moment = iota // a REST call
	OnDial                        // a connection is accepted
	OnUpgrade                     // a WebSocket upgrade is asked for
	BeforeHello                   // before HELLO is sent
	AfterHello                    // after HELLO
	OnIdentify                    // a good Identify has come
	OnIdentifyAgain               // a good Identify has come for a shard that has a connection; after OnIdentify
	OnResume                      // a Resume of a known session has come
	OnResumeLive                  // a Resume of a session whose connection is open has come; after OnResume
	OnHeartbeat                   // a heartbeat has come; Rule.N is which one on the connection, 0 any
	AfterReady                    // after READY
	AfterResumed                  // after RESUMED
	AfterEvents                   // after Rule.N dispatches on the connection, replayed ones and READY included
	DuringReplay                  // after Rule.N replayed events
	numMoments
)

var momentNames = [numMoments]string{
	"rest", "dial", "upgrade", "before-hello", "after-hello", "identify", "identify-again", "resume", "resume-live", "heartbeat", "ready", "resumed", "events", "replay",
}

// String returns the name that scripts use.
func (m Moment) String() string {
	if m < numMoments {
		return momentNames[m]
	}
	return fmt.Sprintf("moment %d", uint8(m))
}

// Action is what a fault does.
type Action struct {
	Kind   Kind
	Code   wire.CloseCode // of CloseFrame, OldClosed and OldKept; 1005 for a close frame without a code
	Reason string
	Status int           // of RefuseUpgrade and ServerError
	Delay  time.Duration // of SlowReady and OldKept; Retry-After of the 429s
}

// Rule is one line of a script: at that moment, on those connections, do that.
type Rule struct {
	When Moment
	// Shards are those it is meant for; empty means any. The shard of a
	// connection is known from Identify or Resume on.
	Shards []int
	// Conn is which connection of its shard, from 1, or of the host while no
	// shard is known; 0 means any.
	Conn int
	// Host is the role of the listener, "gateway" or "resume"; empty means any.
	Host string
	// N is explained at AfterEvents, DuringReplay and OnHeartbeat.
	N int
	// After is a wait between the moment and the action.
	After time.Duration
	// Times is how often it applies: 0 once, negative without end.
	Times int
	Do    Action
}

// Faults is what goes wrong by itself. The zero value is nothing.
type Faults struct {
	// Script is gone through at every moment; all rules that match apply.
	Script []Rule

	// Seed makes a schedule of random faults: the same for the same seed, shard
	// and number of the connection.
	Seed uint64
	// EveryEvents is the mean number of events on a connection before a fault;
	// EveryPeriod the mean time. 0 for none.
	EveryEvents int
	EveryPeriod time.Duration
	// Early is the part of connections, 0 to 1, that go wrong before READY or RESUMED.
	Early float64
	// Kinds may be chosen. Default AllKinds but InvalidSession.
	Kinds KindSet
	// Until is the time since the start after which no random fault begins. 0: none.
	Until time.Duration
}

// fits reports whether the rule is meant for connection c at m.
func (r *Rule) fits(m Moment, host string, shard, number, n int) bool {
	return r.When == m &&
		(len(r.Shards) == 0 || slices.Contains(r.Shards, shard)) &&
		(r.Conn == 0 || r.Conn == number) &&
		(r.Host == "" || r.Host == host) &&
		(m != OnHeartbeat || r.N == 0 || r.N == n)
}

// rules returns the rules that apply now and counts them as used.
func (srv *Server) rules(m Moment, host string, shard, number, n int) (out []Rule) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for i := range srv.script {
		r := &srv.script[i]
		if !r.fits(m, host, shard, number, n) || r.used {
			continue
		}
		if r.Times == 0 || r.Times == 1 {
			r.used = true
		} else if r.Times > 0 {
			r.Times--
		}
		out = append(out, r.Rule)
	}
	return out
}

// scripted is a rule with what is left of it, guarded by Server.mu.
type scripted struct {
	Rule
	used bool
}

// AddRules adds to the script while the server runs.
func (srv *Server) AddRules(rules ...Rule) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for _, r := range rules {
		srv.script = append(srv.script, scripted{Rule: r})
	}
}

// Calm ends the script and the random faults. What has begun goes on.
func (srv *Server) Calm() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.script, srv.calm = nil, true
}

// noteFault writes a fault into the ledger.
func (srv *Server) noteFault(conn int64, shard int, k Kind) {
	l := srv.ledger
	l.with(func() { l.faults.add(Fault{Time: time.Now(), Conn: conn, Shard: shard, Kind: k}) })
	srv.opt.Log.Info("fault", "conn", conn, "shard", shard, "kind", k.String())
}
