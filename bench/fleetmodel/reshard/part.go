// This file has a member's part of a reshard, as fleet's loop and the engine have it.

package reshard

// part has what the loop does.
func (g *steps) part(m int) {
	s := g.s
	x, r, me := &s.Members[m], &s.Redis, s.me(m)
	n := name(me)
	switch {
	case x.Part == committed: // the claims are to come
	case x.Part == none && r.Generation != x.Generation:
		t, _ := g.next(m)
		g.follow(t, m)
		g.out(t, "", "%s reads that another count is in force, follows", n)
	case x.Part == none:
		if r.Stage != noReshard && x.Generation == 0 {
			t, y := g.next(m)
			y.Part = compares
			g.out(t, "", "%s reads that a reshard is pending", n)
		}
	case r.Generation == 1:
		switch x.Part {
		case compares, asks:
			t, _ := g.next(m)
			g.follow(t, m)
			g.out(t, "", "%s reads that it is committed without it, follows", n)
		case commits:
			t, _ := g.next(m)
			g.inForce(t, m)
			g.out(t, "", "%s reads that it is committed, runs the new shards", n)
		}
	case r.Stage == noReshard:
		t, _ := g.next(m)
		g.leave(t, m)
		g.out(t, "", "%s reads that it is called off", n)
	case x.Attempt != 0 && x.Attempt != r.Attempt:
		if g.Leave && x.Broken == 0 {
			t, y := g.next(m)
			if x.Part == switches {
				y.Broken, y.Past = 1, max(x.Past, x.Attempt)
			} else {
				g.goBack(t, m)
			}
			g.out(t, "", "%s reads that the attempt was aborted, the old shards go on", n)
		}
	case x.Fails != 0:
		if x.Fails != r.Attempt {
			t, y := g.next(m)
			y.Fails = 0
			g.out(t, "", "%s reads that its attempt was aborted already", n)
			return
		}
		g.abort(m, "its engine cannot switch", func(t *state, done bool) {
			if done {
				t.Members[m].Fails = 0
			}
		})
	case r.Stage == pending:
		g.pending(m)
	default:
		g.switching(m)
	}
}

func (g *steps) abort(m int, why string, then func(t *state, done bool)) {
	g.call(m, late{Kind: abort, Attempt: g.s.Redis.Attempt}, ": "+why, then)
}

// pending is before the switch.
func (g *steps) pending(m int) {
	s := g.s
	x, r, me := &s.Members[m], &s.Redis, s.me(m)
	n := name(me)
	if x.Part >= switches && g.Again {
		g.abort(m, "the switch is forgotten", nil)
		return
	}
	if x.Part == compares || x.Part == asks {
		for c := range g.classes() {
			old, whole := g.whole(m, c)
			switch b := &x.Next[c]; {
			case b.Session == 0 && whole:
				t, y := g.next(m)
				k, ok := t.begin()
				if !ok {
					break
				}
				e := uint8(0)
				for _, of := range old {
					e = max(e, of)
				}
				y.Part = compares
				y.Next[c] = begun{Session: k, Epoch: g.epoch(t, e), Old: old}
				for guild := range g.guilds() {
					if guild%g.classes() == c {
						y.Ahead[guild] = t.Sent[guild]
					}
				}
				g.out(t, "", "%s begins the new shards of class %d: session %d, epoch %d", n, c, k, y.Next[c].Epoch)
			case b.Session != 0 && g.Same && (!whole || b.Old != old):
				t, y := g.next(m)
				y.Part = compares
				g.end(t, m, c)
				g.out(t, "", "%s ends the new shards of class %d", n, c)
			}
		}
	}
	epochs, mine, whole := g.mine(m)
	agrees := whole && mine > 0 && x.Part == asks && r.State[me] == 1
	v := r.Voices[me]
	switch {
	case agrees && v.Revision != r.Revision:
		g.call(m, late{Kind: agree, Attempt: r.Attempt, Revision: r.Revision, Epochs: epochs}, "", nil)
	case !agrees && (v.Said == 0 || v.Revision != 0 && g.Withdraw):
		g.call(m, late{Kind: report, Attempt: r.Attempt}, "", nil)
		return
	}
	if x.Part == compares || x.Part == asks || agrees || !g.Withdraw {
		u := *s
		if g.do(&u, &late{Kind: toSwitch, Who: me + 1, Attempt: r.Attempt}) {
			g.call(m, late{Kind: toSwitch, Attempt: r.Attempt}, "", nil)
		}
	}
}

