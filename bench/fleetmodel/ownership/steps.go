// This file has the steps that are nobody's own: Discord's, faults, late commands, failovers.

package ownership

import (
	"fmt"

	"sluice/bench/fleetmodel/search"
)

// steps makes the successors of a state.
type steps struct {
	*options
	s    *state
	step search.Step[state]
}

// Explore visits the states of a model.
func (o options) explore() search.Result {
	m := search.Model[state]{Start: o.start(), Next: o.next}
	if !o.NoReach {
		m.Good = o.good
	}
	if o.Members == maxMembers && o.Consumer != "replaced" {
		m.Alike = o.alike
	}
	return search.Explore(m, o.Most)
}

func (o *options) next(s *state, step search.Step[state]) {
	g := steps{options: o, s: s, step: step}
	g.discord()
	for m := range o.Members {
		for h := range o.Shards {
			g.late(m, h)
		}
		if s.Members[m].Alive == 1 {
			g.process(m)
		}
	}
	g.failover()
}

func name(i uint8) string { return fmt.Sprintf("%c%d", "ABC"[i%maxMembers], i/maxMembers+1) }

// out emits a successor.
func (g *steps) out(t *state, bad string, f string, args ...any) {
	if g.Only != "" && bad != "" && bad[:2] != g.Only {
		bad = ""
	}
	g.step(func() string { return fmt.Sprintf(f, args...) }, bad, t)
}

func (g *steps) discord() {
	for h := range g.Shards {
		d := &g.s.Discord[h]
		for x := uint8(1); x <= d.Sessions; x++ {
			if d.Valid[x] == 1 && d.Sent[x] < g.Events {
				t := *g.s
				t.Discord[h].Sent[x]++
				g.out(&t, "", "Discord has event %d.%d", x, d.Sent[x]+1)
			}
		}
	}
}

// process has the steps of a member that concern no shard, and then those of its shards.
func (g *steps) process(m int) {
	s := g.s
	me := incarnation(m, s.Members[m].Life)
	gone := func() *state { // its connections stay open for Discord
		t := *s
		t.Members[m].Alive = 0
		for h := range g.Shards {
			x := &t.Work[m][h]
			*x = work{Conn: x.Conn, ConnSession: x.ConnSession, Sent: x.Sent, Save: x.Save, Give: x.Give}
		}
		return &t
	}
	if s.Left.Die > 0 && g.living() > 1 {
		t := gone()
		t.Left.Die--
		g.out(t, "", "%s dies", name(me))
	}
	if s.Left.Leave > 0 && g.living() > 1 {
		t := gone()
		t.Left.Leave--
		t.Redis.State[me] = 0
		for h := range g.Shards {
			if z := &t.Redis.Shards[h]; z.Owner == me+1 {
				z.Owner, z.Giver = 0, 0
			}
		}
		g.out(t, "", "%s leaves", name(me))
	}
	if s.Redis.State[me] == 2 {
		t := *s
		g.rejoin(&t, m)
		g.out(&t, "", "%s beats: deposed; it drops everything and joins again", name(me))
	}
	if s.Redis.State[me] == 0 && g.Rewrite {
		t := *s
		t.Redis.State[me] = 1
		g.out(&t, "", "%s beats: its record is missing, it writes that again", name(me))
	}
	for h := range g.Shards {
		g.member(m, h, me)
		g.events(m, h, me)
	}
}

func (g *steps) living() (n int) {
	for m := range g.Members {
		if g.s.Members[m].Alive == 1 {
			n++
		}
	}
	return n
}

// drop drops a shard. What the sink has been given of it, it may still write.
func (g *steps) drop(t *state, m, h int) {
	x := &t.Work[m][h]
	n := work{Old: x.Old, Save: x.Save, Give: x.Give, Ran: x.Ran}
	if x.Phase >= confirm && g.Again {
		n.Ran = x.Epoch
	}
	if x.Read > x.Acked && x.Phase >= confirm && x.Phase != hold && n.Old == (batch{}) {
		n.Old = batch{x.Session, x.Acked + 1, x.Read, x.Epoch}
	}
	*x = n
}

// rejoin is what a process does that reads that it is deposed.
func (g *steps) rejoin(t *state, m int) {
	for h := range g.Shards {
		g.drop(t, m, h)
	}
	if t.Members[m].Life == 0 {
		t.Members[m].Life = 1
		t.Redis.State[incarnation(m, 1)] = 1
	} else {
		t.Members[m].Alive = 2
	}
}

// late are commands that the coordinator gets after their sender has given them up.
func (g *steps) late(m, h int) {
	x := g.s.Work[m][h]
	if v := x.Save; v != (lateSave{}) {
		t := *g.s
		ok, bad := g.save(&t, m, v.Who-1, h, v.Epoch, v.Session, v.Seq, true)
		t.Work[m][h].Save = lateSave{}
		t.Redis.Shards[h].Newer, t.Replica.Shards[h].Newer = 0, 0
		g.out(&t, bad, "a late save of %d.%d by %s arrives: %v", v.Session, v.Seq, name(v.Who-1), ok)
	}
	if v := x.Give; v != (lateGive{}) {
		t := *g.s
		t.Work[m][h].Give = lateGive{}
		ok := g.give(&t, v.Who-1, h, v.Epoch, v.To-1)
		g.out(&t, "", "a late give of %s to %s arrives: %v", name(v.Who-1), name(v.To-1), ok)
	}
}

// failover has the replica fall behind at any moment, and take over at any later one: what Redis
// forgets is any number of its last writes.
func (g *steps) failover() {
	s := g.s
	if s.Left.Fail == 0 {
		return
	}
	t := *s
	if s.Lags == 0 {
		if s.Redis.Shards == [maxShards]shard{} {
			return
		}
		t.Lags, t.Replica = 1, s.Redis
		g.out(&t, "", "the replica falls behind")
		return
	}
	if s.Replica == s.Redis {
		return
	}
	t.Left.Fail--
	t.Lags, t.Replica = 0, redis{}
	old := s.Replica
	if g.FleetOnly {
		old.Streams = s.Redis.Streams
	}
	if g.SinkOnly {
		old.State, old.Shards = s.Redis.State, s.Redis.Shards
	}
	t.Redis = old
	bad := ""
	for h := range g.Shards {
		if x := old.Shards[h]; g.Wait && x.Seq > old.Streams[h].Last[x.Session] {
			bad = fmt.Sprintf("I3: %d.%d is checkpointed, and is not in the stream after the failover", x.Session, x.Seq)
		}
	}
	g.out(&t, bad, "failover: Redis forgets what came since; shard 0 has owner %s", owner(old.Shards[0]))
}

func owner(s shard) string {
	if s.Owner == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, epoch %d", name(s.Owner-1), s.Epoch)
}
