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
	idle    = iota
	acquire // compare-and-set of the owner: Target with TargetEpoch
	take    // it was given
	claim   // at the sink, with which the position is read
	load    // the checkpoint
	confirm // the ownership, before each dial
	connect // Resume, or Identify
	run     //
	hold    // a new session's first event waits for the coordinator
	drain   // handover: nothing more is read
	give    // drained, saved, closed
	given   // waits until Target has taken it
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
	PosSession, PosSeq  uint8 // the position, as the claim has returned it, until load
	PosEnded            uint8 // and the sessions whose gap it has
	Conn, ConnSession   uint8 // Discord's side: 0 closed, 1 open, 2 open and starved
	Sent                uint8
	Number              uint8 // sessions begun since the shard was started
	Ran                 uint8 // the epoch under which the shard was dropped, with the rule Again

	Old  batch    // what the sink was given before the shard was dropped, and may still write
	Save lateSave // a save that the coordinator will get late
	Give lateGive // a give of that kind
}

type batch struct{ Session, From, To, Epoch uint8 }

type lateSave struct{ Session, Seq, Epoch, Who uint8 } // Who: incarnation+1

type lateGive struct{ Epoch, To, Who uint8 }

// shard is what the coordinator has of a shard.
type shard struct {
	Owner, Epoch uint8 // incarnation+1
	Giver        uint8 // incarnation+1
	Session, Seq uint8 // the checkpoint
	By           uint8 // incarnation+1
	Newer        uint8 // it is of a later Save than By's that is still pending
}

// sink is what the sink's Redis has of a shard.
type sink struct {
	Session, Seq, Ended uint8                  // the position
	TagEpoch, TagOwner  uint8                  // TagOwner: a process+1
	Last                [maxSessions + 1]uint8 // the stream: the last seq of each session
}

// redis is everything that a failover may forget.
type redis struct {
	State   [maxLives]uint8 // of an incarnation: 0 no record, 1 up, 2 deposed
	Shards  [maxShards]shard
	Streams [maxShards]sink
}

// discord is what Discord has of a shard.
type discord struct {
	Sessions             uint8
	Sent, Valid, Refused [maxSessions + 1]uint8 // Refused: or its gap is to be published
	// Began is the age of a session, as checkpoint and position have it: the epoch of the owner
	// that began it, and its how-manieth it is.
	Began [maxSessions + 1]uint8
}

// consumer reads the stream, or, behind a broker that cannot refuse, compares epochs.
type consumer struct {
	Epoch, Session uint8
	Last           [maxSessions + 1]uint8
}

// Faults are how often each may happen.
type Faults struct {
	Depose, Die, Leave uint8 // of a live member, a death, an end by itself
	Refuse, Both, Cut  uint8 // of Discord: op 9, an old connection that goes on, a closed one
	Lost, Late         uint8 // an answer, a command
	Hand, Back, Abort  uint8 // a handover, one that is taken back, one whose drain takes too long
	Fail               uint8 // a failover of Redis to a replica that has lagged
}

type state struct {
	Members   [maxMembers]member
	Work      [maxMembers][maxShards]work
	Redis     redis
	Discord   [maxShards]discord
	Consumers [maxShards]consumer
	Claimed   [maxShards]uint8 // the last epoch; no failover forgets this: it is for I2 alone
	Clock     [maxShards]uint8 // the coordinator's time, in epochs
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
		z := &s.Redis.Shards[h]
		if z.Owner == 0 {
			return false
		}
		owner := z.Owner - 1
		m := owner % maxMembers
		x := &s.Work[m][h]
		if s.Members[m].Alive != 1 || incarnation(int(m), s.Members[m].Life) != owner || s.Redis.State[owner] != 1 {
			return false
		}
		if s.Discord[h].Sessions == maxSessions && x.Phase == connect && x.Epoch == z.Epoch {
			continue // the model has no session more
		}
		if x.Phase != run || x.Epoch != z.Epoch || x.Conn != 1 || s.Discord[h].Sent[x.Session] < o.Events ||
			s.Consumers[h].Last[x.Session] < o.Events || x.Saved < o.Events {
			return false
		}
	}
	return true
}
