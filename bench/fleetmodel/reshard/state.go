package reshard

const (
	maxMembers  = 2
	maxLives    = 3 * maxMembers // incarnations: member + maxMembers*life
	maxShards   = 2              // of either count
	maxGuilds   = 2
	maxSessions = 6 // 1 is each old shard's; the next ones are those of classes that were begun, or of shards after a gap
	maxFailures = 2 // of attempts, then the reshard is called off
)

// Phases of a shard that a member runs.
const (
	idle     = iota
	acquired // it is the member's; the claim at the sink is to come
	opens    // likewise, but it runs: it was begun beside the old ones, and is in force now
	runs
)

// States of a member's part, as fleet.partState.
const (
	none      = iota
	compares  //
	asks      // old and new agree
	switches  // the old shards have stopped reading
	commits   // they are drained, and what resumes the new ones is known
	committed // the new ones are in force, and are claimed
)

// Stages of the reshard.
const (
	noReshard = iota
	pending
	switching
)

// local is a shard that a member runs.
type local struct{ Phase, Epoch, Session uint8 }

// begun is a class whose new shards a member has begun.
type begun struct {
	Session, Epoch uint8
	Old            [maxShards]uint8 // the epochs of its old shards
	Given          uint8            // to the coordinator: its session is not ended any more
}

// member is a process.
type member struct {
	Alive      uint8 // 0 dead, 1 alive, 2 out of the model: its incarnations are used up
	Life       uint8 // how many incarnations it had before
	Generation uint8 // of the count that its engine runs
	Part       uint8
	Attempt    uint8 // of switches and commits
	Past       uint8 // the highest attempt that it has gone back from
	Broken     uint8 // the attempt of switches is not the fleet's any more
	Gone       uint8 // a shard has gone since it stopped them
	Fails      uint8 // the attempt is to be aborted
	Prepared   uint8
	Run        [maxShards]local
	Ran        [maxShards]uint8 // the highest epoch that it knows of a shard
	Read, Out  [maxGuilds]uint8 // of Run: events that were read, and that the sink has acknowledged
	Next       [maxShards]begun // by class
	Ahead      [maxGuilds]uint8 // events that Next has read
}

type row struct{ Owner, Epoch, Giver uint8 } // incarnation+1

// record resumes a shard: what is up to Done is done.
type record struct {
	Session uint8
	Done    [maxGuilds]uint8
}

type voice struct{ Said, Revision, Prepared uint8 }

type prepared struct {
	By, Epoch uint8 // incarnation+1
	Record    record
}

// redis is everything that a failover may forget.
type redis struct {
	State      [maxLives]uint8 // of an incarnation: 0 no record, 1 up, 2 deposed
	Generation uint8           // of the plan: 1 when the new count is in force
	Rows       [maxShards]row
	Records    [maxShards]record
	Revision   uint8

	Stage, Attempt, Failures uint8
	Switch                   uint8 // the revision at Switch
	Voices                   [maxLives]voice
	Next                     [maxShards]prepared
}

// sink is what the sink has of a shard's id.
type sink struct {
	TagOwner, TagEpoch uint8 // TagOwner: a process+1
	Session            uint8 // the position
	Done               [maxGuilds]uint8
}

// holder is who has claimed a guild's shard last.
type holder struct{ Who, Generation, Epoch uint8 } // Who: a process+1

// session is one that was begun for a new shard, or after a gap.
type session struct {
	Began, Ended uint8
	From         [maxGuilds]uint8 // it has the events after these
}

// late is a call that the coordinator gets after its sender has given it up.
type late struct {
	Kind, Who, Attempt, Revision uint8 // Who: incarnation+1
	Epochs                       [maxShards]uint8
	Next                         [maxShards]prepared
}

