// This file has what a member does with a shard, phase by phase.

package ownership

import "fmt"

// next returns a copy of the state, and what the member has of the shard in it.
func (g *steps) next(m, h int) (*state, *work) {
	t := *g.s
	return &t, &t.Work[m][h]
}

func (g *steps) member(m, h int, me uint8) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	up := s.Redis.State[me] == 1
	mine := g.owns(s, me, h, x.Epoch)
	n, of := name(me), ""
	if g.Shards > 1 {
		of = fmt.Sprintf(" [shard %d]", h)
	}
	if g.Table && up && x.Phase >= confirm && x.Phase != given && !mine {
		t, _ := g.next(m, h)
		g.drop(t, m, h)
		g.out(t, "", "%s reads that the shard is not its own, drops it%s", n, of)
	}
	switch x.Phase {
	case idle:
		if up {
			g.idle(m, h, me, n, of)
		}
	case acquire:
		g.acquire(m, h, me, n, of)
	case take:
		t, y := g.next(m, h)
		if !mine {
			g.drop(t, m, h)
			g.out(t, "", "%s takes the shard: refused%s", n, of)
			return
		}
		t.Redis.Shards[h].Giver = 0
		y.Phase = claim
		g.out(t, "", "%s takes the shard%s", n, of)
	case claim:
		g.claims(m, h, me, n, of)
	case load:
		t, y := g.next(m, h)
		if g.LoadAfter {
			g.load(t, m, h)
		}
		y.Phase = confirm
		if !g.Confirm {
			y.Phase = connect
		}
		if !g.ClaimFirst {
			y.Phase = claim
			if y.TargetEpoch == 1 {
				y.Phase = confirm
			}
			y.TargetEpoch = 0
		}
		g.out(t, "", "%s loads checkpoint %v%s", n, entry{z.Session, z.Seq}, of)
	case confirm:
		t, y := g.next(m, h)
		if !mine || z.Giver != 0 && g.Take {
			g.drop(t, m, h)
			g.out(t, "", "%s confirms: not the owner%s", n, of)
			return
		}
		y.Phase = connect
		g.out(t, "", "%s confirms%s", n, of)
	case connect:
		g.connect(m, h, me)
	case hold:
		if !g.Hold {
			t, y := g.next(m, h)
			y.Phase = run
			g.out(t, "", "%s goes on: session %d is not persisted", n, x.Session)
		}
		t, y := g.next(m, h)
		if ok, bad := g.save(t, m, me, h, x.Epoch, x.Session, 0, false); ok {
			if !g.WaitSave || s.Lags == 0 {
				y.Phase = run
			}
			g.out(t, bad, "%s saves session %d", n, x.Session)
		} else {
			g.drop(t, m, h)
			g.out(t, "", "%s saves session %d: refused", n, x.Session)
		}
	case run:
		if s.Left.Hand > 0 {
			g.hand(m, h, n, of)
		}
		if x.Conn == 1 && s.Left.Cut > 0 {
			t, y := g.next(m, h)
			t.Left.Cut--
			y.Conn, y.ConnSession, y.Sent = 0, 0, 0
			g.out(t, "", "Discord closes %s's connection", n)
		}
		if x.Conn != 1 {
			t, y := g.next(m, h)
			y.Conn, y.Phase = 0, confirm
			if !g.Confirm {
				y.Phase = connect
			}
			g.out(t, "", "%s has lost its connection", n)
		}
	case drain:
		if x.Read == x.Acked && x.Gap == 0 && x.Saved == x.Acked {
			t, y := g.next(m, h)
			y.Conn, y.Phase = 0, give
			g.out(t, "", "%s is drained and saved, closes with 4900", n)
		}
		if s.Left.Abort > 0 {
			t, _ := g.next(m, h)
			t.Left.Abort--
			g.drop(t, m, h)
			g.out(t, "", "%s is not drained in time: it drops the shard, and will start it again", n)
		}
	case give:
		g.gives(m, h, me, n, of)
	case given:
		g.given(m, h, me, n)
	}
}

