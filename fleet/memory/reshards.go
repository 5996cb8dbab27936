// This file has the steps of a change of the shard count.

package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/fleet"
)

// reshard is one that is pending, or the last one.
type reshard struct {
	fleet.Reshard       // without Voices
	revision      int64 // of the table at Switch
	voices        map[string]fleet.Voice
	next          map[int]record // prepared
}

// enter begins an attempt's stage.
func (c *Coordinator) enter(s fleet.ReshardStage) {
	c.reshard.Stage, c.reshard.Since = s, time.UnixMilli(c.clock().UnixMilli())
	c.notify()
}

// none ends the one that is pending.
func (c *Coordinator) none(why string) {
	r := &c.reshard
	*r = reshard{Reshard: r.Reshard}
	r.Failure = why
	c.enter(fleet.ReshardNone)
}

// viewed is the Reshard as a view has it.
func (c *Coordinator) viewed() fleet.Reshard {
	r := c.reshard.Reshard
	for _, v := range c.reshard.voices {
		r.Voices = append(r.Voices, v)
	}
	slices.SortFunc(r.Voices, func(a, b fleet.Voice) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return r
}

// Propose implements fleet.Reshards.
func (c *Coordinator) Propose(ctx context.Context, r fleet.Reshard) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	was := &c.reshard
	if was.Stage != fleet.ReshardNone {
		if was.Generation == r.Generation && was.Shards == r.Shards && was.Setting == r.Setting {
			return nil // done before
		}
		return fleet.ErrChanged
	}
	if c.plan.Generation == r.Generation && c.plan.Shards == r.Shards {
		return nil // and committed
	}
	if c.plan.Shards == 0 || c.plan.Generation != r.Generation-1 || c.plan.Shards == r.Shards || r.Shards < 1 {
		return fleet.ErrChanged
	}
	b := c.turns.budget
	if !c.turns.known {
		return &fleet.StartsError{Needed: r.Shards}
	}
	if b.Remaining-b.Reserve < r.Shards {
		return &fleet.StartsError{Needed: r.Shards, Left: b.Remaining - b.Reserve, Reset: b.Reset}
	}
	c.reshard = reshard{
		Reshard: fleet.Reshard{Generation: r.Generation, Shards: r.Shards, Setting: r.Setting, Attempt: c.attempt()},
		voices:  make(map[string]fleet.Voice),
	}
	c.enter(fleet.ReshardPending)
	return nil
}

// attempt is the number of the next attempt. It follows the time, so that no number that was forgotten is given twice.
func (c *Coordinator) attempt() int64 { return max(c.reshard.Attempt+1, c.clock().UnixMilli()) }

// at reports whether an attempt is the present one, in a stage.
func (c *Coordinator) at(a fleet.Attempt, s fleet.ReshardStage) bool {
	r := &c.reshard
	return r.Stage == s && r.Generation == a.Generation && r.Attempt == a.Number
}

// say changes a member's voice.
func (c *Coordinator) say(incarnation string, change func(v *fleet.Voice)) {
	voices := maps.Clone(c.reshard.voices) // for remember
	v := voices[incarnation]
	v.Incarnation = incarnation
	change(&v)
	voices[incarnation] = v
	c.reshard.voices = voices
}

// lives reports whether an incarnation is a member's that is not deposed.
func (c *Coordinator) lives(incarnation string) bool {
	m, known := c.members[incarnation]
	return known && m.State != fleet.Deposed
}

// Report implements fleet.Reshards.
func (c *Coordinator) Report(ctx context.Context, incarnation string, a fleet.Attempt, ready int) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	switch {
	case !c.lives(incarnation):
		return fleet.ErrDeposed
	case !c.at(a, fleet.ReshardPending) && !(c.at(a, fleet.ReshardSwitching) && c.reshard.voices[incarnation].Revision == 0):
		return fleet.ErrChanged
	}
	c.say(incarnation, func(v *fleet.Voice) { v.Revision, v.Ready = 0, ready })
	return nil
}

// owns returns how many shards an incarnation owns.
func (c *Coordinator) owns(incarnation string) (n int) {
	for _, r := range c.rows {
		if r.Owner.Incarnation == incarnation {
			n++
		}
	}
	return n
}

// Agree implements fleet.Reshards.
func (c *Coordinator) Agree(ctx context.Context, incarnation string, a fleet.Attempt, revision int64, ready int, epochs map[int]int64) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if !c.lives(incarnation) {
		return fleet.ErrDeposed
	}
	if !c.at(a, fleet.ReshardPending) || revision != c.revision || c.owns(incarnation) != len(epochs) {
		return fleet.ErrChanged
	}
	for shard, epoch := range epochs {
		if r := c.rows[shard]; r.Owner != (fleet.Owner{Incarnation: incarnation, Epoch: epoch}) || r.Giver != "" {
			return fleet.ErrChanged
		}
	}
	c.say(incarnation, func(v *fleet.Voice) { v.Revision, v.Ready = revision, ready })
	return nil
}

