package ownership

const (
	maxMembers  = 3
	maxLives    = 2 * maxMembers // incarnations: member + maxMembers*life
	maxShards   = 2
	maxSessions = 4  // of a shard, 1 and up
	gap         = 15 // the seq of GATEWAY_GAP in a position
)

// Phases of a member, as regards a shard.
const (
	idle     = iota
	sealing  // Target is deposed, and is still to be sealed
	acquire  // compare-and-set of the owner: Target with TargetEpoch
	claim    // of the tag, with which the position is read
	load     // of the checkpoint
	confirm  // membership and ownership, before each dial
	connect  // Resume, or Identify
	run      //
	hold     // a new session's first event waits for the store
	drain    // handover: nothing more is read
	transfer // drained, persisted, closed
	given    // waits for "taken" of Target
	stale    // without the rule "discard": events of the former incarnation are still to be sent
)

// member is a process.
type member struct {
	Alive uint8 // 0 dead, 1 alive, 2 out of the model: its incarnations are used up
	Life  uint8 // how many incarnations it had before
}

// work is what a member has of a shard.
type work struct {
	Phase, Epoch        uint8 // Epoch: the one that it believes to own
	Target, TargetEpoch uint8 // incarnation+1, 0: none
	Session, Read       uint8
	Acked, Saved        uint8
	Fresh               uint8 // it must identify
	Gap                 uint8 // the session whose gap is to be published
	Offset              uint8 // entries acknowledged: the offset as the writer expects it
	PosSession, PosSeq  uint8 // the shard's position as the writer expects it
	PosEnded            uint8 // and the sessions whose gap it has
	Restore             uint8 // the writer has the answer "gap" and will set the offset
	Conn, ConnSession   uint8 // Discord's side: 0 closed, 1 open, 2 open and starved
	Sent                uint8
	Number              uint8 // sessions begun in this ownership

	Save     lateSave     // a save that the store will get late, given up by the member
	Transfer lateTransfer // a transfer of that kind
}

type lateSave struct{ Session, Seq, Epoch, Who, Number uint8 } // Who: incarnation+1

type lateTransfer struct{ Epoch, To, Who uint8 }

// shard is what the fleet's Redis has of a shard.
type shard struct {
	Owner, Epoch uint8 // incarnation+1
	Taken, Wish  uint8 // Wish: incarnation+1
	Session, Seq uint8 // the checkpoint
	SavedIn, Nth uint8 // the epoch that saved it, and its how-manieth session it is

}

// sink is what the sink's Redis has of a shard.
type sink struct {
	Session, Seq, Ended uint8 // the position
	TagEpoch, TagOwner  uint8
	Last                [maxSessions + 1]uint8 // the stream: the last seq of each session
}

// redis is everything that a failover may forget.
type redis struct {
	State   [maxLives]uint8 // of an incarnation: 0 no record, 1 up, 2 deposed
	Shards  [maxShards]shard
	Sealed  [maxLives]uint8            // the offset says deposed
	Offset  [maxLives][maxShards]uint8 // one for each shard, for fewer states
	Streams [maxShards]sink
}

// discord is what Discord has of a shard.
type discord struct {
	Sessions             uint8
	Sent, Valid, Refused [maxSessions + 1]uint8 // Refused: or its gap was published
	// Rank is the age of a session, as checkpoint and position have it: the epoch of the owner
	// that began it, and its how-manieth it is. Two owners after a failover may identify in
	// another order.
	Rank [maxSessions + 1]uint8
}

// consumer reads the stream, or, behind a broker that cannot refuse, compares epochs.
type consumer struct {
	Epoch, Owner, Session uint8
	Last                  [maxSessions + 1]uint8
	Replaced              [2]uint8 // bits of the pairs (epoch, owner) that were replaced
}

// Faults are how often each may happen.
type Faults struct {
	Depose, Die       uint8
	Refuse, Both, Cut uint8 // of Discord: op 9, an old connection that goes on, a closed one
	Lost, Late        uint8 // an answer, a command
	Hand, Back        uint8 // a handover, and one that is taken back
	Expire            uint8 // an offset, after an idle day
	Fail              uint8 // a failover of Redis to a replica that has lagged
}

type state struct {
	Members   [maxMembers]member
	Work      [maxMembers][maxShards]work
	Redis     redis
	Discord   [maxShards]discord
	Consumers [maxShards]consumer
	Sealed    [maxLives]uint8  // no failover forgets this: it is for I2 alone
	Clock     [maxShards]uint8 // Redis' TIME, in epochs
	Left      Faults
	Lags      uint8 // the replica has fallen behind
	Replica   redis // what it has
}

func incarnation(m int, life uint8) uint8 { return uint8(m) + maxMembers*life }

// start is a fleet whose members have all joined, and whose shards are free.
func (o *options) start() state {
	var s state
	for m := range o.Members {
		s.Members[m].Alive = 1
		s.Redis.State[m] = 1
	}
	s.Left = o.Faults
	return s
}

// good: each shard has one live owner, which has delivered and saved everything.
func (o *options) good(s *state) bool {
	for h := range o.Shards {
		sh := &s.Redis.Shards[h]
		if sh.Owner == 0 {
			return false
		}
		owner := sh.Owner - 1
		m := owner % maxMembers
		x := &s.Work[m][h]
		if s.Members[m].Alive != 1 || incarnation(int(m), s.Members[m].Life) != owner || s.Redis.State[owner] != 1 {
			return false
		}
		if s.Discord[h].Sessions == maxSessions && x.Phase == connect && x.Epoch == sh.Epoch {
			continue // the model has no session more
		}
		if x.Phase != run || x.Epoch != sh.Epoch || x.Conn != 1 || s.Discord[h].Sent[x.Session] < o.Events ||
			s.Consumers[h].Last[x.Session] < o.Events || x.Saved < o.Events {
			return false
		}
	}
	return true
}
