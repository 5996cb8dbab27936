// Package status is what can be seen of a running gateway: the document that /status answers
// with, and how it is collected.
package status

import "time"

// Version is that of the shape of Status. A field may be added without a new one.
const Version = 1

// Status is the document. Times are RFC 3339 in UTC, or absent; ages and durations are seconds.
// Nothing in it is a credential.
type Status struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	Process  Process   `json:"process"`
	Fleet    *Fleet    `json:"fleet"` // null: this process is alone
	Health   Health    `json:"health"`
	Events   Events    `json:"events"`
	Shards   Shards    `json:"shards"`
	Broker   Broker    `json:"broker"`
	Queue    Queue     `json:"queue"`
	Spool    *Spool    `json:"spool"` // null: there is none
	Store    Store     `json:"store"`
	Identify Identify  `json:"identify"`
	Commands Commands  `json:"commands"`
	Reshard  *Reshard  `json:"reshard"`  // null: none has begun
	Settings []Setting `json:"settings"` // in force, secrets masked
}

// Process is the process itself.
type Process struct {
	Version    string    `json:"version"`
	Go         string    `json:"go"`
	OS         string    `json:"os"`
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Uptime     float64   `json:"uptime"`
	Memory     uint64    `json:"memory"` // bytes from the system, resident where that is known
	CPU        float64   `json:"cpu"`    // seconds
	Goroutines int       `json:"goroutines"`
	LogLevel   string    `json:"log_level"`
}

// Fleet is the fleet as this member has seen it last.
type Fleet struct {
	Joined      bool          `json:"joined"`
	Why         string        `json:"why,omitempty"` // it has not joined yet; then nothing follows but Member
	Member      string        `json:"member"`        // the name of this one
	Incarnation string        `json:"incarnation"`
	Draining    bool          `json:"draining"`
	Confirmed   bool          `json:"confirmed"`
	Beat        float64       `json:"beat"`                // age of its last confirmed beat
	Unreached   float64       `json:"unreached,omitempty"` // for how long Redis has not answered
	Error       string        `json:"error,omitempty"`     // why not
	Stable      float64       `json:"stable"`              // since the set of members that are up has changed
	Revision    int64         `json:"revision"`            // of the table
	Plan        FleetPlan     `json:"plan"`
	Members     []FleetMember `json:"members"`
	Unowned     int           `json:"unowned"`  // shards without an owner that lives
	Starting    int           `json:"starting"` // shards of this member that do not run yet
	Moves       []FleetMove   `json:"moves"`    // pending
	Deaths      []FleetDeath  `json:"deaths"`   // the last that this process has seen, the latest first
	Counts      FleetCounts   `json:"counts"`
	Identify    FleetIdentify `json:"identify"`
}

// FleetPlan is what all members have in common.
type FleetPlan struct {
	Generation int    `json:"generation"`
	Shards     int    `json:"shards"`
	Intents    uint64 `json:"intents"`
	Format     string `json:"format"`
}

// FleetMember is one of them.
type FleetMember struct {
	Name        string  `json:"name"`
	Incarnation string  `json:"incarnation"`
	State       string  `json:"state"` // up, draining or deposed
	Zone        string  `json:"zone"`
	Weight      int     `json:"weight"`
	Shards      int     `json:"shards"` // that it owns
	Share       float64 `json:"share"`  // that it should
	Beat        float64 `json:"beat"`   // since its beat has changed
	Version     string  `json:"version"`
	Address     string  `json:"address"` // its http.address
}

// FleetMove is a handover that is pending.
type FleetMove struct {
	Shard int     `json:"shard"`
	From  string  `json:"from"` // incarnation
	To    string  `json:"to"`
	Since float64 `json:"since"`
}

// FleetDeath is a member that was deposed.
type FleetDeath struct {
	Name        string    `json:"name"`
	Incarnation string    `json:"incarnation"`
	At          time.Time `json:"at"`
	Shards      int       `json:"shards"`       // that it had
	By          string    `json:"by,omitempty"` // name of this member, if it has deposed it
}

// FleetCounts are counts of this process.
type FleetCounts struct {
	Deaths    int64 `json:"deaths"`    // that it has seen
	Takeovers int64 `json:"takeovers"` // shards that it has taken over from the dead
	Given     int64 `json:"given"`     // handovers to others
	Taken     int64 `json:"taken"`     // and from them
}

// FleetIdentify is this member's identify queue, and the budget of the whole bot.
type FleetIdentify struct {
	Waiting        int        `json:"waiting"` // shards that wait here
	Turns          int        `json:"turns"`   // that have a turn
	Known          bool       `json:"known"`
	Total          int        `json:"total"`
	Remaining      int        `json:"remaining"`
	Reserve        int        `json:"reserve"`
	Reset          *time.Time `json:"reset"`
	MaxConcurrency int        `json:"max_concurrency"`
}

