// This file tests members that die, hang or come back while the shard count is changed.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/fleet"
	"sluice/fleet/fleettest"
)

// deaths are the stages at which a member is lost: with a call, before it is made or after.
var deaths = []struct {
	name, method string
	after        bool
}{
	{"pending", "Beat", false},
	{"before it agrees", "Agree", false},
	{"agreed", "Agree", true},
	{"switching", "Prepare", false},
	{"prepared", "Prepare", true},
}

// lose has a node lost at its first call of a method.
func lose(n *node, method string, after bool) (is func() bool) {
	var mu sync.Mutex
	gone := false
	n.set(func(m string) fleettest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if gone {
			return fleettest.Fault{Lose: true}
		}
		if m == method {
			gone = true
			return fleettest.Fault{Lose: !after, LoseAnswer: after}
		}
		return fleettest.Fault{}
	})
	return func() bool { mu.Lock(); defer mu.Unlock(); return gone }
}

// A member that dies costs an attempt at most: the others go on.
func TestReshardDeaths(t *testing.T) {
	for _, counts := range [][2]int{{16, 32}, {16, 24}, {24, 16}} {
		for _, d := range deaths {
			t.Run(fmt.Sprintf("%s, %d to %d", d.name, counts[0], counts[1]), func(t *testing.T) {
				resharding(t, counts[0], 3, func(t *team) {
					b := t.nodes[1]
					gone := lose(b, d.method, d.after)
					t.begin(t.nodes[0], counts[1])
					t.until("the death", gone)
					t.dies(b)
					t.committed(counts[1])
				})
			})
			t.Run(fmt.Sprintf("%s, %d to %d, and it is back", d.name, counts[0], counts[1]), func(t *testing.T) {
				resharding(t, counts[0], 3, func(t *team) {
					b := t.nodes[1]
					gone := lose(b, d.method, d.after)
					t.begin(t.nodes[0], counts[1])
					t.until("the loss", gone)
					time.Sleep(9 * time.Second)
					b.set(nil) // it has been deposed
					t.committed(counts[1])
				})
			})
		}
	}
}

// Who dies after the commit, before it has seen it, is taken over from like anyone.
func TestReshardDeathCommitted(t *testing.T) {
	for _, back := range []bool{false, true} {
		resharding(t, 16, 3, func(t *team) {
			b := t.nodes[1]
			gone := false
			b.set(func(m string) fleettest.Fault {
				gone = gone || t.view().Plan.Shards == 24
				return fleettest.Fault{Lose: gone}
			})
			t.begin(t.nodes[0], 24)
			t.until("the commit", func() bool { return t.view().Plan.Shards == 24 })
			if back {
				time.Sleep(9 * time.Second)
				b.set(nil)
			} else {
				t.dies(b)
			}
			t.committed(24)
		})
	}
}

// Everybody but one dies, and that one goes on.
func TestReshardLastOne(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.begin(t.nodes[0], 24)
		time.Sleep(500 * time.Millisecond)
		t.dies(t.nodes[0])
		t.dies(t.nodes[0])
		t.committed(24)
	})
}

// A lost answer costs nothing but time.
func TestReshardLostAnswers(t *testing.T) {
	for _, method := range []string{"Propose", "Report", "Agree", "Switch", "Prepare", "Commit", "Look", "Beat"} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s %d", method, n), func(t *testing.T) {
				resharding(t, 16, 3, func(t *team) {
					if method == "Look" { // it is not for what is asked at once
						t.begin(t.nodes[0], 24)
					}
					for _, node := range t.nodes {
						left := n
						node.set(func(m string) fleettest.Fault {
							if m == method && left > 0 {
								left--
								return fleettest.Fault{LoseAnswer: true}
							}
							return fleettest.Fault{}
						})
					}
					if method != "Look" {
						t.begin(t.nodes[0], 24)
					}
					t.committed(24)
					if f := t.view().Reshard.Failures; f > 0 {
						t.Errorf("%d attempts have failed", f)
					}
				})
			})
		}
	}
}

// A shard that is acquired again meanwhile has the new ones of its class begun again.
func TestReshardBeginsAgain(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 24)
		t.until("new shards", func() bool { return b.engine.Ready() > 0 })
		begun := b.engine.begun
		drop(b)
		t.committed(24)
		if n := b.engine.begun; n != begun+3 {
			t.Errorf("%d new shards were begun, and %d before, want 3 more", n, begun)
		}
		if f := t.view().Reshard.Failures; f > 0 {
			t.Errorf("%d attempts have failed", f)
		}
	})
}

// Who has agreed and does not any more says so: there is no switch meanwhile.
func TestReshardDisagrees(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 32)
		t.until("an agreement", func() bool { return t.agreed(b) })
		b.engine.mu.Lock()
		for id := range b.engine.next {
			b.engine.ready[id] = time.Now().Add(9 * time.Second)
			break
		}
		b.engine.set++
		b.engine.mu.Unlock()
		time.Sleep(8 * time.Second)
		t.check(16)
		t.committed(32)
		if f := t.view().Reshard.Failures; f > 0 {
			t.Errorf("%d attempts have failed", f)
		}
	})
}

