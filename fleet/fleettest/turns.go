// This file has the tests of turns to identify. The coordinator's clock may run meanwhile, so that
// what must not happen before a time is asserted only if it is known to be before.

package fleettest

import (
	"fmt"
	"slices"
	"time"

	"sluice/fleet"
)

// budget sets a budget of which so much remains, as Discord says now.
func (k *kit) budget(remaining, reserve, concurrency int) fleet.Budget {
	k.Helper()
	now := k.now()
	b := fleet.Budget{Total: 1000, Remaining: remaining, Reserve: reserve, Reset: now.Add(20 * time.Hour).Truncate(time.Millisecond), Concurrency: concurrency}
	k.ok(k.Budget(k.ctx, b, now.Add(time.Millisecond)))
	return b
}

// ask asks for turns.
func (k *kit) ask(incarnation string, waiting ...int) fleet.Grants {
	k.Helper()
	k.asks++
	g, err := k.Ask(k.ctx, incarnation, k.asks, waiting)
	k.ok(err)
	if g.After <= 0 || g.After > fleet.AskFor/2 {
		k.Errorf("a member is to ask again after %v", g.After)
	}
	for _, t := range g.Turns {
		if t.In < -fleet.TurnFor || t.In > fleet.IdentifyPause {
			k.Errorf("the turn of shard %d may be used in %v", t.Shard, t.In)
		}
		if k.numbers == nil {
			k.numbers = make(map[string]int64)
		}
		k.numbers[fmt.Sprint(incarnation, " ", t.Shard)] = t.Number
	}
	return g
}

// sent says that the Identify of the last turn that an incarnation had for a shard is written.
func (k *kit) sent(incarnation string, shard int) error {
	return k.Sent(k.ctx, incarnation, shard, k.numbers[fmt.Sprint(incarnation, " ", shard)])
}

// usable holds a turn to being one that may be used.
func (k *kit) usable(what string, t fleet.Turn) {
	k.Helper()
	if t.In > 0 {
		k.Errorf("%s may be used in %v", what, t.In)
	}
}

// turns asks, and holds the shards that have turns to the expected ones.
func (k *kit) turns(what, incarnation string, waiting []int, want ...int) []fleet.Turn {
	k.Helper()
	g := k.ask(incarnation, waiting...)
	if got := shardsOf(g); !slices.Equal(got, want) {
		k.Fatalf("turns %s: %v, not %v", what, got, want)
	}
	return g.Turns
}

func shardsOf(g fleet.Grants) []int {
	var shards []int
	for _, t := range g.Turns {
		shards = append(shards, t.Shard)
	}
	return sorted(shards)
}

// remains holds the budget's rest to the expected one.
func (k *kit) remains(what string, want int) {
	k.Helper()
	g := k.ask("onlooker")
	if !g.Known || g.Budget.Remaining != want {
		k.Errorf("after %s there remain %d, not %d", what, g.Budget.Remaining, want)
	}
}

// within reports whether the coordinator's clock is known not to have passed a time.
func (k *kit) within(d time.Duration, since time.Time) bool {
	k.Helper()
	return k.now().Sub(since) < d
}

