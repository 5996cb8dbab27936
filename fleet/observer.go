// This file says who is dead, as far as one member can tell by its own clock.

package fleet

import "time"

// Observer watches the beats of others. The zero Observer is ready, and one goroutine uses it.
//
// Dead is whose beat has not changed for the time of death on the observer's clock, since it first saw that beat.
// So clocks are not compared, and nobody is deposed before the observer has watched
// for the whole time of death itself.
//
// After a gap in what it sees, which is half the time of death, the watch begins anew. Who could not reach
// the coordinator finds old beats of others who could not either. A gap that is shorter leaves them
// the other half to beat again, once a second. The coordinator's clock shows gaps too, during which the
// observer's own stood still: those of a machine that was suspended. Where that clock steps, which it does
// when a replica takes over, a death is found later by a time of death.
type Observer struct {
	Death time.Duration // time of death; 0: 6 s

	seen        map[string]beat
	last        time.Time // of the observer
	coordinator time.Time // then
}

// beat is a beat, and when it was seen first.
type beat struct {
	beat  int64
	since time.Time
}

// Dead is an incarnation to depose, and the beat that was observed: what Coordinator.Depose demands.
type Dead struct {
	Incarnation string
	Beat        int64
}

// Observe takes what a member sees: all members and all shards, as of the coordinator's time, now on its own
// clock. It returns whom to depose, in no order, each time anew until the table shows it. An incarnation that owns shards
// and has no record is watched as if its beat were 0: it lives if it writes its record again.
func (o *Observer) Observe(me string, members []Member, shards []Shard, coordinator, now time.Time) []Dead {
	if gap := o.death() / 2; !o.last.IsZero() && max(now.Sub(o.last), coordinator.Sub(o.coordinator)) >= gap {
		o.seen = nil
	}
	o.last, o.coordinator = now, coordinator

	seen := make(map[string]beat, len(members))
	watch := func(incarnation string, n int64) {
		b, ok := o.seen[incarnation]
		if !ok || b.beat != n {
			b = beat{n, now}
		}
		seen[incarnation] = b
	}
	known := make(map[string]bool, len(members))
	for i := range members {
		m := &members[i]
		known[m.Incarnation] = true
		if m.State != Deposed && m.Incarnation != me {
			watch(m.Incarnation, m.Beat)
		}
	}
	last := ""
	for i := range shards {
		owner := shards[i].Owner.Incarnation
		if owner == last {
			continue
		}
		if last = owner; owner != "" && owner != me && !known[owner] {
			known[owner] = true
			watch(owner, 0)
		}
	}
	o.seen = seen

	var dead []Dead
	for incarnation, b := range seen {
		if now.Sub(b.since) >= o.death() {
			dead = append(dead, Dead{incarnation, b.beat})
		}
	}
	return dead
}

// Next returns when the next of those that it watches would be dead, if no beat came; zero: it watches nobody.
func (o *Observer) Next() (at time.Time) {
	for _, b := range o.seen {
		if t := b.since.Add(o.death()); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// Silent returns those that have not beaten for half the time of death. They may be alive, and keep
// their shards, but whoever gave them one now might wait for the rest of it.
func (o *Observer) Silent(now time.Time) map[string]bool {
	var silent map[string]bool
	for incarnation, b := range o.seen {
		if now.Sub(b.since) < o.death()/2 {
			continue
		}
		if silent == nil {
			silent = make(map[string]bool)
		}
		silent[incarnation] = true
	}
	return silent
}

func (o *Observer) death() time.Duration {
	if o.Death == 0 {
		return 6 * time.Second
	}
	return o.Death
}

// Pulse is a member's own side of it: whether others can have deposed it by now, as far as it can tell. The zero
// Pulse is ready, and suspect. One goroutine uses it.
//
// A beat is confirmed by its answer, and counts from before it was sent: others may have seen it
// that early. A member is suspect earlier than others depose it, so that what no broker
// refuses has ended by then: with 4 s and 6 s as long as no clock goes half as fast again as another.
//
// While a machine is suspended its monotonic clock stands still. Its wall clock shows that when it wakes, or else
// the coordinator's, with the first answer. A wall clock that was set forward makes a member suspect until its next beat.
type Pulse struct {
	Suspect time.Duration // after the last beat that was confirmed; 0: 4 s

	sent        time.Time // of the last beat that counts
	asked       time.Time // of the last that was confirmed
	coordinator time.Time // of its answer
	after       time.Time // a beat sent before does not count
}

// Confirm takes the answer to a beat: when the beat was sent and the answer read, with the member's clock, and the
// coordinator's time in it. It returns for how long the member's clock must have stood still since
// the beat before, and 0 if that is less than half of Suspect. Then the member is suspect
// at once, until a beat is confirmed that was sent after this: the answer may be as old as that.
func (p *Pulse) Confirm(sent, read, coordinator time.Time) (still time.Duration) {
	if !p.asked.IsZero() {
		still = coordinator.Sub(p.coordinator) - read.Sub(p.asked)
	}
	p.asked, p.coordinator = sent, coordinator
	if still >= p.suspect()/2 {
		p.sent, p.after = time.Time{}, read
		return still
	}
	if !sent.Before(p.after) && sent.After(p.sent) {
		p.sent = sent
	}
	return 0
}

// Trusted says that the member is not suspect.
func (p *Pulse) Trusted(now time.Time) bool {
	if p.sent.IsZero() {
		return false
	}
	wall := now.Round(0).Sub(p.sent.Round(0))
	return max(now.Sub(p.sent), wall) < p.suspect()
}

func (p *Pulse) suspect() time.Duration {
	if p.Suspect == 0 {
		return 4 * time.Second
	}
	return p.Suspect
}
