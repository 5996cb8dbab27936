// This file has the steps of turns to identify, and of their budget.

package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"sluice/fleet"
)

const (
	askAgain   = fleet.AskFor / 3
	keepTurns  = time.Hour                                                 // longer than anybody waits for Discord's answer about the budget
	turnCounts = fleet.IdentifyPause + fleet.TurnFor + fleet.IdentifyPause // of its bucket, at most
)

// turns is what is kept of them.
type turns struct {
	asked  map[string]ask // by incarnation
	given  []turn         // in the order of time
	last   int64          // number of a turn
	budget fleet.Budget
	known  bool // budget is
}

// ask is the last one of a member.
type ask struct {
	at      time.Time
	number  int64
	waiting []int
}

// turn is one that was given.
type turn struct {
	incarnation string
	shard       int
	number      int64
	at          time.Time // when
	from        time.Time // it may be used from then on
	sent        time.Time // zero: the Identify is not written, as far as is known
	dropped     bool      // the shard did not wait any more
}

// out reports whether the turn can be used.
func (t *turn) out(now time.Time) bool {
	return t.sent.IsZero() && !t.dropped && now.Sub(t.from) < fleet.TurnFor
}

// recent are the turns that may be out, or make a bucket's next one wait.
func (u *turns) recent(now time.Time) []turn {
	i := len(u.given)
	for i > 0 && now.Sub(u.given[i-1].at) <= turnCounts {
		i--
	}
	return u.given[i:]
}

// bucket says whether a turn of the shard's bucket is out, and when the next may be used.
func (u *turns) bucket(shard int, now time.Time) (out bool, next time.Time) {
	for _, t := range u.recent(now) {
		if !u.same(t.shard, shard) {
			continue
		}
		out = out || t.out(now)
		if after := t.sent.Add(fleet.IdentifyPause); !t.sent.IsZero() && after.After(next) {
			next = after
		}
	}
	return out, next
}

// same reports whether two shards have the same bucket.
func (u *turns) same(a, b int) bool {
	return a%fleet.TurnStride%u.budget.Concurrency == b%fleet.TurnStride%u.budget.Concurrency
}

// lower reports whether a lower shard of the bucket waits.
func (u *turns) lower(shard int, now time.Time) bool {
	for _, a := range u.asked {
		for _, s := range a.waiting {
			if now.Sub(a.at) <= fleet.AskFor && s < shard && u.same(s, shard) {
				return true
			}
		}
	}
	return false
}

// Ask implements fleet.Coordinator. It gives turns to the one who asks, and leaves those of others
// until they ask.
func (c *Coordinator) Ask(ctx context.Context, incarnation string, number int64, waiting []int) (fleet.Grants, error) {
	if err := c.write(ctx); err != nil {
		return fleet.Grants{}, err
	}
	defer c.mu.Unlock()
	u, now := &c.turns, c.clock()
	maps.DeleteFunc(u.asked, func(_ string, a ask) bool { return now.Sub(a.at) > fleet.AskOrder })
	if before, any := u.asked[incarnation]; any && number < before.number {
		return fleet.Grants{}, fleet.ErrChanged
	}
	waiting = slices.Sorted(slices.Values(waiting))
	u.asked[incarnation] = ask{now, number, waiting}

	recent := u.recent(now)
	for i := range recent {
		if t := &recent[i]; t.incarnation == incarnation && !slices.Contains(waiting, t.shard) {
			t.dropped = true
		}
	}
	for _, shard := range waiting {
		if !u.known || u.budget.Remaining <= u.budget.Reserve {
			break
		}
		out, next := u.bucket(shard, now)
		if out || u.lower(shard, now) {
			continue
		}
		if next.Before(now) {
			next = now
		}
		u.last = max(u.last+1, now.UnixMilli()) // who has forgotten the last repeats none
		u.given = append(u.given, turn{incarnation: incarnation, shard: shard, number: u.last, at: now, from: next})
		u.budget.Remaining--
	}
	g := fleet.Grants{After: askAgain, Budget: u.budget, Known: u.known}
	for _, t := range u.recent(now) {
		if t.incarnation == incarnation && t.out(now) {
			g.Turns = append(g.Turns, fleet.Turn{Shard: t.shard, Number: t.number, In: t.from.Sub(now)})
		}
	}
	slices.SortFunc(g.Turns, func(a, b fleet.Turn) int { return a.Shard - b.Shard })
	return g, nil
}

// Sent implements fleet.Coordinator.
func (c *Coordinator) Sent(ctx context.Context, incarnation string, shard int, number int64) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	now := c.clock()
	recent := c.turns.recent(now)
	for i := len(recent) - 1; i >= 0; i-- {
		t := &recent[i]
		if t.incarnation != incarnation || t.shard != shard || t.number != number && t.sent.IsZero() {
			continue
		}
		if t.number != number { // a later one was sent
			break
		}
		if t.out(now) {
			t.sent = now
			a := c.turns.asked[incarnation]
			a.waiting = slices.DeleteFunc(slices.Clone(a.waiting), func(s int) bool { return s == shard })
			c.turns.asked[incarnation] = a // it does not wait any more
		}
		if !t.sent.IsZero() { // by now, or before
			return nil
		}
		break
	}
	return fleet.ErrChanged
}

// Budget implements fleet.Coordinator. An Identify that was written since Discord was asked may
// not be counted in its answer, whenever its turn was given.
func (c *Coordinator) Budget(ctx context.Context, b fleet.Budget, asked time.Time) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	u, now := &c.turns, c.clock()
	u.given = slices.DeleteFunc(u.given, func(t turn) bool { return now.Sub(t.at) > keepTurns })
	for _, t := range u.given {
		if !t.at.Before(asked) || !t.sent.Before(asked) || t.out(now) {
			b.Remaining--
		}
	}
	b.Remaining, b.Concurrency = max(0, b.Remaining), max(1, b.Concurrency)
	u.budget, u.known = b, true
	return nil
}
