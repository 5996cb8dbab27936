// This file names the states of a shard and the ways between them.

package engine

// State is where a shard stands on its way to Discord.
//
//	Idle ──► IdentifyQueued ──► Connecting ──► Hello ──► IdentifyWait ──► Identifying ──► Ready
//	  │                             ▲            │                                        ▲
//	  └───────────(session)─────────┤            └────────(session)──────► Resuming ──────┘
//	                                │
//	Backoff ────────────────────────┘  every state with a connection ends in Backoff,
//	   └────► IdentifyQueued           and every state can end in Stopped
//
// A shard that is removed while it is Ready or Resuming is Draining before it is Stopped.
// Where the ownership of a shard is confirmed, Confirming stands before Connecting.
type State uint8

const (
	Idle           State = iota // not started
	Backoff                     // waits before the next connection
	IdentifyQueued              // waits for its identify bucket to let it connect
	Confirming                  // waits for Options.Confirm to say that it may connect
	Connecting                  // dial, TLS and WebSocket handshake are in flight
	Hello                       // connected; Hello has not arrived
	IdentifyWait                // Hello has arrived; the identify bucket's window has not passed
	Identifying                 // Identify is sent; Ready has not arrived
	Resuming                    // Resume is sent; Resumed has not arrived
	Ready                       // events flow and commands may be sent
	Draining                    // removed: still connected, and not read, until the sink has acknowledged its events
	Stopped                     // ended for good
	numStates
)

var stateNames = [numStates]string{
	"idle", "backoff", "identify queued", "confirming", "connecting", "hello", "identify wait", "identifying", "resuming", "ready", "draining", "stopped",
}

// String returns the state's name in lower case.
func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return "unknown"
}

// connected reports whether a shard in this state has a connection.
func (s State) connected() bool { return s >= Hello && s <= Draining }

// transitions lists for each state those that may follow it.
var transitions = [numStates][]State{
	Idle:           {IdentifyQueued, Confirming, Connecting, Stopped},
	Backoff:        {IdentifyQueued, Confirming, Connecting, Stopped},
	IdentifyQueued: {Confirming, Connecting, Stopped},
	Confirming:     {Connecting, Stopped},
	Connecting:     {Hello, Backoff, Stopped},
	Hello:          {IdentifyWait, Resuming, Backoff, Stopped},
	IdentifyWait:   {Identifying, Backoff, Stopped},
	Identifying:    {Ready, Backoff, Stopped},
	Resuming:       {Ready, Backoff, Draining, Stopped},
	Ready:          {Backoff, Draining, Stopped},
	Draining:       {Stopped},
	Stopped:        {},
}

// canFollow reports whether the table allows next after s.
func (s State) canFollow(next State) bool {
	for _, t := range transitions[s] {
		if t == next {
			return true
		}
	}
	return false
}