// So does one whose shards are all ready, and do not show the same any more.
func TestReshardDiffers(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[2].engine.slow = 5 * time.Second
		b := t.nodes[1]
		t.begin(t.nodes[0], 32)
		t.until("an agreement", func() bool { return t.agreed(b) })
		b.engine.mu.Lock()
		b.engine.differs = time.Now().Add(9 * time.Second)
		b.engine.set++
		b.engine.mu.Unlock()
		time.Sleep(2 * time.Second)
		if t.agreed(b) {
			t.Error("it agrees still")
		}
		t.committed(32)
		if f := t.view().Reshard.Failures; f > 0 {
			t.Errorf("%d attempts have failed", f)
		}
	})
}

// An engine that hangs at the switch has the others go on without the switch after a while, and switch later.
func TestReshardHangs(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		t.nodes[1].engine.stalls = 25 * time.Second
		t.begin(t.nodes[0], 32)
		t.until("a failure", func() bool { return t.view().Reshard.Failures == 1 })
		if f := t.view().Reshard.Failure; !strings.HasSuffix(f, "it has not come about within 10s") {
			t.Errorf("the failure: %s", f)
		}
		t.committed(32)
	})
}

// What a deposed member's engine has of a commit that was slow to come in force is dropped.
func TestReshardDeposedMeanwhile(t *testing.T) {
	resharding(t, 16, 3, func(t *team) {
		b := t.nodes[1]
		b.engine.delays = 15 * time.Second
		t.begin(t.nodes[0], 32)
		t.until("the commit", func() bool { return t.view().Plan.Shards == 32 })
		time.Sleep(100 * time.Millisecond) // and it knows
		b.set(lost)
		time.Sleep(9 * time.Second)
		b.set(nil)
		time.Sleep(20 * time.Second)
		t.check(32)
	})
}

// A member whose engine is late to follow runs nothing of the new count until it does.
func TestReshardFollows(t *testing.T) {
	resharding(t, 16, 1, func(t *team) {
		a := t.nodes[0]
		t.begin(a, 24)
		t.waits = make(chan struct{})
		x := t.add("x")
		t.until("the commit", func() bool { return t.view().Plan.Shards == 24 })
		t.dies(a)
		time.Sleep(20 * time.Second)
		if n := len(x.engine.runs); n > 0 {
			t.Errorf("%d shards run in an engine of another count", n)
		}
		close(t.waits)
		time.Sleep(20 * time.Second)
		t.check(24)
	})
}

// A member whose first call to join again has lost its answer, and which is deposed before the next, joins all the same.
func TestJoinsAgain(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		b := t.nodes[1]
		b.set(lost)
		time.Sleep(9 * time.Second)
		joins := 0
		b.set(func(m string) fleettest.Fault {
			if m == "Join" {
				joins++
				return fleettest.Fault{LoseAnswer: joins == 1, Lose: joins > 1}
			}
			return fleettest.Fault{}
		})
		time.Sleep(20 * time.Second)
		b.set(nil)
		time.Sleep(30 * time.Second)
		t.check(16)
		if n := len(b.engine.runs); n != 8 {
			t.Errorf("it has %d shards", n)
		}
	})
}

// A member of an earlier version runs no other count: the switch waits until it is gone, and the status says so.
func TestReshardEarlierVersion(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late %v", late), func(t *testing.T) {
			resharding(t, 16, 2, func(t *team) {
				ctx := context.Background()
				if late { // it joins in the middle of the switch
					t.nodes[1].engine.stalls = 2 * time.Second
				}
				t.begin(t.nodes[0], 32)
				t.until("the switch", func() bool { return !late || t.view().Reshard.Stage == fleet.ReshardSwitching })
				old := fleet.Member{Incarnation: "i", Name: "old", Weight: 1, State: fleet.Up}
				if _, err := t.c.Join(ctx, old, t.view().Plan); err != nil {
					t.Fatal(err)
				}
				for range 60 {
					old.Beat++
					if _, err := t.c.Beat(ctx, old, 0); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				t.check(16)
				if s := t.nodes[1].Resharding(); !strings.Contains(s.Failure, "said of it by old") {
					t.Errorf("the status: %+v", s)
				}
				if err := t.c.Leave(ctx, old.Incarnation); err != nil {
					t.Fatal(err)
				}
				t.committed(32)
			})
		})
	}
}

// One that joins in the middle of the switch does not end the attempt.
func TestReshardJoinedMeanwhile(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		t.nodes[1].engine.stalls = 5 * time.Second
		t.begin(t.nodes[0], 32)
		t.until("the switch", func() bool { return t.view().Reshard.Stage == fleet.ReshardSwitching })
		t.add("x")
		t.committed(32)
		if f := t.view().Reshard.Failures; f > 0 {
			t.Errorf("%d attempts have failed", f)
		}
	})
}

