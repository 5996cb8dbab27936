// This file has faults on the way to a coordinator.

package fleettest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"sluice/fleet"
)

// ErrFault is the error of a call that a Fault has failed.
var ErrFault = errors.New("fleettest: the coordinator is out of reach")

// Fault is what happens to a call. The zero value is nothing.
type Fault struct {
	Delay      time.Duration // before its step; no longer than its context lives
	Lose       bool          // the call fails, and there is no step; a notice is not told
	LoseAnswer bool          // the call fails after its step
	Late       time.Duration // with LoseAnswer: the call fails at once, and its step is so much later
}

// Faulty is a coordinator with faults on the way. For a failover see memory.Coordinator.Forget.
type Faulty struct {
	fleet.Coordinator
	Choose func(method string) Fault // for each call, and each notice of Watch; called by any goroutine
}

// call takes a step, or not, as the fault says. A step that is late may run after the call has returned.
func call[T any](ctx context.Context, f *Faulty, method string, step func(ctx context.Context) (T, error)) (T, error) {
	var none T
	fault := f.Choose(method)
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
	switch {
	case fault.Lose:
		return none, ErrFault
	case fault.LoseAnswer && fault.Late > 0:
		time.AfterFunc(fault.Late, func() { _, _ = step(context.WithoutCancel(ctx)) })
		return none, ErrFault
	case fault.LoseAnswer:
		_, _ = step(ctx)
		return none, ErrFault
	}
	return step(ctx)
}

// do is call for a step that returns nothing else.
func do(ctx context.Context, f *Faulty, method string, step func(ctx context.Context) error) error {
	_, err := call(ctx, f, method, func(ctx context.Context) (struct{}, error) { return struct{}{}, step(ctx) })
	return err
}

func (f *Faulty) Look(ctx context.Context, since int64) (fleet.View, error) {
	return call(ctx, f, "Look", func(ctx context.Context) (fleet.View, error) { return f.Coordinator.Look(ctx, since) })
}

func (f *Faulty) Join(ctx context.Context, m fleet.Member, p fleet.Plan) (fleet.Plan, error) {
	return call(ctx, f, "Join", func(ctx context.Context) (fleet.Plan, error) { return f.Coordinator.Join(ctx, m, p) })
}

func (f *Faulty) Beat(ctx context.Context, m fleet.Member, since int64) (fleet.View, error) {
	return call(ctx, f, "Beat", func(ctx context.Context) (fleet.View, error) { return f.Coordinator.Beat(ctx, m, since) })
}

func (f *Faulty) Depose(ctx context.Context, incarnation string, beat int64) error {
	return do(ctx, f, "Depose", func(ctx context.Context) error { return f.Coordinator.Depose(ctx, incarnation, beat) })
}

func (f *Faulty) Acquire(ctx context.Context, incarnation string, want []fleet.Want) ([]fleet.Shard, error) {
	return call(ctx, f, "Acquire", func(ctx context.Context) ([]fleet.Shard, error) {
		return f.Coordinator.Acquire(ctx, incarnation, want)
	})
}

func (f *Faulty) Give(ctx context.Context, shard int, from fleet.Owner, to string) (fleet.Owner, error) {
	return call(ctx, f, "Give", func(ctx context.Context) (fleet.Owner, error) { return f.Coordinator.Give(ctx, shard, from, to) })
}

func (f *Faulty) Take(ctx context.Context, shard int, by fleet.Owner) error {
	return do(ctx, f, "Take", func(ctx context.Context) error { return f.Coordinator.Take(ctx, shard, by) })
}

func (f *Faulty) TakeBack(ctx context.Context, shard int, given fleet.Owner, giver string) (fleet.Owner, error) {
	return call(ctx, f, "TakeBack", func(ctx context.Context) (fleet.Owner, error) {
		return f.Coordinator.TakeBack(ctx, shard, given, giver)
	})
}

func (f *Faulty) Leave(ctx context.Context, incarnation string) error {
	return do(ctx, f, "Leave", func(ctx context.Context) error { return f.Coordinator.Leave(ctx, incarnation) })
}