// idle has what a member does with a shard that it does not run.
func (g *steps) idle(m, h int, me uint8, n, of string) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	owner := z.Owner - 1
	begin := func(t *state, y *work) {
		y.Phase, y.Target, y.TargetEpoch = acquire, z.Owner, z.Epoch
		if !g.LoadAfter {
			p := &t.Redis.Streams[h]
			y.PosSession, y.PosSeq, y.PosEnded = p.Session, p.Seq, p.Ended
			g.load(t, m, h)
		}
	}
	switch {
	case z.Owner == 0:
		t, y := g.next(m, h)
		begin(t, y)
		g.out(t, "", "%s reads that the shard is free%s", n, of)
	case owner == me && !g.Run && z.Giver == 0:
	case owner == me && g.Again && x.Ran == z.Epoch:
		t, y := g.next(m, h)
		y.Phase, y.Epoch, y.Ran = claim, g.own(t, me, h), 0
		g.out(t, "", "%s takes epoch %d, to start the shard again%s", n, y.Epoch, of)
	case owner == me:
		t, y := g.next(m, h)
		y.Phase, y.Epoch = claim, z.Epoch
		if z.Giver != 0 && g.Take {
			y.Phase = take
		}
		g.out(t, "", "%s reads that it is the owner, epoch %d%s", n, z.Epoch, of)
	case s.Redis.State[owner] == 2:
		t, y := g.next(m, h)
		begin(t, y)
		g.out(t, "", "%s reads that %s is deposed%s", n, name(owner), of)
	default:
		o := int(owner % maxMembers)
		gone := s.Members[o].Alive != 1 || incarnation(o, s.Members[o].Life) != owner
		if gone || s.Left.Depose > 0 && (owner < maxMembers || g.living() > 1) {
			t, y := g.next(m, h)
			if !gone {
				t.Left.Depose--
			}
			t.Redis.State[owner] = 2
			begin(t, y)
			g.out(t, "", "%s deposes %s%s", n, name(owner), of)
		} else if !g.Deposed {
			t, y := g.next(m, h)
			begin(t, y)
			g.out(t, "", "%s takes %s for dead%s", n, name(owner), of)
		}
	}
}

func (g *steps) acquire(m, h int, me uint8, n, of string) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	t, y := g.next(m, h)
	ok := z.Owner == x.Target && z.Epoch == x.TargetEpoch && (z.Owner == 0 || !g.Deposed || s.Redis.State[z.Owner-1] == 2)
	if !g.AcquireRead {
		ok = z.Owner == 0 || z.Owner == x.Target || s.Redis.State[z.Owner-1] == 2
	}
	if !ok || s.Redis.State[me] != 1 {
		g.drop(t, m, h)
		g.out(t, "", "%s acquires: refused", n)
		return
	}
	e := g.own(t, me, h)
	y.Epoch, y.Phase, y.Target, y.TargetEpoch = e, claim, 0, 0
	if !g.ClaimFirst {
		y.Phase = load
	}
	if s.Left.Lost > 0 {
		u := *t
		u.Left.Lost--
		g.drop(&u, m, h)
		g.out(&u, "", "%s acquires the shard, epoch %d, the answer is lost%s", n, e, of)
	}
	g.out(t, "", "%s acquires the shard, epoch %d%s", n, e, of)
}

// claims claims the shard at the sink, or takes an epoch above that of the one which has it.
func (g *steps) claims(m, h int, me uint8, n, of string) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	if g.WaitClaim && s.Lags == 1 {
		return
	}
	t, y := g.next(m, h)
	if g.claim(t, m, h) {
		p := entry{y.PosSession, y.PosSeq}
		y.Phase = load
		if !g.ClaimFirst {
			y.Phase, y.TargetEpoch = confirm, 0
			y.PosSession, y.PosSeq, y.PosEnded = 0, 0, 0
		}
		if !g.LoadAfter {
			y.PosSession, y.PosSeq, y.PosEnded = 0, 0, 0
		}
		g.out(t, "", "%s claims the shard, position %v%s", n, p, of)
		return
	}
	if g.Above && z.Owner == me+1 && z.Epoch == x.Epoch && s.Redis.State[me] == 1 {
		t.Redis.Shards[h].Epoch = max(z.Epoch, t.Redis.Streams[h].TagEpoch)
		y.Epoch = g.own(t, me, h)
		g.out(t, "", "%s claims the shard: refused, it takes epoch %d%s", n, y.Epoch, of)
		return
	}
	g.drop(t, m, h)
	g.out(t, "", "%s claims the shard: refused%s", n, of)
}

// hand begins a handover to each of the others.
func (g *steps) hand(m, h int, n, of string) {
	for to := range g.Members {
		other := incarnation(to, g.s.Members[to].Life)
		if to == m || g.s.Redis.State[other] != 1 {
			continue
		}
		t, y := g.next(m, h)
		t.Left.Hand--
		y.Phase, y.Target = drain, other+1
		if !g.Drain {
			y.Phase, y.Conn = give, 0
		}
		g.out(t, "", "%s stops reading, to give the shard to %s%s", n, name(other), of)
	}
}