var turnTests = []test{
	{"TurnsWithoutBudget", func(k *kit) {
		g := k.ask("a", 0, 1)
		k.same("turns", len(g.Turns), 0)
		k.same("the budget is known", g.Known, false)
		b := k.budget(10, 2, 1)
		g = k.ask("a", 0, 1)
		k.same("turns", shardsOf(g), []int{0})
		k.usable("it", g.Turns[0])
		b.Remaining--
		g.Budget.Reset, b.Reset = g.Budget.Reset.UTC(), b.Reset.UTC()
		k.same("the budget", []any{g.Known, g.Budget.Reset.Equal(b.Reset)}, []any{true, true})
		g.Budget.Reset, b.Reset = time.Time{}, time.Time{}
		k.same("the budget", g.Budget, b)
	}},
	{"TurnsOfTwoGenerations", func(k *kit) {
		k.budget(100, 0, 3)
		next := func(generation, id int) int { return generation*fleet.TurnStride + id }
		// buckets 0: 3 and the new 0, 1: the new 1 and 7, 2: the new 5 of two counts
		k.turns("of three buckets", "a", []int{3, next(1, 0), next(1, 1), next(1, 7), next(2, 5), next(1023, 5)}, 3, next(1, 1), next(2, 5))
		k.turns("of another, behind", "b", []int{next(3, 8)})
		k.ok(k.sent("a", next(1, 1)))
		k.turns("of an old one, before", "b", []int{4, next(3, 8)}, 4)
		k.ok(k.sent("a", 3))
		k.turns("when the old one is through", "a", []int{next(1, 0), next(1, 7), next(2, 5)}, next(1, 0), next(2, 5))
	}},
	{"TurnsOneABucket", func(k *kit) {
		k.budget(100, 0, 3)
		waiting := []int{8, 5, 7, 3, 4, 6} // buckets 0: 3 6, 1: 4 7, 2: 5 8
		for range 3 {
			k.turns("of three buckets", "a", waiting, 3, 4, 5)
		}
		k.remains("three turns", 97)
		k.turns("of another", "b", []int{0, 9})
		k.turns("of another whose bucket is free", "c", []int{1})
		k.remains("the same", 97)
	}},
	{"TurnsLowestFirst", func(k *kit) {
		k.budget(100, 0, 2)
		k.turns("of two buckets", "a", []int{0, 1}, 0, 1)
		k.turns("while others have theirs", "b", []int{2, 5})
		k.turns("while others have theirs", "c", []int{3, 4})
		k.ok(k.sent("a", 1))
		asked := k.now()
		k.ok(k.sent("a", 0))
		c := k.turns("where another waits with a lower shard", "c", []int{3, 4}, 3)
		k.turns("of the lowest", "b", []int{2, 5}, 2)
		if in := c[0].In; in > fleet.IdentifyPause || k.within(fleet.IdentifyPause/2, asked) && in < fleet.IdentifyPause/2 {
			k.Errorf("the next turn may be used in %v", in)
		}
		k.turns("of one who has sent", "a", nil)
	}},
	{"TurnsOfWhoStoppedAsking", func(k *kit) {
		k.budget(100, 0, 1)
		k.turns("of the first", "x", []int{9}, 9)
		k.turns("while another has it", "dead", []int{0})
		asked := k.now()
		k.ok(k.sent("x", 9))
		g := k.ask("b", 1)
		if len(g.Turns) > 0 && k.within(fleet.AskFor, asked) {
			k.Error("a turn is given while a lower shard waits")
		}
		k.Advance(fleet.AskFor / 2)
		g = k.ask("b", 1)
		if len(g.Turns) > 0 && k.within(fleet.AskFor, asked) {
			k.Error("a turn is given while a lower shard waits")
		}
		k.Advance(fleet.AskFor/2 + time.Millisecond)
		k.turns("when who waited with a lower shard has not asked for AskFor", "b", []int{1}, 1)
		k.turns("who asks again has to wait", "dead", []int{0})
	}},
	{"TurnsOfWhoGaveUp", func(k *kit) { // a shard that does not wait any more keeps nobody waiting
		k.budget(100, 0, 1)
		k.turns("of the first", "x", []int{9}, 9)
		k.turns("while another has it", "a", []int{0})
		k.turns("while another has it", "b", []int{1})
		k.turns("of one that gives up", "a", nil)
		k.ok(k.sent("x", 9))
		k.turns("of the lowest that waits", "b", []int{1}, 1)
	}},
	{"Sent", func(k *kit) {
		k.budget(100, 0, 2)
		k.turns("of two buckets", "a", []int{0, 1, 2}, 0, 1)
		k.Advance(2 * time.Second)
		before := k.now()
		k.ok(k.sent("a", 0))
		k.Advance(time.Second)
		k.ok(k.sent("a", 0)) // after a lost answer: nothing is later for it
		turns := k.turns("after the first is sent", "a", []int{1, 2}, 1, 2)
		k.usable("the turn of another bucket", turns[0])
		after := k.now()
		// Sent was between before and after, and so was the answer.
		if in := turns[1].In; in > fleet.IdentifyPause-time.Second || in < fleet.IdentifyPause-after.Sub(before) {
			k.Errorf("up to %v after Sent the next turn may be used in %v", after.Sub(before), in)
		}
		k.Advance(turns[1].In)
		turns = k.turns("when it may be used", "a", []int{1, 2}, 1, 2)
		k.usable("it", turns[1])
		k.remains("three turns", 97)
		k.ok(k.sent("a", 2))
		k.ok(k.sent("a", 1))
		k.turns("again of a shard that has sent", "a", []int{0}, 0)
		k.remains("four turns", 96)
	}},
	{"SentOfAnotherBucket", func(k *kit) {
		k.budget(100, 0, 2)
		k.turns("of a bucket", "a", []int{0}, 0)
		k.ok(k.sent("a", 0))
		turns := k.turns("of another bucket", "b", []int{1}, 1)
		k.usable("it", turns[0])
	}},
	{"SentWithoutTurn", func(k *kit) {
		k.budget(100, 0, 1)
		k.fails("Sent of no turn", k.sent("a", 0), fleet.ErrChanged)
		k.turns("of the first", "a", []int{0, 1}, 0)
		k.fails("Sent of a shard that waits", k.sent("a", 1), fleet.ErrChanged)
		k.fails("Sent of another's turn", k.sent("b", 0), fleet.ErrChanged)
		k.turns("after that", "a", []int{0, 1}, 0)
		k.ok(k.sent("a", 0))
		turns := k.turns("of the next", "a", []int{1}, 1)
		if len(turns) == 1 && turns[0].In <= 0 {
			k.Error("the next turn may be used at once")
		}
	}},
	{"SentOfAnEarlierTurn", func(k *kit) { // late: the shard has another turn by now
		k.budget(100, 0, 1)
		first := k.turns("of the first", "a", []int{0}, 0)[0].Number
		k.Advance(fleet.TurnFor + time.Millisecond)
		second := k.turns("when that is void", "a", []int{0}, 0)[0].Number
		if first == second {
			k.Fatalf("two turns have the number %d", first)
		}
		k.fails("Sent of the void turn", k.Sent(k.ctx, "a", 0, first), fleet.ErrChanged)
		k.turns("which that leaves", "a", []int{0}, 0)
		k.ok(k.Sent(k.ctx, "a", 0, second))
		k.ok(k.Sent(k.ctx, "a", 0, second)) // after a lost answer
		third := k.turns("of the next", "a", []int{0}, 0)[0].Number
		k.ok(k.Sent(k.ctx, "a", 0, second))
		k.turns("which that leaves", "a", []int{0}, 0)
		k.ok(k.Sent(k.ctx, "a", 0, third))
		k.fails("Sent of the first", k.Sent(k.ctx, "a", 0, first), fleet.ErrChanged)
		k.remains("three turns", 97)
	}},
	{"TurnsOfALateQuestion", func(k *kit) {
		k.budget(100, 0, 2)
		late := func(what string, number int64, waiting ...int) {
			k.Helper()
			_, err := k.Ask(k.ctx, "a", number, waiting)
			k.fails(what, err, fleet.ErrChanged)
		}
		k.asks = 10
		k.turns("of a bucket", "a", []int{0}, 0)
		late("a late question", 10, 1)
		k.turns("after it", "a", []int{0}, 0)
		k.ok(k.sent("a", 0))
		k.turns("of one who waits for nothing", "a", nil)
		late("a late question", 12, 0, 1)
		k.Advance(fleet.AskFor + time.Millisecond)
		late("a late question, when the last one counts no more", 12, 0, 1)
		k.turns("of another", "b", []int{2, 3}, 2, 3)
		k.remains("three turns", 97)
		g, err := k.Ask(k.ctx, "b", k.asks, []int{2, 3}) // after a lost answer
		k.ok(err)
		k.same("turns", shardsOf(g), []int{2, 3})
	}},
	{"TurnThatMayBeUsed", func(k *kit) {
		k.budget(100, 0, 1)
		k.turns("of the first", "a", []int{0}, 0)
		k.Advance(2 * time.Second)
		start := k.now()
		in := k.turns("later", "a", []int{0}, 0)[0].In
		if in > -2*time.Second || k.within(time.Second, start) && in < -3*time.Second {
			k.Errorf("a turn that may be used since 2 s may be used in %v", in)
		}
	}},
	{"TurnVoidAfterTurnFor", func(k *kit) {
		k.budget(100, 0, 1)
		start := k.now()
		k.turns("of the first", "a", []int{0}, 0)
		k.Advance(fleet.TurnFor / 2)
		g := k.ask("b", 1)
		if len(g.Turns) > 0 && k.within(fleet.TurnFor, start) {
			k.Error("a second turn of a bucket is given")
		}
		k.Advance(fleet.TurnFor/2 + time.Millisecond)
		k.turns("when the first one's is void", "b", []int{1}, 1)
		k.fails("Sent of a void turn", k.sent("a", 0), fleet.ErrChanged)
		k.turns("of whose turn is void", "a", []int{0})
		k.remains("two turns, one void", 98)
		// A turn that may be used later is void later.
		start = k.now()
		k.ok(k.sent("b", 1))
		turns := k.turns("of the next", "a", []int{0}, 0)
		k.Advance(fleet.TurnFor + turns[0].In/2)
		err := k.sent("a", 0)
		if k.within(fleet.TurnFor+turns[0].In, start) {
			k.fails("Sent of a turn that may be used later", err, nil)
		}
		k.Advance(fleet.IdentifyPause)
		k.turns("of a void turn's shard", "a", []int{0}, 0)
		k.Advance(fleet.TurnFor + time.Millisecond)
		k.turns("again of a void turn's shard", "a", []int{0}, 0)
		k.ok(k.sent("a", 0))
	}},
	{"TurnVoidWhenItsShardDoesNotWait", func(k *kit) {
		k.budget(100, 0, 2)
		k.turns("of two buckets", "a", []int{0, 1}, 0, 1)
		k.turns("of the one that still waits", "a", []int{1}, 1)
		k.fails("Sent of a void turn", k.sent("a", 0), fleet.ErrChanged)
		turns := k.turns("of the bucket's next", "b", []int{2}, 2)
		k.usable("it", turns[0])
		k.turns("of who has given it up", "a", []int{0, 1}, 1)
		k.remains("three turns, one void", 97)
		k.ok(k.sent("a", 1))
	}},
	{"TurnsReserve", func(k *kit) {
		k.budget(5, 3, 4)
		k.turns("beyond the reserve", "a", []int{0, 1, 2, 3}, 0, 1)
		k.turns("beyond the reserve, again", "a", []int{0, 1, 2, 3}, 0, 1)
		k.remains("that", 3)
		k.ok(k.sent("a", 0))
		k.ok(k.sent("a", 1))
		k.turns("when nothing else is left", "a", []int{2, 3})
		k.Advance(fleet.TurnFor)
		k.budget(4, 3, 4)
		k.turns("of another budget", "a", []int{2, 3}, 2)
		k.ok(k.sent("a", 2))
		k.Advance(fleet.TurnFor)
		k.budget(0, 0, 4)
		k.turns("of none", "a", []int{3})
		k.budget(2, 5, 4)
		k.turns("of less than the reserve", "a", []int{3})
	}},
	{"Budget", func(k *kit) {
		asked := func(what string, at time.Time, want int) {
			k.Helper()
			for range 2 { // the second after a lost answer
				k.ok(k.Budget(k.ctx, fleet.Budget{Total: 1000, Remaining: 100, Reset: at.Add(time.Hour), Concurrency: 8}, at))
				k.remains(what, want)
			}
		}
		const second = time.Second
		t0 := k.now()
		asked("nothing", t0, 100)
		k.Advance(second)
		k.turns("of five buckets", "a", []int{0, 1, 2, 3, 4}, 0, 1, 2, 3, 4)
		k.Advance(second)
		t1 := k.now() // five are out
		k.Advance(second)
		asked("an answer from before five turns", t0, 95)
		asked("an answer while five turns are out", t1, 95)
		k.ok(k.sent("a", 0))
		k.ok(k.sent("a", 1))
		k.Advance(second)
		t2 := k.now()                                             // two are sent, three are out
		k.turns("of three buckets", "a", []int{2, 3, 4}, 2, 3, 4) // void nothing
		k.Advance(second)
		asked("an answer from before five turns, two of which are sent", t0, 95)
		asked("an answer from before two were sent", t1, 95)
		asked("an answer after two were sent", t2, 97)
		k.turns("of one that gives up a shard", "a", []int{3, 4}, 3, 4)
		k.Advance(second)
		asked("an answer from before five turns, one of which is void", t0, 95)
		asked("an answer after one was void", k.now(), 98)
		k.Advance(fleet.TurnFor)
		asked("an answer after two were sent and three void", k.now(), 100)
		asked("an answer from before five turns, now sent or void", t0, 95)
		k.Advance(second)
		k.turns("of a bucket", "a", []int{5}, 5)
		k.remains("another turn", 94)
		asked("an answer of before it", t2, 99)
	}},
	{"BudgetOfLessThanIsOut", func(k *kit) {
		k.budget(10, 0, 4)
		k.turns("of four buckets", "a", []int{0, 1, 2, 3}, 0, 1, 2, 3)
		k.budget(2, 0, 4)
		if left := k.ask("a", 0, 1, 2, 3, 4).Budget.Remaining; left > 0 {
			k.Errorf("of 2, with 4 turns out, there remain %d", left)
		}
		k.turns("that are out", "a", []int{0, 1, 2, 3, 4}, 0, 1, 2, 3)
	}},
	{"BudgetOfOtherBuckets", func(k *kit) {
		k.budget(100, 0, 4)
		k.turns("of two buckets of four", "a", []int{2, 3}, 2, 3)
		k.budget(100, 0, 2)
		k.turns("of two buckets whose turns are out", "b", []int{4, 5})
		start := k.now()
		k.ok(k.sent("a", 2))
		k.ok(k.sent("a", 3))
		for _, t := range k.turns("of two buckets", "b", []int{4, 5}, 4, 5) {
			if t.In < fleet.IdentifyPause-time.Second && k.within(time.Second, start) {
				k.Errorf("the turn of shard %d may be used in %v", t.Shard, t.In)
			}
		}
		k.budget(100, 0, 8)
		k.turns("of eight buckets", "c", []int{0, 1, 4, 5, 8}, 0, 1)
	}},
	{"TurnsOfAll", func(k *kit) { // 24 shards of three members, in two buckets, who do as they are asked
		k.budget(1000, 0, 2)
		const shards, members = 24, 3
		waiting := make([][]int, members)
		for s := range shards {
			waiting[s%members] = append(waiting[s%members], s)
		}
		last := make(map[int]time.Time) // bucket: before its last Sent
		var advanced time.Duration
		for left := shards; left > 0; {
			next := fleet.AskFor
			for m := range members {
				g := k.ask(fmt.Sprint("m", m), waiting[m]...)
				answered := k.now()
				next = min(next, g.After)
				for _, t := range g.Turns {
					if t.In > 0 {
						next = min(next, t.In)
						continue
					}
					bucket := t.Shard % 2
					if at, any := last[bucket]; any && answered.Sub(at) < fleet.IdentifyPause {
						k.Fatalf("bucket %d identifies again after %v", bucket, answered.Sub(at))
					}
					last[bucket] = k.now()
					k.ok(k.sent(fmt.Sprint("m", m), t.Shard))
					waiting[m] = slices.DeleteFunc(waiting[m], func(s int) bool { return s == t.Shard })
					left--
				}
			}
			k.Advance(next)
			if advanced += next; advanced > (shards/2-1)*fleet.IdentifyPause+2*fleet.AskFor {
				k.Fatalf("after %v %d shards have had no turn", advanced, left)
			}
		}
		k.remains("all", 1000-shards)
	}},
}
