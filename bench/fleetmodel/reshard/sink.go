// This file has the sink, and the events.

package reshard

import "fmt"

// events has what a member reads and delivers.
func (g *steps) events(m int) {
	s := g.s
	x, n := &s.Members[m], name(s.me(m))
	for id := range x.Run {
		switch y := &x.Run[id]; y.Phase {
		case acquired, opens:
			g.claim(m, id)
		}
	}
	stopped := (x.Part == switches || x.Part == commits) && g.Stop
	for guild := range g.guilds() {
		id := g.of(x.Generation, guild)
		y := &x.Run[id]
		if y.Phase == runs && !stopped && x.Read[guild] < s.Sent[guild] {
			t, z := g.next(m)
			z.Read[guild]++
			g.out(t, "", "%s reads %s, shard %d", n, event(guild, z.Read[guild]), id)
		}
		if y.Phase == runs && x.Out[guild] < x.Read[guild] && (x.Part != commits || !g.Drain || !g.Stop) {
			g.publish(m, guild, id)
		}
		if c := guild % g.classes(); x.Next[c].Session != 0 && x.Ahead[guild] < s.Sent[guild] {
			t, z := g.next(m)
			z.Ahead[guild]++
			g.out(t, "", "%s reads %s, of the new shards", n, event(guild, z.Ahead[guild]))
		}
	}
}

func event(guild int, n uint8) string { return fmt.Sprintf("%c%d", 'p'+guild, n) }

// claim claims a shard at the sink, and loads what resumes it.
func (g *steps) claim(m, id int) {
	s := g.s
	me := s.me(m)
	t, x := g.next(m)
	y, p := &x.Run[id], &t.Sinks[id]
	opening := y.Phase == opens
	if opening && x.Generation == s.Redis.Generation && s.Redis.Rows[id] != (row{me + 1, y.Epoch, 0}) {
		return // the table has it dropped; of one that has forgotten the commit, what was known before counts
	}
	if g.Tag && (p.TagEpoch > y.Epoch || p.TagEpoch == y.Epoch && p.TagOwner != uint8(m)+1) {
		e := p.TagEpoch
		g.drop(t, m, id)
		if g.Above {
			x.Ran[id] = max(x.Ran[id], e)
		}
		g.out(t, "", "%s claims shard %d: refused for epoch %d", name(me), id, e)
		return
	}
	y.Phase = runs
	bad := ""
	if !opening || g.Claim {
		p.TagOwner, p.TagEpoch = uint8(m)+1, y.Epoch
		for guild := range g.guilds() {
			if g.of(x.Generation, guild) == id {
				t.Holders[guild] = holder{uint8(m) + 1, x.Generation, y.Epoch}
			}
		}
	}
	if !opening {
		if bad = g.load(t, m, id); bad == "full" {
			return
		}
	}
	g.out(t, bad, "%s claims shard %d, runs it with session %d", name(me), id, y.Session)
}

// load resumes a shard from its record, and from the position at the sink.
func (g *steps) load(t *state, m, id int) (bad string) {
	x, p := &t.Members[m], &t.Sinks[id]
	v := &t.Redis.Records[id]
	x.Run[id].Session = v.Session
	gap := v.Session == 0 || p.Session > v.Session // what the position is of is later: nothing older is resumed
	if gap {
		k, ok := t.begin()
		if !ok {
			return "full"
		}
		x.Run[id].Session = k
		*v = record{Session: k}
	} else if v.Session > 1 && t.Sessions[v.Session-2].Ended == 1 {
		bad = fmt.Sprintf("I3: session %d was ended, and is that of shard %d", v.Session, id)
	}
	for guild := range g.guilds() {
		if g.of(x.Generation, guild) != id {
			continue
		}
		at := v.Done[guild]
		if p.Session == v.Session {
			at = max(at, p.Done[guild])
		}
		if gap { // which consumers see
			at = t.Sent[guild]
			v.Done[guild], t.Last[guild] = at, max(at, t.Last[guild])
		}
		x.Read[guild], x.Out[guild] = at, at
	}
	return bad
}

// publish gives the sink the next event of a guild.
func (g *steps) publish(m, guild, id int) {
	s := g.s
	t, x := g.next(m)
	y, p := &x.Run[id], &t.Sinks[id]
	n := name(s.me(m))
	if g.Tag && (p.TagOwner != uint8(m)+1 || p.TagEpoch != y.Epoch) {
		g.drop(t, m, id)
		g.out(t, "", "%s publishes of shard %d: refused, it drops it", n, id)
		return
	}
	next := x.Out[guild] + 1
	if y.Session > 1 {
		next = max(next, t.Sessions[y.Session-2].From[guild]+1) // it has none before
	}
	if next > x.Read[guild] {
		return
	}
	x.Out[guild] = next
	bad := ""
	if h := (holder{uint8(m) + 1, x.Generation, y.Epoch}); t.Holders[guild] != h {
		bad = fmt.Sprintf("I2: %s under epoch %d, and a later owner has claimed it", event(guild, next), y.Epoch)
	}
	if y.Epoch < t.Highest[id] {
		bad = fmt.Sprintf("I4: %s under epoch %d, after %d", event(guild, next), y.Epoch, t.Highest[id])
	}
	t.Highest[id] = max(t.Highest[id], y.Epoch)
	if x.Generation != t.Redis.Generation && bad == "" {
		bad = fmt.Sprintf("I6: %s of count %d, and count %d is in force", event(guild, next), g.count(x.Generation), g.count(t.Redis.Generation))
	}
	if g.Position && p.Session == y.Session && p.Done[guild] >= next {
		g.out(t, "", "%s publishes %s of shard %d: the sink has it", n, event(guild, next), id)
		return
	}
	if p.Session != y.Session {
		p.Session, p.Done = y.Session, [maxGuilds]uint8{}
	}
	p.Done[guild] = next
	switch last := t.Last[guild]; {
	case bad != "":
	case next <= last:
		bad = fmt.Sprintf("I1: %s is a duplicate", event(guild, next))
	case next > last+1:
		bad = fmt.Sprintf("I3: %s is left out", event(guild, last+1))
	}
	t.Last[guild] = max(next, t.Last[guild])
	g.out(t, bad, "%s publishes %s of shard %d under epoch %d", n, event(guild, next), id, y.Epoch)
}
