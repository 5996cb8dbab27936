package ownership

// Rules are those of docs/fleet.md. Each is true when it is kept.
type Rules struct {
	Seal        bool // what is deposed is sealed
	SealBefore  bool // before checkpoint and position are read, not after
	SealAny     bool // by whoever acquires from it, not by the deposer alone
	SinkRefuses bool // the sink refuses what is sealed
	SaveState   bool // a save demands that the member is up
	SaveOwner   bool // and that (incarnation, epoch) owns the shard
	SaveNumber  bool // and that its session is not older than the owner's last
	AcquireRead bool // the compare-and-set of acquire is with the epoch that was read before
	LoadAfter   bool // load comes after acquire
	Position    bool // the sink compares the position of the shard
	Tag         bool // and the (epoch, incarnation) that the owner has claimed in it
	Claim       bool // a claim of the tag never lowers its epoch
	Above       bool // an owner whose claim is refused takes an epoch above the tag's
	Equal       bool // for equality, not for "greater"
	EpochTime   bool // epochs follow Redis' TIME, so that none is used twice
	GapFrom     bool // a position later than the checkpoint is a gap: nothing older is resumed
	Age         bool // a session's age is (epoch, how-manieth), not the order of the Identifies
	Hold        bool // no event of a session is published before the session is persisted
	SinkAck     bool // the sink's acknowledgement alone moves the checkpoint, not the spool's
	Discard     bool // a process that joins again discards what it had read
	Restore     bool // whoever sets an offset again leaves "deposed" alone
	Confirm     bool // membership is confirmed before each dial
	ConfirmOwn  bool // and ownership
	Drain       bool // a handover waits for the sink and the store
	Check       bool // a transfer demands that giver and target are what they were
	Taken       bool // the target says "taken" before it dials
	TakeBack    bool // a take-back is a script, which fails once taken
	Raise       bool // and raises the epoch
	Run         bool // a member runs what the table says is its own, whether it expected that or not
	Table       bool // a member drops what the table says is another's
	Rewrite     bool // a record of a member that Redis has forgotten is written again
}

func all() Rules {
	return Rules{true, true, true, true, true, true, true, true, true, true, true, true, true, true,
		true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true}
}

// options are the rules, and the size of the model.
type options struct {
	Rules
	Members, Shards int
	Events          uint8 // of a session
	Faults          Faults

	NoGaps    bool   // the setting that leaves GATEWAY_GAP out
	FleetOnly bool   // the failover is that of the Redis of fleet and store; the sink has another
	SinkOnly  bool   // or that of the sink
	Again     bool   // an owner that misses its ownership after a failover deposes again
	Wait      bool   // the sink waits for the replica (WAIT) before it acknowledges
	WaitSave  bool   // and so does the store, before a new session's first event
	WaitClaim bool   // and so does a claim, before what the position says is relied on
	Broker    bool   // a broker that cannot refuse, as RabbitMQ
	Consumer  string // of it: "lower" refuses lower epochs, "replaced" those replaced before, "" compares (session, seq) alone
	Only      string // the one invariant that is looked at; empty: all
	NoReach   bool   // I5 is not looked at
	Most      int    // states
}