// Health is what /livez and /readyz answer.
type Health struct {
	Live   bool    `json:"live"`
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Check is one of the conditions of Live or Ready.
type Check struct {
	Name string `json:"name"`
	Of   string `json:"of"` // livez or readyz
	OK   bool   `json:"ok"`
	Text string `json:"text"` // what is so; if not OK: why, in a sentence for an operator
}

// Events are all shards' together.
type Events struct {
	Received int64   `json:"received"` // published or to be published
	Rate     float64 `json:"rate"`     // a second, over the last ten
	Filtered int64   `json:"filtered"`
	Repeated int64   `json:"repeated"` // redelivered by Discord, and dropped
	Lost     int64   `json:"lost"`     // known lost: neither delivered nor dead-lettered
	Gaps     int64   `json:"gaps"`     // sessions that ended with events which Discord does not send again
	Lag      Lag     `json:"lag"`
	ByName   []Named `json:"by_name"` // most frequent first
}

// Lag is the time from the read of the socket to the broker's acknowledgement, over the last minute, in seconds.
type Lag struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Named is a count with a name.
type Named struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Shards are those that this process runs.
type Shards struct {
	Count  int            `json:"count"`  // of the bot; 0: not known yet
	Run    int            `json:"run"`    // by this process
	Ready  int            `json:"ready"`  // of them
	States map[string]int `json:"states"` // how many are in each
	Ended  []Ended        `json:"ended"`  // connections, by cause and close code, most frequent first
	Listed int            `json:"listed"` // that the request asks for, offset and limit aside
	List   []Shard        `json:"list"`   // ascending by id, or as the request asks
}

// Ended counts connections that ended, or could not be made.
type Ended struct {
	Cause string `json:"cause"`
	Code  int    `json:"code,omitempty"`
	Other bool   `json:"other,omitempty"` // the code is none that is documented; those are counted together, without Code
	Count int64  `json:"count"`
}

// Shard is one of them. At 10,000 shards the document is to be below 2 MB: what is zero is left out.
type Shard struct {
	ID         int     `json:"id"`
	State      string  `json:"state"`
	Epoch      int64   `json:"epoch,omitempty"`   // in a fleet
	Since      float64 `json:"since"`             // seconds in that state
	Why        string  `json:"why,omitempty"`     // it is not ready
	Session    string  `json:"session,omitempty"` // masked
	Seq        int64   `json:"seq,omitempty"`
	Events     int64   `json:"events,omitempty"`
	Rate       float64 `json:"rate,omitempty"`       // events a second, over the last ten
	LastEvent  float64 `json:"last_event,omitempty"` // age
	LastACK    float64 `json:"last_ack,omitempty"`   // age
	RoundTrip  float64 `json:"round_trip,omitempty"`
	Reconnects int64   `json:"reconnects,omitempty"`
	Paused     bool    `json:"paused,omitempty"`
	Pending    int     `json:"pending,omitempty"` // commands
	Cause      string  `json:"cause,omitempty"`   // of the end of its last connection
	Code       int     `json:"code,omitempty"`
	Ended      float64 `json:"ended,omitempty"` // age of that; left out while it is ready, as it has been ever since
}

// Broker is where the events go.
type Broker struct {
	Type         string  `json:"type"`
	Address      string  `json:"address,omitempty"` // without credentials
	Available    bool    `json:"available"`
	Blocked      bool    `json:"blocked,omitempty"`
	Since        float64 `json:"since"`       // seconds in that condition
	Unavailable  float64 `json:"unavailable"` // in all
	Error        string  `json:"error,omitempty"`
	Published    int64   `json:"published"`
	Repeated     int64   `json:"repeated"`
	Retried      int64   `json:"retried"`
	DeadLettered int64   `json:"dead_lettered"`
}

// Queue is what waits between the shards and the broker's acknowledgement.
type Queue struct {
	Events   int     `json:"events"`
	Bytes    int64   `json:"bytes"`
	MaxBytes int64   `json:"max_bytes"`
	Oldest   float64 `json:"oldest"`
	Paused   int     `json:"paused"` // shards that wait for room
}

// Spool is the disk before a broker.
type Spool struct {
	Active   bool    `json:"active"` // new events go to the disk
	Bytes    int64   `json:"bytes"`
	MaxBytes int64   `json:"max_bytes"`
	Oldest   float64 `json:"oldest"`            // age of the oldest event on it
	Damaged  int64   `json:"damaged,omitempty"` // segments of which a part cannot be read: the events in it are lost
	Error    string  `json:"error,omitempty"`   // why the disk takes nothing; empty: it does
}

// Store keeps the sessions.
type Store struct {
	Type       string  `json:"type"`
	Available  bool    `json:"available"`
	Checkpoint float64 `json:"checkpoint"` // age of the last one
	Error      string  `json:"error,omitempty"`
}

// Identify is the identify queue and the bot's budget of session starts.
type Identify struct {
	MaxConcurrency int        `json:"max_concurrency"`
	Waiting        int        `json:"waiting"`
	Known          bool       `json:"known"`
	Total          int        `json:"total"`
	Left           int        `json:"left"`
	Reserve        int        `json:"reserve"`
	Reset          *time.Time `json:"reset"`
	Exhausted      bool       `json:"exhausted"`
}

// Commands are those of bots.
type Commands struct {
	Sent     int64   `json:"sent"`
	Pending  int64   `json:"pending"`
	Replaced int64   `json:"replaced"`
	Refused  []Named `json:"refused"` // by reason
}

// Setting is one in force.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin,omitempty"` // where it comes from; absent: it is the default
}
