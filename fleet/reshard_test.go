// This file tests members that change the shard count together, in fake time, with engines that only note what they
// are asked.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
	"sluice/fleet/memory"
)

// Three members change the count to a multiple, to one that classes are gathered for, and back.
func TestReshards(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		a := t.nodes[0]
		plan, err := a.PlanReshard(context.Background(), 32)
		if err != nil || plan != (fleet.ReshardPlan{From: 16, To: 32, Classes: 16, Largest: 12}) {
			t.Errorf("the plan: %+v, %v", plan, err)
		}
		t.begin(a, 32)
		var twice error
		if twice = t.nodes[1].Reshard(context.Background(), 48); !errors.Is(twice, fleet.ErrResharding) {
			t.Errorf("another: %v", twice)
		}
		t.until("the status", func() bool { return a.Resharding().Stage == fleet.ReshardPending })
		if s := a.Resharding(); s.From != 16 || s.To != 32 || s.Classes != 16 || s.Gathered != 16 || s.Attempt != 1 || s.Owners != 3 {
			t.Errorf("the status: %+v", s)
		}
		t.committed(32)
		if v := t.view(); v.Plan.Generation != 2 || !v.Plan.Resharded || v.Plan.Instead != 16 {
			t.Errorf("the plan: %+v", v.Plan)
		}
		begun := 0
		for _, n := range t.nodes {
			begun += n.engine.begun
		}
		if begun != 32 {
			t.Errorf("%d new shards were begun", begun)
		}
		if s := a.Resharding(); s.Stage != fleet.ReshardNone || s.Failure != "" {
			t.Errorf("the status after it: %+v", s)
		}
		t.begin(t.nodes[1], 24)
		t.committed(24)
		t.begin(t.nodes[2], 16)
		t.committed(16)
		t.begin(a, 17) // all at one
		t.committed(17)
	})
}

// What resumes the new shards is there for who takes them over.
func TestReshardedTakenOver(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.begin(t.nodes[0], 32)
		t.committed(32)
		b := t.nodes[1]
		had := maps.Clone(b.engine.runs)
		t.dies(b)
		time.Sleep(20 * time.Second)
		t.check(32)
		for _, n := range t.nodes {
			for id := range had {
				if _, has := n.engine.runs[id]; has && n.engine.loaded[id] != fmt.Sprintf("s%d", id) {
					t.Errorf("shard %d goes on with session %q", id, n.engine.loaded[id])
				}
			}
		}
	})
}

// Without session starts enough nothing is begun.
func TestReshardBudget(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		t.budget(31)
		var starts *fleet.StartsError
		if err := t.nodes[0].Reshard(context.Background(), 32); !errors.As(err, &starts) || starts.Left != 31 {
			t.Errorf("with 31 starts: %v", err)
		}
		if r := t.view().Reshard; r.Stage != fleet.ReshardNone {
			t.Errorf("it began: %+v", r)
		}
	})
}

// Shards that are begun anew wait for session starts which are used up: it ends after minutes, not with the day, unless there
// are some again.
func TestReshardStarves(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again %v", again), func(t *testing.T) {
			resharding(t, 16, 2, func(t *team) {
				b := t.nodes[1]
				b.engine.slow = time.Hour
				if again {
					b.engine.slow = 6 * time.Minute
				}
				ctx, stop := context.WithCancel(context.Background())
				defer stop()
				go b.queue.Run(ctx)
				t.begin(t.nodes[0], 32)
				t.budget(0)
				join := func() {
					b.queue.Join(2*fleet.TurnStride+3, func() { b.queue.Leave(2*fleet.TurnStride + 3) })
				}
				join()
				time.Sleep(3 * time.Minute)
				if n := strings.Count(t.log.String(), "shards wait for session starts"); n != 3 {
					t.Errorf("it is logged %d times in 3 minutes", n)
				}
				if again {
					t.budget(100)
					time.Sleep(30 * time.Second)
					t.budget(0)
					join()
					time.Sleep(150 * time.Second) // which are not counted with those before
					t.committed(32)
					return
				}
				time.Sleep(90 * time.Second)
				if r := t.view().Reshard; r.Stage != fleet.ReshardPending {
					t.Errorf("it has ended after less than 5 minutes: %+v", r)
				}
				time.Sleep(time.Minute)
				if s := t.nodes[0].Resharding(); s.Stage != fleet.ReshardNone || !strings.Contains(s.Failure, "member b: no session starts are left") {
					t.Errorf("the status: %+v", s)
				}
				t.check(16)
			})
		})
	}
}

