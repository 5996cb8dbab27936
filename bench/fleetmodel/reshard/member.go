// This file has what a member does with the shards that are its own by the table.

package reshard

// next returns a copy of the state, and a member in it.
func (g *steps) next(m int) (*state, *member) {
	t := *g.s
	return &t, &t.Members[m]
}

// held reports whether a member's shards stay as they are.
func (g *steps) held(x *member) bool {
	return x.Part >= switches && g.Held || x.Part == committed
}

// table has what a member does about the rows.
func (g *steps) table(m int) {
	s := g.s
	x, r, me := &s.Members[m], &s.Redis, s.me(m)
	if x.Generation != r.Generation && m != g.earlier() {
		return // see part
	}
	for id := range g.count(x.Generation) {
		y, z := &x.Run[id], &r.Rows[id]
		switch {
		case y.Phase != idle:
			if z.Owner != me+1 || z.Epoch != y.Epoch {
				t, _ := g.next(m)
				g.drop(t, m, id)
				g.out(t, "", "%s reads that shard %d is not its own, drops it", name(me), id)
			} else if y.Phase == runs && s.Left.Hand > 0 && !g.held(x) {
				g.hand(m, id)
			}
		case g.held(x) || r.State[me] != 1:
		case z.Owner == me+1 && z.Giver != 0:
			t, a := g.next(m)
			t.Redis.set(id, row{me + 1, z.Epoch, 0})
			a.Run[id] = local{acquired, z.Epoch, 0}
			g.out(t, "", "%s takes shard %d", name(me), id)
		case z.Owner == 0 || z.Owner == me+1 || r.State[z.Owner-1] == 2:
			t, a := g.next(m)
			e := g.epoch(t, max(z.Epoch, x.Ran[id]))
			t.Redis.set(id, row{me + 1, e, 0})
			a.Run[id] = local{acquired, e, 0}
			g.out(t, "", "%s acquires shard %d, epoch %d", name(me), id, e)
			if s.Left.Lost > 0 {
				t.Left.Lost--
				a.Run[id] = local{}
				g.out(t, "", "%s acquires shard %d, epoch %d, the answer is lost", name(me), id, e)
			}
		}
	}
}

// hand gives a shard to the other member: it has stopped reading it, and all is delivered. That a handover has steps is in the
// model of ownership.
func (g *steps) hand(m, id int) {
	s := g.s
	x, to := &s.Members[m], s.me(1-m)
	if s.Redis.State[to] != 1 || !g.drained(x, id) || s.Redis.Rows[id].Giver != 0 {
		return
	}
	t, _ := g.next(m)
	t.Left.Hand--
	e := g.epoch(t, x.Run[id].Epoch)
	t.Redis.set(id, row{to + 1, e, s.me(m) + 1})
	g.drop(t, m, id)
	g.out(t, "", "%s gives shard %d to %s, epoch %d", name(s.me(m)), id, name(to), e)
}

// drained reports whether everything of a shard that was read is delivered.
func (g *steps) drained(x *member, id int) bool {
	for guild := range g.guilds() {
		if g.of(x.Generation, guild) == id && x.Out[guild] < x.Read[guild] {
			return false
		}
	}
	return true
}

// of is the id of a guild's shard.
func (g *steps) of(generation uint8, guild int) int { return guild % g.count(generation) }

// drop drops a shard. The new ones of its class end, unless the coordinator is being given them.
func (g *steps) drop(t *state, m, id int) {
	x := &t.Members[m]
	x.Ran[id] = max(x.Ran[id], x.Run[id].Epoch)
	x.Run[id] = local{}
	for guild := range g.guilds() {
		if g.of(x.Generation, guild) == id {
			x.Read[guild], x.Out[guild] = 0, 0
		}
	}
	if x.Generation != 0 || x.Part == none {
		return
	}
	switch x.Part {
	case asks:
		x.Part = compares
	case switches:
		x.Gone = 1
	}
	if x.Part < commits && g.Same {
		g.end(t, m, id%g.classes())
	}
}

// end ends the new shards of a class, with their session.
func (g *steps) end(t *state, m, class int) {
	x := &t.Members[m]
	if n := &x.Next[class]; n.Session != 0 {
		if !g.Given || n.Given == 0 {
			t.Sessions[n.Session-2].Ended = 1
		}
		for guild := range g.guilds() {
			if guild%g.classes() == class {
				x.Ahead[guild] = 0
			}
		}
		*n = begun{}
	}
}

// clear drops everything that a member runs.
func (g *steps) clear(t *state, m int) {
	for id := range t.Members[m].Run {
		if t.Members[m].Run[id].Phase != idle {
			g.drop(t, m, id)
		}
	}
}

// begin begins a session.
func (t *state) begin() (n uint8, ok bool) {
	for i := range t.Sessions {
		if t.Sessions[i].Began == 0 {
			t.Sessions[i] = session{Began: 1, From: t.Sent}
			return uint8(i) + 2, true
		}
	}
	return 0, false
}

// goBack has the old shards go on. The new ones of a class that is not whole any more end.
func (g *steps) goBack(t *state, m int) {
	x := &t.Members[m]
	x.Past = max(x.Past, x.Attempt)
	x.Part, x.Attempt, x.Broken, x.Gone, x.Prepared = compares, 0, 0, 0, 0
	for c := range x.Next {
		for id := c; id < g.From; id += g.classes() {
			if x.Run[id].Phase == idle && g.Same {
				g.end(t, m, c)
			}
		}
	}
}

// leave ends the part.
func (g *steps) leave(t *state, m int) {
	g.goBack(t, m)
	for c := range g.classes() {
		g.end(t, m, c)
	}
	t.Members[m].Part, t.Members[m].Fails = none, 0
}

// follow has a member run the table's count, which has come about without it.
func (g *steps) follow(t *state, m int) {
	x := &t.Members[m]
	if g.Follow {
		g.clear(t, m)
	}
	if x.Part != none {
		g.leave(t, m)
	}
	x.Generation = t.Redis.Generation
}