// Faults are how often each may happen, and what is no fault, but has to be bounded.
type Faults struct {
	Propose, CallOff uint8
	Depose, Die      uint8 // of a live member, a death
	Join             uint8 // of a member that is dead, or was not there
	Hand             uint8 // a handover
	Abort            uint8 // an attempt that takes too long, or that an engine cannot make
	Lost, Late       uint8 // an answer, a call
	Fail             uint8 // a failover of Redis to a replica that has lagged
}

type state struct {
	Members  [maxMembers]member
	Redis    redis
	Sinks    [maxShards]sink // by id, of either count
	Sent     [maxGuilds]uint8
	Last     [maxGuilds]uint8 // that consumers have
	Sessions [maxSessions]session
	Late     late
	Left     Faults

	Clock, Attempts uint8 // the coordinator's time, in epochs and in attempts: no failover forgets it
	Lags            uint8 // the replica has fallen behind
	Replica         redis // what it has

	// These are for the invariants alone.
	Holders [maxGuilds]holder
	Highest [maxShards]uint8 // epoch of what went out, by id
}

func incarnation(m int, life uint8) uint8 { return uint8(m) + maxMembers*life }

func (s *state) me(m int) uint8 { return incarnation(m, s.Members[m].Life) }

// start is a fleet that runs the old count. The shards are at the first member, or, Apart, at one each.
func (o *options) start() state {
	s := state{Left: o.Faults}
	for m := range maxMembers {
		if m == 0 || !o.Alone {
			s.Members[m].Alive = 1
			s.Redis.State[m] = 1
		}
	}
	for id := range o.From {
		m := 0
		if o.Apart {
			m = id
		}
		s.Clock = 1
		s.Redis.Revision++
		s.Redis.Rows[id] = row{Owner: uint8(m) + 1, Epoch: 1}
		s.Redis.Records[id].Session = 1
		s.Sinks[id] = sink{TagOwner: uint8(m) + 1, TagEpoch: 1, Session: 1}
		s.Members[m].Run[id] = local{runs, 1, 1}
		s.Members[m].Ran[id] = 1
		for g := range o.guilds() {
			if g%o.From == id {
				s.Holders[g] = holder{uint8(m) + 1, 0, 1}
			}
		}
	}
	return s
}

// count is how many shards a generation has, and classes how many classes both have.
func (o *options) count(generation uint8) int {
	if generation == 0 {
		return o.From
	}
	return o.To
}

func (o *options) classes() int { return min(o.From, o.To) } // 1 and 2 are all that there are
func (o *options) guilds() int  { return max(o.From, o.To) }

// good: nothing is pending, and each shard of the count in force has one live owner, which has delivered everything; nobody runs another.
func (o *options) good(s *state) bool {
	r := &s.Redis
	if r.Stage != noReshard {
		return false
	}
	for m := range s.Members {
		x := &s.Members[m]
		if x.Alive != 1 {
			continue
		}
		for c := range x.Next {
			if x.Next[c].Session != 0 {
				return false
			}
		}
		if x.Part != none || x.Generation != r.Generation && m != o.earlier() {
			return false
		}
		for id := range x.Run {
			if y := &x.Run[id]; y.Phase != idle && r.Rows[id] != (row{s.me(m) + 1, y.Epoch, 0}) {
				return false
			}
		}
	}
	for id := range o.count(r.Generation) {
		z := &r.Rows[id]
		if z.Owner == 0 || z.Giver != 0 || r.State[z.Owner-1] != 1 {
			return false
		}
		m := int((z.Owner - 1) % maxMembers)
		x := &s.Members[m]
		if x.Alive != 1 || s.me(m)+1 != z.Owner || x.Run[id].Phase != runs || x.Run[id].Epoch != z.Epoch {
			return false
		}
	}
	for g := range o.guilds() {
		if s.Last[g] < o.Events[g] {
			return false
		}
	}
	return true
}

// earlier is the member of an earlier version, or -1.
func (o *options) earlier() int {
	if o.Earlier {
		return 1
	}
	return -1
}
