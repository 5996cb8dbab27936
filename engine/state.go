// This file names the states of a shard and the ways between them.

package engine

// State is where a shard stands on its way to Discord.
//
//	Idle ──► Turn ──► Connecting ──► Hello ──► Window ──► Identifying ──► Ready
//	  │                  ▲             │                                   ▲
//	  └──────(session)───┤             └──────(session)──► Resuming ───────┘
//	                     │
//	Backoff ─────────────┘  every state with a connection ends in Backoff,
//	   └────► Turn          and every state can end in Stopped
type State uint8

const (
	Idle        State = iota // not started
	Backoff                  // waits before the next connection
	Turn                     // waits for its identify bucket to let it connect
	Connecting               // dial, TLS and WebSocket handshake are under way
	Hello                    // connected; Hello has not arrived
	Window                   // Hello has arrived; the identify bucket's window has not passed
	Identifying              // Identify is sent; Ready has not arrived
	Resuming                 // Resume is sent; Resumed has not arrived
	Ready                    // events flow and commands may be sent
	Stopped                  // ended for good
	numStates
)

var stateNames = [numStates]string{
	"idle", "backoff", "turn", "connecting", "hello", "window", "identifying", "resuming", "ready", "stopped",
}

// String returns the state's name in lower case.
func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return "unknown"
}

// connected reports whether a shard in this state has a connection.
func (s State) connected() bool { return s >= Hello && s <= Ready }

// transitions lists for each state those that may follow it.
var transitions = [numStates][]State{
	Idle:        {Turn, Connecting, Stopped},
	Backoff:     {Turn, Connecting, Stopped},
	Turn:        {Connecting, Stopped},
	Connecting:  {Hello, Backoff, Stopped},
	Hello:       {Window, Resuming, Backoff, Stopped},
	Window:      {Identifying, Backoff, Stopped},
	Identifying: {Ready, Backoff, Stopped},
	Resuming:    {Ready, Backoff, Stopped},
	Ready:       {Backoff, Stopped},
	Stopped:     {},
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