// whole returns the epochs of a class's old shards, and whether all run at a member.
func (g *steps) whole(m, class int) (epochs [maxShards]uint8, whole bool) {
	x, any := &g.s.Members[m], false
	whole = true
	for id := class; id < g.From; id += g.classes() {
		y := &x.Run[id]
		if y.Phase == runs && g.s.Redis.Rows[id] == (row{g.s.me(m) + 1, y.Epoch, 0}) {
			epochs[id], any = y.Epoch, true
		} else {
			whole = false
		}
	}
	return epochs, whole || !g.Whole && any
}

// mine returns a member's shards, and whether all run, and their new ones are begun.
func (g *steps) mine(m int) (epochs [maxShards]uint8, n int, all bool) {
	s := g.s
	x := &s.Members[m]
	all = true
	for id := range g.From {
		z, y := &s.Redis.Rows[id], &x.Run[id]
		is := z.Owner == s.me(m)+1
		if is {
			epochs[id] = z.Epoch
			n++
		}
		if is != (y.Phase == runs) || is && (z.Epoch != y.Epoch || z.Giver != 0 || x.Next[id%g.classes()].Old[id] != y.Epoch && g.Same) {
			all = false
		}
	}
	return epochs, n, all
}

// switching is at the switch.
func (g *steps) switching(m int) {
	s := g.s
	x, r, me := &s.Members[m], &s.Redis, s.me(m)
	n := name(me)
	for id := range g.From {
		if z := r.Rows[id]; z.Owner != 0 && r.State[z.Owner-1] == 2 && g.Dead {
			g.abort(m, "a member is dead", nil)
			return
		}
	}
	if s.Left.Abort > 0 {
		t, _ := g.next(m)
		t.Left.Abort--
		g.do(t, &late{Kind: abort, Who: me + 1, Attempt: r.Attempt})
		g.out(t, "", "%s aborts: it has not come about", n)
	}
	if x.Part == commits {
		l := late{Kind: prepare, Attempt: r.Attempt}
		if x.Prepared == 1 {
			if g.Timeout && r.Voices[me].Prepared == 0 { // which is forgotten
				g.abort(m, "it has not come about in time", nil)
			}
			l.Kind = commit
			g.call(m, l, "", nil)
			return
		}
		for c := range g.classes() {
			for id := c; id < g.To && x.Next[c].Session != 0; id += g.classes() {
				l.Next[id] = prepared{me + 1, x.Next[c].Epoch, g.record(x, c)}
			}
		}
		u := *s
		l.Who = me + 1
		if !g.do(&u, &l) {
			g.abort(m, "the table has changed", nil)
			return
		}
		g.call(m, l, "", func(t *state, _ bool) { t.Members[m].Prepared = 1 })
		return
	}
	_, mine, whole := g.mine(m)
	switch {
	case mine == 0 && x.Part <= asks:
		if r.Voices[me].Said == 0 {
			g.call(m, late{Kind: report, Attempt: r.Attempt}, "", nil)
		}
	case x.Part == asks && (whole || !g.Lacks) && (r.Attempt > x.Past || !g.Past):
		t, y := g.next(m)
		y.Part, y.Attempt = switches, r.Attempt
		g.out(t, "", "%s stops its old shards", n)
	case x.Part <= asks:
		g.abort(m, "its old and new shards do not agree any more", nil)
	}
}

