package fleet

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// start returns a fleet that has come to rest.
func start(t *testing.T, seed int64, shards, members int) *world {
	w := newWorld(t, seed, shards)
	for i := range members {
		w.join(fmt.Sprint("a", i), "", 1)
	}
	w.run()
	w.balanced(false)
	w.log = nil
	return w
}

// TestShareStart starts fleets from nothing, members joining within a second or two: nothing moves.
func TestShareStart(t *testing.T) {
	for _, c := range []struct{ shards, members int }{{1, 3}, {2, 2}, {64, 1}, {64, 5}, {3, 10}, {1000, 16}} {
		w := newWorld(t, 1, c.shards)
		for i := range c.members {
			w.join(fmt.Sprint("a", i), "", 1)
			if i == 0 || i == c.members/2 {
				w.step()
			}
		}
		if n := c.shards - w.owned(""); n < 1 || n > c.members {
			t.Errorf("%d shards, %d members: %d are acquired at once, want one for each", c.shards, c.members, n)
		}
		took := w.run()
		w.balanced(false)
		if len(w.log) > 0 || took > 4*time.Second {
			t.Errorf("%d shards, %d members: %d moves, want none, and balanced after %v", c.shards, c.members, len(w.log), took)
		}
	}
}

// TestShareOrphansAtOnce: nobody waits for a young member, or for Settle, once the fleet runs.
func TestShareOrphansAtOnce(t *testing.T) {
	w := start(t, 1, 64, 4)
	dead := w.members[1]
	w.kill(dead)
	for range 5 {
		w.step()
	}
	w.join("b", "", 1)
	for dead.State != Deposed {
		w.step()
	}
	w.step()
	if n := w.owned(dead.Incarnation); n > 0 {
		t.Errorf("%d shards are left to the dead", n)
	}
	w.run()
	w.balanced(false)
	if len(w.log) > 0 {
		t.Errorf("%d shards have moved between the living, want none: the new one takes what the dead one had", len(w.log))
	}
}

// TestShareFewest makes one change to a fleet at rest, and demands the number of moves that it
// takes at least.
func TestShareFewest(t *testing.T) {
	total := 0
	for seed := range int64(150) {
		w := newWorld(t, seed, 1+rand.New(rand.NewSource(seed)).Intn(300))
		for i := range 1 + w.rand.Intn(9) {
			w.join(fmt.Sprint("a", i), "", 1+w.rand.Intn(3)*w.rand.Intn(2))
		}
		w.run()
		w.balanced(true)
		w.log = nil
		w.drain = time.Duration(seed%4) * time.Second
		change := [...]string{"join", "drain", "both"}[w.rand.Intn(3)]
		if change != "drain" || len(w.members) == 1 {
			for i := range 1 + w.rand.Intn(3) {
				w.join(fmt.Sprint("b", i), "", 1+w.rand.Intn(2))
			}
		}
		if change != "join" && len(w.members) > 1 {
			w.sigterm(w.members[0])
		}
		before, least := w.shares(), w.least()
		w.run()
		w.balanced(true)
		total += least
		// Within the slack nothing needs to move, so that there may be fewer.
		if len(w.log) > least {
			t.Errorf("seed %d, %s: %d moves, want at most %d: %s, then %s", seed, change, len(w.log), least, before, w.shares())
		}
	}
	t.Logf("%d moves at least", total)
}

// TestShareDeath: what the dead had is divided, and nothing else moves.
func TestShareDeath(t *testing.T) {
	for seed := range int64(100) {
		w := start(t, seed, 100, 3+int(seed)%7)
		w.kill(w.members[w.rand.Intn(len(w.members))])
		w.run()
		w.balanced(false)
		if len(w.log) > 0 {
			t.Errorf("seed %d: %d moves, want none: %s", seed, len(w.log), w.shares())
		}
	}
}