// The plan says how many shards one member has at the switch, and CountFor avoids that it is all of them.
func TestReshardLargest(t *testing.T) {
	resharding(t, 8, 3, func(t *team) {
		for shards, want := range map[int]int{9: 9, 10: 5, 12: 6, 16: 6, 4: 2, 2: 1} {
			p, err := t.nodes[0].PlanReshard(context.Background(), shards)
			if err != nil || p.Largest != want {
				t.Errorf("to %d: %+v, %v, want %d at one member", shards, p, err, want)
			}
		}
		t.until("the snapshot", func() bool { return len(t.nodes[0].Snapshot().Members) == 3 })
		for shards, want := range map[int]int{9: 12, 12: 12, 13: 16, 16: 16, 17: 20} {
			if n := t.nodes[0].CountFor(shards); n != want {
				t.Errorf("%d shards at the least: %d, want %d", shards, n, want)
			}
		}
		t.begin(t.nodes[0], 12)
		at := make(map[string]int)
		t.until("12 shards", func() bool { return t.view().Plan.Shards == 12 })
		for _, s := range t.view().Shards[:12] {
			at[s.Owner.Incarnation]++
		}
		if most := slices.Max(slices.Collect(maps.Values(at))); most != 6 {
			t.Errorf("one member has %d shards", most)
		}
		t.committed(12)
	})
}

// New shards of a member that died are not ready.
func TestReshardReadyOfDead(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		a, b := t.nodes[0], t.nodes[1]
		t.begin(a, 32)
		a.engine.mu.Lock()
		a.engine.slow = time.Hour
		a.engine.mu.Unlock()
		t.until("its new shards", func() bool { return a.Resharding().Ready == 16 })
		t.dies(b)
		t.until("its death", func() bool { return a.Resharding().Owners == 1 })
		if n := a.Resharding().Ready; n != 0 {
			t.Errorf("%d new shards are ready", n)
		}
	})
}

// It can be called off at each stage, until it is committed; then all is as it was.
func TestReshardCalledOff(t *testing.T) {
	stages := map[string]func(t *team) bool{
		"pending":   func(t *team) bool { return true },
		"begun":     func(t *team) bool { return t.nodes[1].engine.Ready() > 0 },
		"agreed":    func(t *team) bool { return len(t.view().Reshard.Voices) > 0 && t.view().Reshard.Voices[0].Revision > 0 },
		"switching": func(t *team) bool { return t.view().Reshard.Stage == fleet.ReshardSwitching },
		"prepared": func(t *team) bool {
			return slices.ContainsFunc(t.view().Reshard.Voices, func(v fleet.Voice) bool { return v.Prepared })
		},
	}
	for name, reached := range stages {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, again %v", name, again), func(t *testing.T) {
				resharding(t, 16, 3, func(t *team) {
					late := true // the last one to prepare
					t.nodes[2].set(func(m string) fleettest.Fault {
						return fleettest.Fault{Lose: m == "Prepare" && late || m == "Commit" && late}
					})
					t.begin(t.nodes[0], 24)
					t.until(name, func() bool { return reached(t) })
					before := t.view()
					if err := t.nodes[1].CallOff(context.Background()); err != nil {
						t.Fatal(err)
					}
					t.nodes[2].set(nil)
					if before.Plan.Shards != 16 {
						t.Fatal("it was too late")
					}
					time.Sleep(40 * time.Second)
					t.check(16)
					if s := t.nodes[0].Resharding(); s.Stage != fleet.ReshardNone || !strings.Contains(s.Failure, "asked for at member b") {
						t.Errorf("the status: %+v", s)
					}
					if err := t.nodes[1].CallOff(context.Background()); !errors.Is(err, fleet.ErrNotResharding) {
						t.Errorf("again: %v", err)
					}
					if again {
						t.begin(t.nodes[2], 32)
						t.committed(32)
					}
				})
			})
		}
	}
}

// It is called off also when the attempt ends, or it is committed or called off, before the call arrives.
func TestReshardCalledOffMeanwhile(t *testing.T) {
	ctx := context.Background()
	for name, meanwhile := range map[string]func(t *team, r *fleet.Reshard) error{
		"aborted":    func(t *team, r *fleet.Reshard) error { return t.c.Abort(ctx, r.At(), "no luck", 6) },
		"called off": func(t *team, r *fleet.Reshard) error { return t.c.Abort(ctx, r.At(), "no luck", 1) },
		"committed": func(t *team, _ *fleet.Reshard) error {
			t.committed(32)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			resharding(t, 16, 3, func(t *team) {
				a := t.nodes[0]
				t.begin(a, 32)
				once := false
				a.set(func(m string) fleettest.Fault {
					if m == "CallOff" && !once {
						once = true
						a.mu.Unlock()
						defer a.mu.Lock()
						r := t.view().Reshard
						if err := meanwhile(t, &r); err != nil {
							t.Error(err)
						}
					}
					return fleettest.Fault{}
				})
				want := 16
				if err := a.CallOff(ctx); name != "committed" && err != nil {
					t.Error(err)
				} else if name == "committed" {
					want = 32
					if err == nil || !strings.Contains(err.Error(), "in force already") {
						t.Errorf("it is committed: %v", err)
					}
				}
				time.Sleep(20 * time.Second)
				t.check(want)
				if r := t.view().Reshard; r.Stage != fleet.ReshardNone {
					t.Errorf("it goes on: %+v", r)
				}
			})
		})
	}
}

