// This file is what can be seen of the fleet.

package fleet

import (
	"maps"
	"slices"
	"time"
)

// Snapshot is the fleet as one of its members has seen it last, which is up to a beat ago. Times are of the member's
// own clock.
type Snapshot struct {
	Incarnation string // of this member
	Draining    bool   // Fleet.Draining

	Confirmed bool      // this member is not suspect: Trusted
	Beaten    time.Time // when its last beat was sent that was confirmed; zero: none was
	Cut       time.Time // since when the coordinator does not answer; zero: it does
	Err       error     // why not

	At       time.Time // when the table was read last; zero: it was not read yet, and what follows is empty
	Changed  time.Time // when the set of members that are up has changed last
	Revision int64
	Plan     Plan
	Reshard  ReshardStatus
	Members  []MemberStatus // those that are known, by incarnation
	Moves    []Move         // handovers under way, by shard
	Unowned  int            // shards without an owner that lives
	Starting int            // shards that this member owns, and that are not in its engine yet

	Deaths []Death // those that this process has seen last, the latest first
	Counts Counts
}

// MemberStatus is a member as another sees it.
type MemberStatus struct {
	Member
	Beaten time.Time // when its beat was last seen to change; zero for one that is deposed
	Shards int       // that it owns, with those that it is given
	Share  float64   // how many it should have by its weight; 0: it is not up
}

// Move is a handover.
type Move struct {
	Shard    int
	From, To string    // incarnations
	Since    time.Time // when it was begun, or seen first
}

// Death is a member that was deposed.
type Death struct {
	Member Member // as it was seen last; with nothing but its Incarnation if there was no record of it
	At     time.Time
	Shards int  // that it had
	Own    bool // this member has deposed it; or another has
}

// Counts are counts since the process began.
type Counts struct {
	Deaths    int64 // members that were seen to be deposed, this one included
	Takeovers int64 // shards that this process has acquired of deposed members
	Given     int64 // handovers of this process to others that they have taken
	Taken     int64 // and of others to it
}

// maxDeaths is how many deaths are kept.
const maxDeaths = 16

// chronicle is what the loop notes for snapshots, over all incarnations of the process.
type chronicle struct {
	deaths []Death // the latest last
	counts Counts
}

// Snapshot returns what is known of the fleet. The caller does not change what is in it.
func (f *Fleet) Snapshot() Snapshot {
	var s Snapshot
	if last := f.snapshot.Load(); last != nil {
		s = *last
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Incarnation, s.Draining = f.incarnation, f.Draining()
	s.Confirmed, s.Beaten = f.pulse.Trusted(time.Now()), f.pulse.sent
	return s
}

// Epochs returns the epochs of the shards that this process runs.
func (f *Fleet) Epochs() map[int]int64 {
	f.runs.mu.RLock()
	defer f.runs.mu.RUnlock()
	return maps.Clone(f.runs.epochs)
}

// publish makes what the loop knows the Snapshot: with each beat, and between them not each time.
func (i *incarnation) publish(beat bool) {
	now := time.Now()
	if !beat && now.Sub(i.published) < i.f.o.Beat/4 {
		return
	}
	i.published = now
	s := i.table.snapshot(i.name, &i.observer)
	s.Cut, s.Err = i.cut, i.cutBy
	for id, l := range i.local {
		switch l.state {
		case giving:
			if i.table.moving[id] { // it has been given meanwhile
				continue
			}
			s.Moves = append(s.Moves, Move{Shard: id, From: i.name, To: l.target, Since: l.since})
		case starting:
			s.Starting++
		}
	}
	slices.SortFunc(s.Moves, func(a, b Move) int { return a.Shard - b.Shard })
	s.Deaths, s.Counts = slices.Clone(i.f.chronicle.deaths), i.f.chronicle.counts
	slices.Reverse(s.Deaths)
	i.f.snapshot.Store(s)
}

// snapshot returns what the table says, to the member me.
func (t *Table) snapshot(me string, o *Observer) *Snapshot {
	s := &Snapshot{At: t.Now, Changed: t.Changed, Revision: t.Revision, Plan: t.Plan, Reshard: t.resharding(), Members: make([]MemberStatus, len(t.Members))}
	weights := 0
	s.Unowned = len(t.Shards)
	for n, m := range t.Members {
		beaten := o.seen[m.Incarnation].since
		if m.Incarnation == me {
			beaten = t.Now
		}
		s.Members[n] = MemberStatus{Member: m, Beaten: beaten, Shards: t.owned[m.Incarnation]}
		if m.State != Deposed {
			s.Unowned -= s.Members[n].Shards
		}
		if m.State == Up {
			weights += max(m.Weight, 1)
		}
	}
	for n := range s.Members {
		if m := &s.Members[n]; m.State == Up {
			m.Share = float64(len(t.Shards)) * float64(max(m.Weight, 1)) / float64(weights)
		}
	}
	for id := range t.moving {
		row := &t.Shards[id]
		s.Moves = append(s.Moves, Move{Shard: id, From: row.Giver, To: row.Owner.Incarnation, Since: t.Since[id]})
	}
	return s
}

// bury notes who is dead by a view that the table does not have yet: who was deposed, or is not there any more after a
// silence. Who stops leaves too, and deposes itself for Rules.Return, but has beaten until then.
func (i *incarnation) bury(v View) {
	if i.table.Now.IsZero() {
		return // it was so before
	}
	now := time.Now()
	state := make(map[string]State, len(v.Members))
	for _, m := range v.Members {
		state[m.Incarnation] = m.State
	}
	known := make(map[string]bool, len(i.table.Members))
	silent := i.observer.Silent(now)
	for _, m := range i.table.Members {
		known[m.Incarnation] = true
		is, there := state[m.Incarnation]
		if m.State == Deposed || there && is != Deposed || m.Incarnation == i.name { // the next beat says of this one
			continue
		}
		if i.deposed[m.Incarnation] || silent[m.Incarnation] || there && i.f.o.Rules.Return == 0 {
			i.dead(m, now)
		}
	}
	for incarnation := range i.deposed {
		if _, there := state[incarnation]; !known[incarnation] && there {
			i.dead(Member{Incarnation: incarnation}, now)
		}
	}
}

// dead notes a death.
func (i *incarnation) dead(m Member, now time.Time) {
	i.f.chronicle.died(Death{Member: m, At: now, Shards: i.table.owned[m.Incarnation], Own: i.deposed[m.Incarnation]})
	delete(i.deposed, m.Incarnation)
}

func (c *chronicle) died(d Death) {
	c.counts.Deaths++
	c.deaths = append(c.deaths, d)
	c.deaths = c.deaths[max(0, len(c.deaths)-maxDeaths):]
}

// QueueStatus is the identify queue of this process, and the budget of the whole bot.
type QueueStatus struct {
	Waiting int // shards that wait here, those included that have a turn
	Turns   int // of them, those that have one
	Budget  Budget
	Known   bool // Budget is known
}

// Snapshot returns what the queue holds.
func (q *Queue) Snapshot() QueueStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	return QueueStatus{Waiting: len(q.waiting), Turns: len(q.granted), Budget: q.budget, Known: q.known}
}