// gives is the give of a handover. A lost answer is asked for again.
func (g *steps) gives(m, h int, me uint8, n, of string) {
	s := g.s
	x := &s.Work[m][h]
	to := name(x.Target - 1)
	t, y := g.next(m, h)
	if g.give(t, me, h, x.Epoch, x.Target-1) {
		y.Phase, y.TargetEpoch = given, t.Redis.Shards[h].Epoch
		g.out(t, "", "%s gives the shard to %s, epoch %d%s", n, to, y.TargetEpoch, of)
		if s.Left.Lost > 0 {
			u, _ := g.next(m, h)
			u.Left.Lost--
			g.give(u, me, h, x.Epoch, x.Target-1)
			g.out(u, "", "%s gives the shard to %s, the answer is lost%s", n, to, of)
		}
	} else {
		g.drop(t, m, h)
		g.out(t, "", "%s gives the shard to %s: refused, it drops it", n, to)
	}
	if s.Left.Late > 0 && x.Give == (lateGive{}) {
		t, y := g.next(m, h)
		t.Left.Late--
		y.Give = lateGive{x.Epoch, x.Target, me + 1}
		g.out(t, "", "%s gives the shard to %s, no answer: it will try again", n, to)
	}
}

// given has a member wait until the shard is taken, or take it back.
func (g *steps) given(m, h int, me uint8, n string) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	still := z.Owner == x.Target && z.Epoch == x.TargetEpoch
	if !still || z.Giver == 0 {
		t, _ := g.next(m, h)
		g.drop(t, m, h)
		g.out(t, "", "%s reads that the shard is taken", n)
	}
	target := x.Target - 1
	if s.Left.Back == 0 && s.Redis.State[target] != 2 && s.Members[target%maxMembers].Alive == 1 {
		return
	}
	t, y := g.next(m, h)
	if t.Left.Back > 0 {
		t.Left.Back--
	}
	if !g.TakeBack {
		y.Phase, y.Target, y.TargetEpoch = claim, 0, 0
		g.out(t, "", "%s has no news of %s, and goes on by itself", n, name(target))
		return
	}
	if s.Redis.State[me] == 2 || !still || g.Taken && z.Giver != me+1 {
		g.drop(t, m, h)
		g.out(t, "", "%s takes the shard back: refused", n)
		return
	}
	if g.Raise {
		y.Epoch = g.own(t, me, h)
	} else {
		y.Epoch = x.Epoch
		r := &t.Redis.Shards[h]
		r.Owner, r.Epoch, r.Giver = me+1, x.Epoch, 0
	}
	e := y.Epoch
	g.drop(t, m, h)
	y = &t.Work[m][h]
	y.Phase, y.Epoch = claim, e
	g.out(t, "", "%s takes the shard back, epoch %d", n, e)
}

// events has what goes on beside the connection: reading, sending, saving.
func (g *steps) events(m, h int, me uint8) {
	s := g.s
	x := &s.Work[m][h]
	n := name(me)
	if (x.Phase == run || x.Phase == hold) && x.Conn == 1 && x.Sent < s.Discord[h].Sent[x.ConnSession] {
		t, y := g.next(m, h)
		y.Sent++
		y.Read = y.Sent
		g.out(t, "", "%s reads %d.%d", n, x.ConnSession, y.Sent)
	}
	if x.Old != (batch{}) { // before what was read later
		g.old(m, h)
		return
	}
	busy := x.Phase == run || x.Phase == drain || x.Phase == confirm || x.Phase == connect || !g.Drain && (x.Phase == give || x.Phase == given)
	if !busy {
		return
	}
	if x.Read > x.Acked || x.Gap != 0 && x.Session != x.Gap {
		g.send(m, h, false)
		if s.Left.Lost > 0 {
			g.send(m, h, true)
		}
		if !g.SinkAck && x.Read > x.Acked {
			t, y := g.next(m, h)
			y.Acked = x.Read
			g.out(t, "", "%s spools %d.%d: counts as delivered", n, x.Session, x.Read)
		}
	}
	if x.Acked > x.Saved {
		t, y := g.next(m, h)
		if ok, bad := g.save(t, m, me, h, x.Epoch, x.Session, x.Acked, false); ok {
			y.Saved = x.Acked
			g.out(t, bad, "%s saves %d.%d", n, x.Session, x.Acked)
		} else {
			g.drop(t, m, h)
			g.out(t, "", "%s saves %d.%d: refused", n, x.Session, x.Acked)
		}
		if s.Left.Late > 0 && x.Save == (lateSave{}) {
			t, y := g.next(m, h)
			t.Left.Late--
			y.Save = lateSave{x.Session, x.Acked, x.Epoch, me + 1}
			g.out(t, "", "%s saves %d.%d, no answer: it will try again", n, x.Session, x.Acked)
		}
	}
}