// record is what resumes the new shards of a class.
func (g *steps) record(x *member, class int) record {
	v := record{Session: x.Next[class].Session}
	for guild := range g.guilds() {
		if guild%g.classes() == class {
			if v.Done[guild] = x.Ahead[guild]; g.First {
				v.Done[guild] = min(x.Ahead[guild], x.Out[guild])
			}
		}
	}
	return v
}

// inForce has a member run its new shards.
func (g *steps) inForce(t *state, m int) {
	x := &t.Members[m]
	was := *x
	x.Run = [maxShards]local{}
	x.Read, x.Out = [maxGuilds]uint8{}, [maxGuilds]uint8{}
	x.Next, x.Ahead = [maxShards]begun{}, [maxGuilds]uint8{}
	for id := range maxShards {
		x.Ran[id] = max(x.Ran[id], was.Run[id].Epoch)
	}
	for id := range g.To {
		if b := &was.Next[id%g.classes()]; b.Session != 0 {
			x.Run[id] = local{opens, b.Epoch, b.Session}
			x.Ran[id] = max(x.Ran[id], b.Epoch)
		}
	}
	for guild := range g.guilds() {
		if b := &was.Next[guild%g.classes()]; b.Session != 0 {
			x.Read[guild], x.Out[guild] = was.Ahead[guild], was.Out[guild]
		}
	}
	x.Part, x.Generation, x.Attempt, x.Prepared, x.Past = committed, 1, 0, 0, max(x.Past, x.Attempt)
}

// engine has what a member's engine does of the part by itself.
func (g *steps) engine(m int) {
	s := g.s
	x, n := &s.Members[m], name(s.me(m))
	switch x.Part {
	case compares:
		if x.Fails == 0 && g.agree(x) {
			t, y := g.next(m)
			y.Part = asks
			g.out(t, "", "%s: old and new shards agree", n)
		}
	case switches:
		if x.Gone == 1 || x.Broken == 1 || s.Left.Abort > 0 {
			t, y := g.next(m)
			if x.Broken == 0 {
				y.Fails = x.Attempt
				if x.Gone == 0 {
					t.Left.Abort--
				}
			}
			g.goBack(t, m)
			g.out(t, "", "%s does not switch, the old shards go on", n)
		}
		if x.Gone == 0 && x.Broken == 0 && g.met(x) {
			t, y := g.next(m)
			y.Part = commits
			for c := range y.Next {
				if y.Next[c].Session != 0 {
					y.Next[c].Given = 1
				}
			}
			g.out(t, "", "%s has drained its old shards", n)
		}
	case commits:
		if !g.Wait {
			t, _ := g.next(m)
			g.goBack(t, m)
			g.out(t, "", "%s hears nothing of the commit, the old shards go on", n)
		}
	case committed:
		for id := range x.Run {
			if x.Run[id].Phase == opens {
				return
			}
		}
		t, y := g.next(m)
		y.Part = none
		g.out(t, "", "%s has claimed its new shards", n)
	}
}

// agree reports whether each shard of a member has its new ones, which have shown what the old ones have not before nothing.
func (g *steps) agree(x *member) bool {
	for id := range g.From {
		if b := &x.Next[id%g.classes()]; x.Run[id].Phase == runs && b.Session == 0 {
			return false
		}
	}
	for guild := range g.guilds() {
		b := &x.Next[guild%g.classes()]
		if b.Session != 0 && g.Compare && x.Out[guild] < g.s.Sessions[b.Session-2].From[guild] {
			return false
		}
	}
	return true
}

// met reports whether the old shards are drained, and the new ones have shown what they have.
func (g *steps) met(x *member) bool {
	for guild := range g.guilds() {
		if x.Next[guild%g.classes()].Session == 0 {
			continue
		}
		if g.Drain && x.Out[guild] < x.Read[guild] || g.Met && x.Ahead[guild] < x.Out[guild] {
			return false
		}
	}
	return true
}