// TestShareDeployOnce replaces ten members by ten new ones at the same time.
func TestShareDeployOnce(t *testing.T) {
	for _, wait := range []int{0, 1, 5} {
		w := start(t, 1, 640, 10)
		old := slices.Clone(w.members)
		for i := range 10 {
			w.join(fmt.Sprint("b", i), "", 1)
		}
		for range wait {
			w.step()
		}
		for _, p := range old {
			w.sigterm(p)
		}
		took := w.run()
		w.balanced(false)
		if w.most() > 1 || len(w.log) != 640 {
			t.Errorf("%d moves, a shard moved %d times, want each once", len(w.log), w.most())
		}
		t.Logf("old ones stop %d s after the new have joined: %d moves in %v", wait, len(w.log), took)
	}
}

// TestShareDeployRolling restarts or replaces ten members, one by one.
func TestShareDeployRolling(t *testing.T) {
	for _, c := range []struct {
		name       string
		surge      bool // the new one joins before the old one stops
		pause      int  // seconds from one to the next
		most, many int
	}{
		{"replaced, fast", true, 2, 1, 640},
		{"replaced, slowly", true, 40, 2, 1000},
		{"restarted, fast", false, 2, 2, 1280},
		{"restarted, slowly", false, 40, 4, 1280},
	} {
		w := start(t, 1, 640, 10)
		for i, p := range slices.Clone(w.members) {
			if c.surge {
				w.join(fmt.Sprint("0", i), "", 1)
				w.step()
				w.step()
			}
			w.sigterm(p)
			for w.find(p.Incarnation) != nil {
				w.step()
			}
			if !c.surge {
				w.join(fmt.Sprint("0", i), "", 1)
			}
			for range c.pause {
				w.step()
			}
		}
		w.run()
		w.balanced(false)
		if w.most() > c.most || len(w.log) > c.many {
			t.Errorf("%s: %d moves, a shard moved %d times, want at most %d and %d", c.name, len(w.log), w.most(), c.many, c.most)
		}
		t.Logf("%s: %d moves, a shard moved at most %d times", c.name, len(w.log), w.most())
	}
}

