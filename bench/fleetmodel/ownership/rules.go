package ownership

// Rules are those that package fleet and sinks/redis go by. Each is true when it is kept.
type Rules struct {
	SaveOwner   bool // a save demands that (incarnation, epoch) owns the shard
	SaveNumber  bool // and replaces no later one of that incarnation
	AcquireRead bool // acquire demands the owner that was read, with its epoch
	Deposed     bool // and that it is nobody, or deposed
	LoadAfter   bool // load comes after acquire
	ClaimFirst  bool // claim comes before load
	Position    bool // the sink leaves out what the position covers
	Older       bool // which is also all of a session older than the position's
	Tag         bool // and what is not of the last claim of the shard
	Claim       bool // a claim never lowers the epoch
	Equal       bool // of two owners with the same epoch one alone may write
	Above       bool // an owner whose claim is refused takes an epoch above the tag's
	EpochTime   bool // epochs follow the coordinator's time, so that none is given twice
	GapFrom     bool // a position later than the checkpoint is a gap: nothing older is resumed
	NoRecord    bool // also if there is no checkpoint
	Began       bool // a session's age is (epoch, how-manieth), not the order of the Identifies
	Count       bool // which goes on when a shard is started again under the same epoch
	Again       bool // a member that starts a shard again takes a higher epoch first
	Hold        bool // no event of a session is published before the session is persisted
	SinkAck     bool // the sink's acknowledgement alone moves the checkpoint, not the spool's
	Confirm     bool // ownership is confirmed before each dial
	Drain       bool // a handover waits for the sink and the store
	GiveOwner   bool // give demands the owner and its epoch
	GiveUp      bool // and that the target is up
	Take        bool // the target takes the shard before it claims it
	Taken       bool // a take-back fails once it is taken
	TakeBack    bool // a take-back is a step of the coordinator, not the giver's own opinion
	Raise       bool // and raises the epoch
	Run         bool // a member runs what the table says is its own, whether it expected that or not
	Table       bool // a member drops what the table says is another's
	Rewrite     bool // a record of a member that is forgotten is written again
}

// all are the rules.
func all() Rules {
	return Rules{true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true,
		true, true, true, true, true, true, true, true, true, true, true, true, true, true, true}
}

// built are the rules that the code goes by.
func built() Rules {
	r := all()
	r.Count = false
	return r
}

// options are the rules, and the size of the model.
type options struct {
	Rules
	Members, Shards int
	Events          uint8 // of a session
	Faults          Faults

	NoGaps    bool   // the setting that leaves GATEWAY_GAP out
	FleetOnly bool   // the failover is that of the fleet's Redis; the sink has another
	SinkOnly  bool   // or that of the sink
	Wait      bool   // the sink waits for the replica (WAIT) before it acknowledges
	WaitSave  bool   // and so does a save of a new session
	WaitClaim bool   // and so does a claim
	Broker    bool   // a broker that cannot refuse, as RabbitMQ
	Consumer  string // of it: "lower" refuses lower epochs, "" compares (session, seq) alone
	Only      string // the one invariant that is looked at; empty: all
	NoReach   bool   // I5 is not looked at
	Most      int    // states
}
