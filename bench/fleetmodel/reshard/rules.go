package reshard

// Rules are those that packages fleet, engine and sinks/redis go by in a reshard. Each is true when it is kept.
type Rules struct {
	AgreeRevision bool // Agree demands the table's revision
	AgreeShards   bool // and all shards that the member owns, with their epochs
	AgreeAttempt  bool // and the present attempt
	SwitchAll     bool // Switch demands that the owners of all shards have agreed
	SwitchNow     bool // as of the present revision
	Heard         bool // Switch and Commit demand that all who live have said something
	PrepareTable  bool // Prepare demands the revision of Switch
	PrepareEpoch  bool // and an epoch above that of the shard of the same id
	CommitAttempt bool // Commit demands the present attempt, at the switch
	CommitTable   bool // and the revision of Switch
	CommitAll     bool // and that the owners of all shards have prepared, and all new shards are
	CommitLives   bool // and that none of them is deposed
	Forgets       bool // Abort forgets what was said and prepared
	Number        bool // and has the next attempt have another number
	Time          bool // which follows the coordinator's time, so that none is given twice
	CallOff       bool // CallOff demands the present attempt
	Epochs        bool // epochs follow the time
	Whole         bool // new shards are begun where their class is whole
	Same          bool // and end when an old one of it goes, or returns
	Compare       bool // old and new shards agree before a member does
	Withdraw      bool // a member that does not agree any more says so
	Lacks         bool // a member that lacks a shard, or its new ones, does not switch
	Stop          bool // the old shards stop before the new ones are prepared
	Drain         bool // and are drained
	Met           bool // and the new ones have shown what they have
	First         bool // a record says what is to come, not what was read
	Wait          bool // who has prepared goes on when the outcome is known, not by its own opinion
	Leave         bool // who reads that the attempt is another goes back
	Past          bool // an attempt that was gone back from is not begun again
	Given         bool // a session that the coordinator was given is not ended
	Claim         bool // the new shards are claimed before anything of them goes out
	Above         bool // an owner whose claim is refused takes an epoch above the tag's
	Follow        bool // who sees a commit that was made without it drops what it runs
	Held          bool // shards stay as they are at the switch
	Dead          bool // an attempt is aborted when an owner of shards is dead
	Tag           bool // the sink writes under the last claim of a shard's id alone
	Position      bool // and leaves out what its position covers
	Again         bool // who is at the switch of an attempt that, by the table, is not there yet, aborts it
	Timeout       bool // an attempt that has not come about in time is aborted
}

func all() Rules {
	return Rules{true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true,
		true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true}
}

// options are the rules, and the size of the model.
type options struct {
	Rules
	From, To int
	Events   [maxGuilds]uint8 // that come, by guild
	Faults   Faults
	Apart    bool   // each old shard is at a member of its own at first
	Alone    bool   // one member is there at first
	Earlier  bool   // the second member is of a version that knows no reshard
	Except   string // the invariant that is not looked at; empty: all are
	NoReach  bool   // I5 is not looked at
	Most     int    // states
}