// TestShareSeeds lets members of any weight and zone join, stop and die at any time, late rounds included.
func TestShareSeeds(t *testing.T) {
	for seed := range int64(100) {
		w := newWorld(t, seed, 1+rand.New(rand.NewSource(seed)).Intn(200))
		w.late = []float64{0, 0.2}[seed%2]
		w.drain = time.Duration(w.rand.Intn(3)) * time.Second
		if seed%5 == 0 {
			w.rules.Return = 10 * time.Second
		}
		add := func() {
			w.join(fmt.Sprint("m", w.rand.Intn(12)), fmt.Sprint("zone", w.rand.Intn(3)), 1+w.rand.Intn(3))
		}
		add()
		for range 20 + w.rand.Intn(20) {
			up := slices.DeleteFunc(slices.Clone(w.members), func(p *process) bool { return p.State != Up || !p.dead.IsZero() })
			switch x := w.rand.Intn(4); {
			case x < 2 && len(up) < 12 || len(up) < 2:
				add()
			case x == 2:
				w.sigterm(up[w.rand.Intn(len(up))])
			default:
				w.kill(up[w.rand.Intn(len(up))])
			}
			for range w.rand.Intn(1 + w.rand.Intn(30)) {
				w.step()
			}
		}
		w.run()
		w.balanced(true)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestShareAnyTable starts from tables that no fleet could have come to.
func TestShareAnyTable(t *testing.T) {
	for seed := range int64(200) {
		w := newWorld(t, seed, 1+rand.New(rand.NewSource(seed)).Intn(200))
		some := func() string { return [...]string{"", "nobody1", "nobody2"}[w.rand.Intn(3)] }
		up := 0
		for i := range 1 + w.rand.Intn(9) {
			p := w.join(fmt.Sprint("m", i), fmt.Sprint("zone", w.rand.Intn(3)), w.rand.Intn(5))
			p.Beat = int64(w.rand.Intn(5))
			if i > 0 {
				p.State = State(w.rand.Intn(3))
			}
			if p.State == Up {
				p.Weight = max(p.Weight, 1)
				up++
			}
		}
		for i := range w.shards {
			owner, giver := some(), ""
			if w.rand.Intn(4) > 0 {
				owner = w.members[w.rand.Intn(len(w.members))].Incarnation
				if w.rand.Intn(4) == 0 {
					giver = w.members[w.rand.Intn(len(w.members))].Incarnation
				}
			}
			w.set(i, Owner{owner, int64(w.rand.Intn(1000))}, giver)
		}
		w.run()
		w.balanced(true)
	}
}

// TestShareDivides lets all members decide by one table: each orphan is wanted by exactly one.
func TestShareDivides(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		table := Table{Now: time.Unix(1000, 0), Plan: Plan{Shards: 1 + r.Intn(300)}}
		for i := range 1 + r.Intn(20) {
			table.Members = append(table.Members, Member{Incarnation: fmt.Sprintf("m%02d", i), Weight: 1 + r.Intn(3), Beat: 100, State: State(r.Intn(3))})
		}
		table.Members[0].State = Up
		orphans := 0
		for i := range table.Plan.Shards {
			s := Shard{ID: i}
			if m := table.Members[r.Intn(len(table.Members))]; r.Intn(2) == 0 {
				s.Owner = Owner{m.Incarnation, 1}
				if m.State == Deposed {
					orphans++
				}
			} else {
				orphans++
			}
			table.Shards = append(table.Shards, s)
		}
		wanted := map[int]string{}
		for _, m := range table.Members {
			d := Decide(m.Incarnation, table, Rules{})
			for _, want := range d.Acquire {
				if other, ok := wanted[want.Shard]; ok {
					t.Fatalf("seed %d: shard %d is wanted by %s and by %s", seed, want.Shard, other, m.Incarnation)
				}
				if want.From != table.Shards[want.Shard].Owner {
					t.Fatalf("seed %d: %v wanted, owner %v", seed, want, table.Shards[want.Shard].Owner)
				}
				wanted[want.Shard] = m.Incarnation
			}
			if m.State != Up && len(d.Acquire) > 0 || m.State == Deposed && len(d.Give) > 0 {
				t.Fatalf("seed %d: %v decides %v", seed, m, d)
			}
		}
		if len(wanted) != orphans {
			t.Fatalf("seed %d: %d of %d orphans are wanted", seed, len(wanted), orphans)
		}
	}
}

// TestShareZones: among equals, shards go to the zone that has the fewest.
func TestShareZones(t *testing.T) {
	w := newWorld(t, 1, 9)
	for i := range 6 {
		w.join(fmt.Sprint("m", i), [...]string{"a", "b", "c"}[i/2], 1) // 1.5 each
	}
	w.run()
	zones := map[string]int{}
	for _, p := range w.members {
		zones[p.Zone] += w.owned(p.Incarnation)
	}
	if zones["a"] != 3 || zones["b"] != 3 || zones["c"] != 3 {
		t.Errorf("9 shards in three zones: %v, want 3 each", zones)
	}
}

// TestShareReturn leaves the shards of a deposed member to its name.
func TestShareReturn(t *testing.T) {
	for _, back := range []bool{true, false} {
		w := newWorld(t, 1, 40)
		w.rules.Return = 10 * time.Second
		for i := range 4 {
			w.join(fmt.Sprint("a", i), "", 1)
		}
		w.run()
		dead := w.members[2]
		var had []int
		for _, s := range w.shards {
			if s.Owner.Incarnation == dead.Incarnation {
				had = append(had, s.ID)
			}
		}
		w.kill(dead)
		for dead.State != Deposed {
			w.step()
		}
		deposed := w.now
		for w.now.Sub(deposed) < 8*time.Second {
			w.step()
		}
		if n := w.owned(dead.Incarnation); n != 10 {
			t.Fatalf("8 s after a2 was deposed it owns %d shards, want 10", n)
		}
		if back {
			p := w.join("a2", "", 1)
			w.step()
			for _, s := range had {
				if w.shards[s].Owner.Incarnation != p.Incarnation {
					t.Fatalf("shard %d of a2 is %v's, want the new incarnation's", s, w.shards[s].Owner)
				}
			}
		}
		w.run()
		w.balanced(false)
		if len(w.log) > 0 {
			t.Errorf("%d moves, want none", len(w.log))
		}
	}
}

// TestShareLowest: orphans that are fewer than what is missing go to whoever is furthest below its share.
func TestShareLowest(t *testing.T) {
	table := Table{Members: []Member{{Incarnation: "a", Weight: 1, Beat: 9}, {Incarnation: "b", Weight: 1, Beat: 9}, {Incarnation: "c", Weight: 1, Beat: 9}}}
	for i := range 30 {
		s := Shard{ID: i, Owner: Owner{"a", 1}}
		if i >= 20 {
			s.Owner = Owner{"b", 1}
		}
		if i >= 25 {
			s.Owner = Owner{}
		}
		table.Shards = append(table.Shards, s)
	}
	if b, c := len(Decide("b", table, Rules{}).Acquire), len(Decide("c", table, Rules{}).Acquire); b != 0 || c != 5 {
		t.Errorf("b, with 5 of 10, acquires %d, and c, with none, %d; want 0 and 5", b, c)
	}
}

// TestShareMovesOfOthers: what others have in flight counts as part of Moves, those that drain included.
func TestShareMovesOfOthers(t *testing.T) {
	table := Table{Now: time.Unix(1000, 0), Members: []Member{
		{Incarnation: "a", Weight: 1, Beat: 9}, {Incarnation: "b", Weight: 1, Beat: 9}, {Incarnation: "c", Weight: 1, Beat: 9, State: Draining},
	}}
	for i := range 40 {
		s := Shard{ID: i, Owner: Owner{"a", 1}}
		if i >= 37 {
			s = Shard{ID: i, Owner: Owner{"b", 1}, Giver: "c"}
		}
		table.Shards = append(table.Shards, s)
	}
	for moves, want := range map[int]int{1: 0, 3: 0, 4: 1, 10: 7} {
		if n := len(Decide("a", table, Rules{Moves: moves}).Give); n != want {
			t.Errorf("of %d, 3 of others: a begins %d, want %d", moves, n, want)
		}
	}
}

// TestShareHeld: nothing is balanced while shards are left for a name, since its return changes all shares.
func TestShareHeld(t *testing.T) {
	table := Table{Now: time.Unix(1000, 0), Members: []Member{
		{Incarnation: "a", Weight: 1, Beat: 9}, {Incarnation: "b", Weight: 1, Beat: 9}, {Incarnation: "c", Weight: 1, Beat: 9},
		{Incarnation: "d", Weight: 1, Beat: 9, State: Deposed, Name: "d"},
	}}
	for i, n := range []int{18, 12, 0, 10} {
		for range n {
			table.Shards = append(table.Shards, Shard{ID: len(table.Shards), Owner: Owner{table.Members[i].Incarnation, 1}})
		}
	}
	for _, ago := range []time.Duration{9 * time.Second, 10 * time.Second} {
		table.Deposed = map[string]time.Time{"d": table.Now.Add(-ago)}
		r := Rules{Return: 10 * time.Second}
		gives, acquires := len(Decide("a", table, r).Give), len(Decide("c", table, r).Acquire)
		if held := ago < r.Return; held != (gives == 0) || held != (acquires == 0) {
			t.Errorf("%v after d was deposed a gives %d shards, and c acquires %d", ago, gives, acquires)
		}
	}
}

// TestShareSlack: a fleet within the slack stays as it is; whatever is outside is balanced to the end.
func TestShareSlack(t *testing.T) {
	for _, c := range []struct {
		name string
		has  []int
		want []int
	}{
		{"within", []int{109, 92, 99}, []int{109, 92, 99}},
		{"above", []int{111, 95, 94}, []int{100, 100, 100}},
		{"below", []int{109, 109, 82}, []int{100, 100, 100}},
		{"a whole shard", []int{2, 0}, []int{1, 1}},
		{"less than one", []int{3, 2, 3}, []int{3, 2, 3}},
		{"rounding", []int{5, 3, 3, 1}, []int{3, 3, 3, 3}},
	} {
		w := newWorld(t, 1, 0)
		for i, n := range c.has {
			p := w.join(fmt.Sprint("m", i), "", 1)
			p.Incarnation, p.Beat = p.Name, 10
			for range n {
				w.shards = append(w.shards, Shard{ID: len(w.shards)})
				w.changed = append(w.changed, 0)
				w.set(len(w.shards)-1, Owner{p.Incarnation, 1}, "")
			}
		}
		w.plan.Shards = len(w.shards)
		w.run()
		for i, p := range w.members {
			if n := w.owned(p.Incarnation); n != c.want[i] {
				t.Errorf("%s: %v becomes %s want %v", c.name, c.has, w.shares(), c.want)
				break
			}
		}
	}
}

// TestShareMoves: no more handovers are pending than Moves, and those of one drain than Drain, as far as members see.
func TestShareMoves(t *testing.T) {
	w := start(t, 1, 300, 3)
	w.rules.Moves, w.rules.Drain = 4, 7
	w.drain = 3 * time.Second
	most := func(rounds int) (n int) {
		for range rounds {
			w.step()
			now := 0
			for i := range w.shards {
				if w.shards[i].Giver != "" {
					now++
				}
			}
			for _, p := range w.members {
				now += len(p.begun)
			}
			n = max(n, now)
		}
		return n
	}
	w.join("b", "", 1)
	if n := most(60); n != 4 {
		t.Errorf("%d handovers pending, want 4", n)
	}
	w.run()
	w.sigterm(w.members[0])
	if n := most(9); n != 7 {
		t.Errorf("%d handovers of one that drains, want 7", n)
	}
}

// TestShareSilent: who has not beaten lately is given nothing, and others take its part of the orphans.
func TestShareSilent(t *testing.T) {
	table := Table{Now: time.Unix(1000, 0), Silent: map[string]bool{"b": true}, Members: []Member{
		{Incarnation: "a", Weight: 1, Beat: 9}, {Incarnation: "b", Weight: 1, Beat: 9}, {Incarnation: "c", Weight: 1, Beat: 9, State: Draining},
	}}
	for i := range 20 {
		s := Shard{ID: i}
		if i >= 10 {
			s.Owner = Owner{"c", 1}
		}
		table.Shards = append(table.Shards, s)
	}
	if d := Decide("a", table, Rules{}); len(d.Acquire) != 10 {
		t.Errorf("a acquires %d of 10", len(d.Acquire))
	}
	for _, g := range Decide("c", table, Rules{}).Give {
		if g.To != "a" {
			t.Errorf("c gives shard %d to %s", g.Shard, g.To)
		}
	}
}

// TestShareLarge has the size that the issue names: 50 members, 10,000 shards.
func TestShareLarge(t *testing.T) {
	w := newWorld(t, 1, 10000)
	for i := range 50 {
		w.join(fmt.Sprint("a", i), "", 1)
	}
	took := w.run()
	w.balanced(false)
	t.Logf("from nothing: %v, %d moves", took, len(w.log))

	w.log = nil
	w.join("b", "", 1)
	least := w.least()
	took = w.run()
	w.balanced(false)
	t.Logf("the 51st: %v, %d moves, %d at least", took, len(w.log), least)
	if len(w.log) != least {
		t.Errorf("%d moves, want %d", len(w.log), least)
	}
}

// TestShareDrainAtOnce: a member that drains gives so many at once that it ends in time, and no more, those that are
// pending included.
func TestShareDrainAtOnce(t *testing.T) {
	for _, c := range []struct{ has, pending, rule, want int }{
		{1, 0, 0, 1}, {3, 0, 0, 3}, {13, 0, 0, 4}, {13, 3, 0, 1}, {13, 4, 0, 0}, {40, 0, 0, 5}, {200, 0, 0, 25}, {1000, 0, 0, 32}, {1000, 30, 0, 2}, {1000, 0, 3, 3},
	} {
		table := Table{Now: time.Unix(1000, 0), Members: []Member{
			{Incarnation: "a", Weight: 1, Beat: 9}, {Incarnation: "b", Weight: 1, Beat: 9, State: Draining},
		}}
		for i := range c.has + c.pending {
			s := Shard{ID: i, Owner: Owner{"b", 1}}
			if i >= c.has {
				s = Shard{ID: i, Owner: Owner{"a", 2}, Giver: "b"}
			}
			table.Shards = append(table.Shards, s)
		}
		if n := len(Decide("b", table, Rules{Drain: c.rule}).Give); n != c.want {
			t.Errorf("%+v: gives %d", c, n)
		}
	}
}
