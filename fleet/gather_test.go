package fleet

import (
	"fmt"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestGatherDecides gives tables to decide by: the owners of 12 shards, which are resharded to so many.
func TestGatherDecides(t *testing.T) {
	members := []Member{{Incarnation: "a", Beat: 9}, {Incarnation: "b", Beat: 9}, {Incarnation: "c", Beat: 9}, {Incarnation: "d", State: Draining, Beat: 9}, {Incarnation: "x", Name: "n", State: Deposed}}
	for _, c := range []struct {
		name    string
		me      string
		owners  string // of shards 0 to 11; in capitals: given, and not taken yet; -: nobody
		to      int
		begun   []Handover
		silent  string
		returns bool
		stage   ReshardStage
		acquire []int
		give    string
	}{
		{name: "a multiple, uneven: nothing moves", me: "a", owners: "aaaaaaaaaabc", to: 24},
		{name: "to its home", me: "b", owners: "abbcaabcaabc", to: 16, give: "1>a"},
		{name: "and not away from it", me: "a", owners: "abbcaabcaabc", to: 16},
		{name: "among equals by class, the first", me: "b", owners: "aabaabbbbbbb", to: 18, give: "6>a 10>a"},
		{name: "among equals by class, the second", me: "a", owners: "aabaabbbbbbb", to: 18, give: "1>b 3>b"},
		{name: "what is begun is not begun again", me: "b", owners: "abbcaabcaabc", to: 16, begun: []Handover{{1, "a"}}},
		{name: "nothing to one who is silent", me: "b", owners: "abbcaabcaabc", to: 16, silent: "a"},
		{name: "nothing is taken back that is given", me: "a", owners: "abcabcABcabc", to: 18},
		{name: "orphans of a class to its home", me: "a", owners: "a--abc-xcabc", to: 18, acquire: []int{6}},
		{name: "and not to others", me: "b", owners: "abcabca-cabc", to: 18, acquire: []int{7}},
		{name: "orphans without a home as a class", me: "c", owners: "aaaxaaxabxab", to: 18, acquire: []int{3, 9}},
		{name: "a class without a home goes as a whole", me: "c", owners: "aabx-baab-xb", to: 18, acquire: []int{3, 4, 9, 10}},
		{name: "what drains goes to its home", me: "d", owners: "abcdbcabcabc", to: 18, give: "3>a"},
		{name: "and as a class without one", me: "d", owners: "ddabbcddabbc", to: 18, give: "0>a 6>a 1>c 7>c"},
		{name: "where it has begun to go", me: "d", owners: "dbabbcdbabbc", to: 18, begun: []Handover{{0, "b"}}, give: "6>b"},
		{name: "who is up takes nothing of it before", me: "a", owners: "ddabbcddabbc", to: 18},
		{name: "nothing moves at the switch", me: "a", owners: "bb-bbbbbabxa", to: 18, stage: ReshardSwitching},
		{name: "nor does what drains", me: "d", owners: "bbdbbbbbabda", to: 18, stage: ReshardSwitching},
		{name: "what is left for a name is left", me: "a", owners: "xbcabcxbcabc", to: 18, returns: true},
		{name: "but not of a class with a home", me: "a", owners: "xbcabcabcabc", to: 18, returns: true, acquire: []int{0}},
	} {
		now := time.Unix(1e9, 0)
		table := Table{
			Now: now, Coordinator: now, Members: members, Plan: Plan{Generation: 1, Shards: len(c.owners)}, Changed: now, Begun: c.begun,
			Reshard: Reshard{Stage: max(c.stage, ReshardPending), Generation: 2, Shards: c.to},
			Deposed: map[string]time.Time{"x": now}, Silent: map[string]bool{c.silent: true},
		}
		for i, o := range strings.Split(c.owners, "") {
			s := Shard{ID: i, Owner: Owner{Epoch: 5}}
			if o != "-" {
				s.Owner.Incarnation = strings.ToLower(o)
			}
			if o != strings.ToLower(o) {
				s.Giver = "c"
			}
			table.Shards = append(table.Shards, s)
		}
		rules := Rules{Moves: 12}
		if c.returns {
			rules.Return = time.Minute
		}
		d := Decide(c.me, table, rules)
		var acquire []int
		for _, w := range d.Acquire {
			acquire = append(acquire, w.Shard)
		}
		var give []string
		for _, h := range d.Give {
			give = append(give, fmt.Sprintf("%d>%s", h.Shard, h.To))
		}
		if got := strings.Join(give, " "); got != c.give || !reflect.DeepEqual(acquire, c.acquire) {
			t.Errorf("%s: %s acquires %v and gives %q, want %v and %q", c.name, c.me, acquire, got, c.acquire, c.give)
		}
	}
}

// gathered fails unless each class is at one member that is up.
func (w *world) gathered(what string) {
	w.t.Helper()
	n := classes(len(w.shards), w.reshard.Shards)
	for i := range w.shards {
		a, b := w.shards[i].Owner.Incarnation, w.shards[i%n].Owner.Incarnation
		if p := w.find(a); a != b || p == nil || p.State != Up {
			w.t.Fatalf("%s: %d to %d: shard %d is %s's, and %d is %s's", what, len(w.shards), w.reshard.Shards, i, a, i%n, b)
		}
	}
}

// fewest is how many moves it takes to gather.
func (w *world) fewest() int {
	n := classes(len(w.shards), w.reshard.Shards)
	moves := len(w.shards)
	for c := range n {
		has, most := make(map[string]int), 0
		for s := c; s < len(w.shards); s += n {
			has[w.shards[s].Owner.Incarnation]++
			most = max(most, has[w.shards[s].Owner.Incarnation])
		}
		moves -= most
	}
	return moves
}

// TestGather gathers the classes of random fleets, to which one thing happens meanwhile, or nothing.
func TestGather(t *testing.T) {
	gathers, total := 0, 0
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		w := start(t, seed, 1+r.Intn(120), 1+r.Intn(8))
		w.drain = time.Duration(seed%3) * time.Second
		w.late = float64(seed%4) * 0.1
		w.reshard = Reshard{Stage: ReshardPending, Generation: 2, Shards: 1 + r.Intn(120), Attempt: 1}
		if r.Intn(2) == 0 {
			w.reshard.Shards = len(w.shards) * 3 / 2
		}
		if w.reshard.Shards == len(w.shards) {
			continue
		}
		least, before := w.fewest(), len(w.members)
		for range r.Intn(4) {
			w.step()
		}
		what := []string{"nothing", "a join", "a death", "a drain"}[r.Intn(4)]
		switch {
		case what == "a join":
			w.join("z", "", 1)
		case before == 1:
			what = "nothing"
		case what == "a death":
			w.kill(w.members[r.Intn(before)])
		case what == "a drain":
			w.sigterm(w.members[r.Intn(before)])
		}
		w.run()
		w.gathered(what)
		gathers++
		total += len(w.log)
		switch {
		case what == "nothing" || what == "a join":
			if len(w.log) != least {
				t.Errorf("seed %d, %s: %d moves, want %d", seed, what, len(w.log), least)
			}
			fallthrough
		case w.late == 0 && what == "a death":
			if n := w.most(); n > 1 {
				t.Errorf("seed %d, %s: a shard has moved %d times", seed, what, n)
			}
		default:
			if n := w.most(); n > 2 {
				t.Errorf("seed %d, %s: a shard has moved %d times", seed, what, n)
			}
		}
		// Called off, the shares are even again.
		w.reshard, w.log = Reshard{}, nil
		w.run()
		w.balanced(true)
	}
	t.Logf("%d fleets, %d moves", gathers, total)
}

// TestCountFor gives the count that the members are resharded to, by the present one.
func TestCountFor(t *testing.T) {
	for _, c := range []struct{ from, shards, members, want int }{
		{150, 167, 3, 168}, {150, 167, 1, 167}, {151, 167, 3, 302}, {160, 176, 16, 176}, {2, 3, 5, 4}, {2, 4, 5, 4}, {0, 3, 0, 3},
	} {
		if n := countFor(c.from, c.shards, c.members); n != c.want {
			t.Errorf("%d shards of %d members, %d at the least: %d, want %d", c.from, c.members, c.shards, n, c.want)
		}
	}
}