// An engine that cannot switch has the attempt taken back, and the next one is later; after six it is over.
func TestReshardFails(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		failures := 2
		t.nodes[1].engine.fails = func() error {
			if failures > 0 {
				failures--
				return errors.New("no such luck")
			}
			return nil
		}
		t.begin(t.nodes[0], 32)
		t.until("a failure", func() bool { return t.nodes[0].Resharding().Attempt == 2 })
		if s := t.nodes[0].Resharding(); !strings.Contains(s.Failure, "member b: no such luck") {
			t.Errorf("the status: %+v", s)
		}
		t.check(16)
		t.committed(32)
		if f := t.view().Reshard.Failures; f != 2 {
			t.Errorf("%d failures", f)
		}
		t.nodes[1].engine.fails = func() error { return errors.New("never") }
		t.begin(t.nodes[0], 16)
		for t.view().Reshard.Stage != fleet.ReshardNone {
			time.Sleep(time.Second)
		}
		time.Sleep(30 * time.Second)
		t.check(32)
		if s := t.nodes[2].Resharding(); s.Attempt != 6 || !strings.Contains(s.Failure, "member b: never") {
			t.Errorf("the status: %+v", s)
		}
		for _, n := range t.nodes {
			if n.engine.switches > 9 {
				t.Errorf("%s was at the switch %d times", n.name, n.engine.switches)
			}
		}
	})
}

// A member that cannot be reshared calls it off, and says so.
func TestReshardCannot(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		p := &party{t: t.T, c: t.c}
		o := p.options("old", t.c)
		o.Plan.Shards = 16
		old := fleet.New(o)
		ctx, stop := context.WithCancel(context.Background())
		if _, err := old.Join(ctx); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- old.Run(ctx, &engine{runs: make(map[int]int64)}) }()
		time.Sleep(20 * time.Second)
		t.begin(t.nodes[0], 32)
		t.until("the end", func() bool { return strings.Contains(t.nodes[0].Resharding().Failure, "member old") })
		stop()
		<-ended
	})
}

// A member that joins meanwhile takes part; one that drains gives its classes away.
func TestReshardJoins(t *testing.T) {
	for _, wait := range []time.Duration{0, 500 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second} {
		t.Run(wait.String(), func(t *testing.T) {
			resharding(t, 16, 2, func(t *team) {
				t.begin(t.nodes[0], 24)
				time.Sleep(wait)
				t.add("x")
				if wait < time.Second {
					t.nodes[1].BeginDrain()
				}
				t.until("24 shards", func() bool { return t.view().Plan.Shards == 24 })
				time.Sleep(60 * time.Second)
				t.check(24)
				if n := len(t.nodes[2].engine.runs); n == 0 {
					t.Error("who joined has none")
				}
			})
		})
	}
}

// The count holds when all processes have ended, unless the settings have changed since.
func TestReshardHolds(t *testing.T) {
	for _, c := range []struct{ before, after, want int }{{0, 0, 32}, {16, 16, 32}, {16, 0, 32}, {16, 48, 48}, {16, 32, 32}, {0, 48, 48}, {0, 16, 32}, {0, 8, 8}} {
		t.Run(fmt.Sprintf("%d, then %d", c.before, c.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour)
				k := memory.New(nil)
				p := &party{t: t, c: k}
				start := func(name string, setting int) (fleet.Plan, func()) {
					o := p.options(name, k)
					o.Plan.Shards = setting
					o.Recommended = func(context.Context) (int, error) { return 16, nil }
					f := fleet.New(o)
					ctx, stop := context.WithCancel(context.Background())
					plan, err := f.Join(ctx)
					if err != nil {
						t.Fatal(err)
					}
					e := newResharder(name, &ledger{t: t, used: make(map[[2]int64]string)}, plan.Shards)
					ended := make(chan error, 1)
					go func() { ended <- f.Run(ctx, e) }()
					time.Sleep(10 * time.Second)
					if plan.Shards == 16 && c.want == 32 || name == "a" {
						b := fleet.Budget{Total: 1000, Remaining: 1000, Reset: time.Now().Add(time.Hour), Concurrency: 1}
						if err := k.Budget(ctx, b, time.Now()); err != nil {
							t.Fatal(err)
						}
						if err := f.Reshard(ctx, 32); err != nil {
							t.Fatal(err)
						}
						time.Sleep(30 * time.Second)
					}
					return plan, func() { stop(); <-ended }
				}
				_, stop := start("a", c.before)
				if c.before == 16 && c.after == 16 { // while the fleet lives, too
					o := p.options("x", k)
					o.Plan.Shards = 16
					joins := fleet.New(o)
					if plan, err := joins.Join(context.Background()); err != nil || plan.Shards != 32 {
						t.Errorf("one joins with %+v: %v", plan, err)
					}
					if err := joins.Leave(context.Background()); err != nil {
						t.Error(err)
					}
				}
				stop()
				for _, name := range []string{"b", "c"} { // and the next time
					plan, stop := start(name, c.after)
					stop()
					if plan.Shards != c.want {
						t.Errorf("%s runs %+v, want %d shards", name, plan, c.want)
					}
				}
			})
		})
	}
}
