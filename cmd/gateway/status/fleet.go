// This file says what a member sees of its fleet.

package status

import (
	"fmt"
	"strings"
	"time"

	"sluice/fleet"
)

// FleetOf returns a Source's Fleet for a member, which has joined.
func FleetOf(f *fleet.Fleet, q *fleet.Queue, name string) func() *Fleet {
	return func() *Fleet { return newFleet(time.Now(), name, f.Snapshot(), q.Snapshot()) }
}

// WaitingFleet returns the part of the document of a process that waits to join, and why.
func WaitingFleet(name, why string) *Fleet {
	return &Fleet{Member: name, Why: why, Members: []FleetMember{}, Moves: []FleetMove{}, Deaths: []FleetDeath{}}
}

// newFleet returns the part of the document for what is known at a time.
func newFleet(now time.Time, name string, s fleet.Snapshot, q fleet.QueueStatus) *Fleet {
	d := &Fleet{
		Joined: true, Member: name, Incarnation: s.Incarnation, Draining: s.Draining, Confirmed: s.Confirmed, Beat: since(now, s.Beaten),
		Unreached: since(now, s.Cut), Stable: since(now, s.Changed), Revision: s.Revision,
		Plan:    FleetPlan{Generation: s.Plan.Generation, Shards: s.Plan.Shards, Intents: s.Plan.Intents, Format: s.Plan.Format},
		Members: make([]FleetMember, len(s.Members)), Unowned: s.Unowned, Starting: s.Starting,
		Moves: make([]FleetMove, len(s.Moves)), Deaths: make([]FleetDeath, len(s.Deaths)),
		Counts: FleetCounts(s.Counts),
		Identify: FleetIdentify{
			Waiting: q.Waiting, Turns: q.Turns, Known: q.Known, Total: q.Budget.Total, Remaining: q.Budget.Remaining, Reserve: q.Budget.Reserve,
			MaxConcurrency: q.Budget.Concurrency,
		},
	}
	if s.Err != nil {
		d.Error = s.Err.Error()
	}
	if q.Known {
		reset := q.Budget.Reset.UTC().Truncate(time.Second)
		d.Identify.Reset = &reset
	}
	for i, m := range s.Members {
		d.Members[i] = FleetMember{
			Name: m.Name, Incarnation: m.Incarnation, State: stateName(m.State), Zone: m.Zone, Weight: m.Weight, Shards: m.Shards, Share: round(m.Share, 1),
			Beat: since(now, m.Beaten), Version: m.Version, Address: m.Address,
		}
	}
	for i, m := range s.Moves {
		d.Moves[i] = FleetMove{Shard: m.Shard, From: m.From, To: m.To, Since: since(now, m.Since)}
	}
	for i, x := range s.Deaths {
		d.Deaths[i] = FleetDeath{Name: x.Member.Name, Incarnation: x.Member.Incarnation, At: x.At.UTC().Truncate(time.Millisecond), Shards: x.Shards}
		if x.Own {
			d.Deaths[i].By = name
		}
	}
	return d
}

// stateName returns what a member does.
func stateName(s fleet.State) string {
	switch s {
	case fleet.Up:
		return "up"
	case fleet.Draining:
		return "draining"
	}
	return "deposed"
}

// Own returns this process's member, or nil.
func (f *Fleet) Own() *FleetMember {
	for i := range f.Members {
		if f.Members[i].Incarnation == f.Incarnation {
			return &f.Members[i]
		}
	}
	return nil
}

// Others counts the other members that take shards.
func (f *Fleet) Others() (n int) {
	for i := range f.Members {
		if m := &f.Members[i]; m.State == "up" && m.Incarnation != f.Incarnation {
			n++
		}
	}
	return n
}

// NameOf returns the name of an incarnation, or the beginning of it if that is not known.
func (f *Fleet) NameOf(incarnation string) string {
	for i := range f.Members {
		if f.Members[i].Incarnation == incarnation {
			return f.Members[i].Name
		}
	}
	for i := range f.Deaths {
		if f.Deaths[i].Incarnation == incarnation && f.Deaths[i].Name != "" {
			return f.Deaths[i].Name
		}
	}
	return ShortIncarnation(incarnation)
}

// ShortIncarnation returns what of an incarnation is shown to people.
func ShortIncarnation(incarnation string) string { return incarnation[:min(8, len(incarnation))] }

// fleet returns what is known of the fleet, or nil.
func (s *Source) fleet() *Fleet {
	if s.Fleet == nil {
		return nil
	}
	d := s.Fleet()
	d.Error, d.Why = s.redact(d.Error), s.redact(d.Why)
	return d
}

// check is the condition of Readyz. A member that is not confirmed cannot connect a shard, and publishes nothing where
// the broker cannot refuse it.
func (f *Fleet) check() Check {
	c := Check{Name: "fleet", Of: Readyz, OK: f.Confirmed}
	switch {
	case !f.Joined:
		c.Text = "not joined yet: " + f.Why
	case f.Confirmed:
		c.Text = fmt.Sprintf("member %s, one of %s, confirmed", f.Member, Count(len(f.Members)))
	case f.Unreached > 0:
		c.Text = fmt.Sprintf("member %s is not confirmed: Redis has not answered for %s: %s", f.Member, span(time.Duration(f.Unreached*float64(time.Second))), f.Error)
	default:
		c.Text = fmt.Sprintf("member %s is not confirmed yet", f.Member)
	}
	return c
}

// waiting are the conditions of a process that has not joined its fleet: there is nothing else yet.
func (f *Fleet) waiting() []Check {
	return []Check{{Name: "fleet", Of: Livez, OK: true, Text: "this process waits to join"}, f.check()}
}

// Summary says in a line how it stands with the fleet.
func (f *Fleet) Summary() string {
	if !f.Joined {
		return "not joined yet: " + f.Why
	}
	shards := 0
	if own := f.Own(); own != nil {
		shards = own.Shards
	}
	parts := []string{fmt.Sprintf("%s, one of %s, with %s of %s shards", f.Member, members(len(f.Members)), Count(shards), Count(f.Plan.Shards))}
	if !f.Confirmed {
		parts = append(parts, "not confirmed")
	}
	if f.Draining {
		parts = append(parts, "draining")
	}
	if n := len(f.Moves); n > 0 {
		parts = append(parts, fmt.Sprintf("%s moving", Count(n)))
	}
	if f.Unowned > 0 {
		parts = append(parts, fmt.Sprintf("%s without an owner", Count(f.Unowned)))
	}
	return strings.Join(parts, ", ")
}

func members(n int) string {
	if n == 1 {
		return "1 member"
	}
	return Count(n) + " members"
}