func (f *Faulty) Confirm(ctx context.Context, incarnation string, epochs map[int]int64) ([]int, error) {
	return call(ctx, f, "Confirm", func(ctx context.Context) ([]int, error) { return f.Coordinator.Confirm(ctx, incarnation, epochs) })
}

func (f *Faulty) Save(ctx context.Context, incarnation string, records []fleet.Record) ([]int, error) {
	records = slices.Clone(records) // a step that is late must not see what the caller makes of them
	for i := range records {
		records[i].Data = slices.Clone(records[i].Data)
	}
	return call(ctx, f, "Save", func(ctx context.Context) ([]int, error) { return f.Coordinator.Save(ctx, incarnation, records) })
}

func (f *Faulty) Load(ctx context.Context, shards []int) ([]fleet.Record, error) {
	return call(ctx, f, "Load", func(ctx context.Context) ([]fleet.Record, error) { return f.Coordinator.Load(ctx, shards) })
}

func (f *Faulty) Watch(ctx context.Context, changed func()) {
	f.Coordinator.Watch(ctx, func() {
		_ = do(ctx, f, "Watch", func(context.Context) error { changed(); return nil })
	})
}

func (f *Faulty) Ask(ctx context.Context, incarnation string, number int64, waiting []int) (fleet.Grants, error) {
	waiting = slices.Clone(waiting)
	return call(ctx, f, "Ask", func(ctx context.Context) (fleet.Grants, error) {
		return f.Coordinator.Ask(ctx, incarnation, number, waiting)
	})
}

func (f *Faulty) Sent(ctx context.Context, incarnation string, shard int, number int64) error {
	return do(ctx, f, "Sent", func(ctx context.Context) error { return f.Coordinator.Sent(ctx, incarnation, shard, number) })
}

func (f *Faulty) Budget(ctx context.Context, b fleet.Budget, asked time.Time) error {
	return do(ctx, f, "Budget", func(ctx context.Context) error { return f.Coordinator.Budget(ctx, b, asked) })
}

func (f *Faulty) Propose(ctx context.Context, r fleet.Reshard) error {
	return do(ctx, f, "Propose", func(ctx context.Context) error { return f.Coordinator.Propose(ctx, r) })
}

func (f *Faulty) Report(ctx context.Context, incarnation string, a fleet.Attempt, ready int) error {
	return do(ctx, f, "Report", func(ctx context.Context) error { return f.Coordinator.Report(ctx, incarnation, a, ready) })
}

func (f *Faulty) Agree(ctx context.Context, incarnation string, a fleet.Attempt, revision int64, ready int, epochs map[int]int64) error {
	epochs = maps.Clone(epochs)
	return do(ctx, f, "Agree", func(ctx context.Context) error {
		return f.Coordinator.Agree(ctx, incarnation, a, revision, ready, epochs)
	})
}

func (f *Faulty) Switch(ctx context.Context, a fleet.Attempt) error {
	return do(ctx, f, "Switch", func(ctx context.Context) error { return f.Coordinator.Switch(ctx, a) })
}

func (f *Faulty) Prepare(ctx context.Context, incarnation string, a fleet.Attempt, next []fleet.Record, done bool) error {
	next = slices.Clone(next) // as in Save
	for i := range next {
		next[i].Data = slices.Clone(next[i].Data)
	}
	return do(ctx, f, "Prepare", func(ctx context.Context) error { return f.Coordinator.Prepare(ctx, incarnation, a, next, done) })
}

func (f *Faulty) Commit(ctx context.Context, a fleet.Attempt) error {
	return do(ctx, f, "Commit", func(ctx context.Context) error { return f.Coordinator.Commit(ctx, a) })
}

func (f *Faulty) Abort(ctx context.Context, a fleet.Attempt, why string, failures int) error {
	return do(ctx, f, "Abort", func(ctx context.Context) error { return f.Coordinator.Abort(ctx, a, why, failures) })
}

func (f *Faulty) CallOff(ctx context.Context, a fleet.Attempt, why string) error {
	return do(ctx, f, "CallOff", func(ctx context.Context) error { return f.Coordinator.CallOff(ctx, a, why) })
}