// Switch implements fleet.Reshards.
func (c *Coordinator) Switch(ctx context.Context, a fleet.Attempt) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if c.at(a, fleet.ReshardSwitching) {
		return nil // done before
	}
	if !c.at(a, fleet.ReshardPending) || !c.heard() || c.all(func(v fleet.Voice) bool { return v.Revision == c.revision }) != c.plan.Shards {
		return fleet.ErrChanged
	}
	c.reshard.revision = c.revision
	c.enter(fleet.ReshardSwitching)
	return nil
}

// all returns how many shards those own whose voice is as demanded, and who live.
func (c *Coordinator) all(demand func(v fleet.Voice) bool) (n int) {
	for incarnation, v := range c.reshard.voices {
		if c.lives(incarnation) && demand(v) {
			n += c.owns(incarnation)
		}
	}
	return n
}

// heard reports whether all who live have said something.
func (c *Coordinator) heard() bool {
	for incarnation := range c.members {
		if _, said := c.reshard.voices[incarnation]; !said && c.lives(incarnation) {
			return false
		}
	}
	return true
}

// Prepare implements fleet.Reshards.
func (c *Coordinator) Prepare(ctx context.Context, incarnation string, a fleet.Attempt, next []fleet.Record, done bool) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	r := &c.reshard
	switch v := r.voices[incarnation]; {
	case !c.lives(incarnation):
		return fleet.ErrDeposed
	case !c.at(a, fleet.ReshardSwitching) || c.revision != r.revision || v.Revision != r.revision:
		return fleet.ErrChanged
	}
	for _, n := range next {
		was, prepared := r.next[n.Shard]
		if n.Shard < 0 || n.Shard >= r.Shards || n.Epoch <= c.rows[n.Shard].Owner.Epoch || prepared && was.incarnation != incarnation {
			return fleet.ErrChanged
		}
	}
	all := maps.Clone(r.next)
	if all == nil {
		all = make(map[int]record)
	}
	for _, n := range next {
		n.Data = slices.Clone(n.Data)
		all[n.Shard] = record{n, incarnation}
	}
	r.next = all
	if done {
		c.say(incarnation, func(v *fleet.Voice) { v.Prepared = true })
	}
	return nil
}

// Commit implements fleet.Reshards.
func (c *Coordinator) Commit(ctx context.Context, a fleet.Attempt) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	r := &c.reshard
	if r.Stage == fleet.ReshardNone && r.Generation == a.Generation && c.plan.Generation == a.Generation {
		return nil // done before
	}
	if !c.at(a, fleet.ReshardSwitching) || c.revision != r.revision || len(r.next) != r.Shards || !c.heard() || c.all(func(v fleet.Voice) bool { return v.Prepared }) != c.plan.Shards {
		return fleet.ErrChanged
	}
	c.rows, c.records = make(map[int]row), make(map[int]record)
	for _, shard := range slices.SortedFunc(maps.Keys(r.next), cmp.Compare) {
		n := r.next[shard]
		c.set(shard, fleet.Owner{Incarnation: n.incarnation, Epoch: n.Epoch}, "")
		c.records[shard] = n
	}
	c.plan.Generation, c.plan.Shards, c.plan.Resharded, c.plan.Instead = r.Generation, r.Shards, true, r.Setting
	c.none("")
	return nil
}

// Abort implements fleet.Reshards.
func (c *Coordinator) Abort(ctx context.Context, a fleet.Attempt, why string, failures int) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	r := &c.reshard
	switch {
	case r.Generation != a.Generation || r.Attempt < a.Number || c.plan.Generation >= a.Generation:
		return fleet.ErrChanged
	case r.Attempt > a.Number || r.Stage == fleet.ReshardNone:
		return nil // done before, or called off
	}
	why = why[:min(len(why), fleet.MaxFailure)]
	r.Failures++
	if r.Failures >= failures {
		c.none(why)
		return nil
	}
	r.Attempt, r.Failure, r.voices, r.next = c.attempt(), why, make(map[string]fleet.Voice), nil
	c.enter(fleet.ReshardPending)
	return nil
}

// CallOff implements fleet.Reshards.
func (c *Coordinator) CallOff(ctx context.Context, a fleet.Attempt, why string) error {
	if err := c.write(ctx); err != nil {
		return err
	}
	defer c.mu.Unlock()
	switch r := &c.reshard; {
	case r.At() != a, c.plan.Generation >= a.Generation:
		return fleet.ErrChanged
	case r.Stage != fleet.ReshardNone:
		c.none(why[:min(len(why), fleet.MaxFailure)])
	}
	return nil
}