// When a failover forgets that an attempt was aborted, that attempt is aborted again: what was prepared for it is old.
func TestReshardForgetsAbort(t *testing.T) {
	resharding(t, 16, 0, func(t *team) {
		for _, name := range []string{"a", "b", "c"} {
			t.add(name)
			time.Sleep(330 * time.Millisecond) // their beats
		}
		time.Sleep(20 * time.Second)
		t.check(16)
		t.c.Remember(1000)
		a := t.nodes[0]
		a.engine.stalls = 500 * time.Millisecond // the others prepare
		failures := 1
		a.engine.fails = func() error {
			if failures--; failures == 0 {
				return errors.New("no such luck")
			}
			return nil
		}
		t.begin(a, 32)
		t.until("the abort", func() bool { return t.view().Reshard.Failures == 1 })
		time.Sleep(2 * time.Second)
		for range 1000 {
			if t.c.Forget(1); t.view().Reshard.Stage == fleet.ReshardSwitching {
				break
			}
		}
		r := t.view().Reshard
		if r.Stage != fleet.ReshardSwitching || len(r.Voices) != 3 || r.Failures != 0 {
			t.Fatalf("what is not forgotten: %+v", r)
		}
		t.committed(32)
		if is := t.view().Reshard; is.Attempt <= r.Attempt || is.Failures != 1 {
			t.Errorf("attempt %d is committed after %d failures, and the one that was aborted is %d", is.Attempt, is.Failures, r.Attempt)
		}
	})
}

// When nobody reaches the coordinator for longer than a switch may take, what all have prepared before is committed then,
// and who has not prepared has the time for it.
func TestReshardOutage(t *testing.T) {
	for _, prepared := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(prepared), func(t *testing.T) {
			resharding(t, 16, 3, func(t *team) {
				var mu sync.Mutex
				var since time.Time
				for _, n := range t.nodes {
					n.set(func(m string) fleettest.Fault {
						mu.Lock()
						defer mu.Unlock()
						if m == "Commit" && since.IsZero() {
							has := 0
							for _, v := range t.view().Reshard.Voices {
								if v.Prepared {
									has++
								}
							}
							if has == prepared {
								since = time.Now()
							}
						}
						return fleettest.Fault{Lose: !since.IsZero() && time.Since(since) < 15*time.Second}
					})
				}
				for _, n := range t.nodes[prepared:] {
					n.engine.stalls = time.Second
				}
				t.begin(t.nodes[0], 32)
				t.committed(32)
				if mu.Lock(); since.IsZero() {
					t.Error("there was no outage")
				}
				mu.Unlock()
				if f := t.view().Reshard.Failures; f > 0 {
					t.Errorf("%d attempts have failed", f)
				}
			})
		})
	}
}

// A commit that fails all the time does not hold the old shards up.
func TestReshardCannotCommit(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		for _, n := range t.nodes {
			n.set(func(m string) fleettest.Fault { return fleettest.Fault{Lose: m == "Commit"} })
		}
		t.begin(t.nodes[0], 32)
		t.until("a failure", func() bool { return t.view().Reshard.Failures == 1 })
		time.Sleep(time.Second)
		t.check(16)
		for _, n := range t.nodes {
			n.set(nil)
		}
		t.committed(32)
	})
}

// A member with the former shard count in its settings joins again, also when those that have proposed another had none in theirs.
func TestReshardSettings(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		x := t.addWith("x", 16)
		time.Sleep(20 * time.Second)
		for _, to := range []int{32, 24} {
			t.begin(t.nodes[0], to)
			t.committed(to)
			x.set(lost)
			time.Sleep(9 * time.Second)
			x.set(nil)
			time.Sleep(30 * time.Second)
			t.check(to)
			if len(x.engine.runs) == 0 {
				t.Errorf("it runs none of %d shards", to)
			}
		}
	})
}

// When a failover forgets a switch whose old shards have stopped, the attempt is aborted: nobody would go on from there.
func TestReshardForgetsSwitch(t *testing.T) {
	resharding(t, 16, 2, func(t *team) {
		t.c.Remember(1000)
		t.nodes[1].engine.stalls = 3 * time.Second
		t.begin(t.nodes[0], 32)
		t.until("the switch", func() bool { return t.view().Reshard.Stage == fleet.ReshardSwitching })
		time.Sleep(time.Second)
		for t.view().Reshard.Stage == fleet.ReshardSwitching {
			if t.c.Forget(1) == 0 {
				t.Fatal("no switch is remembered")
			}
		}
		if r := t.view().Reshard; r.Stage != fleet.ReshardPending {
			t.Fatalf("what is not forgotten: %+v", r)
		}
		t.committed(32)
	})
}
