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
	if x.Phase == stale {
		g.send(m, h, false)
		return
	}
	// The table is read with each beat.
	if g.Table && up && x.Phase >= claim && x.Phase != given && !mine {
		if g.Again && s.Left.Fail == 0 && z.Epoch < x.Epoch && z.Owner != 0 && z.Owner != me+1 {
			t, y := g.next(m, h)
			g.drop(t, m, h)
			*y = work{Offset: y.Offset, Phase: sealing, Target: z.Owner, TargetEpoch: z.Epoch}
			t.Redis.State[z.Owner-1] = 2
			g.out(t, "", "%s misses its ownership: deposes %s again", n, name(z.Owner-1))
		}
		t, _ := g.next(m, h)
		g.drop(t, m, h)
		g.out(t, "", "%s reads that the shard is not its own, drops it%s", n, of)
	}
	switch x.Phase {
	case idle:
		if up {
			g.idle(m, h, me, n, of)
		}
	case sealing:
		t, y := g.next(m, h)
		if g.Seal {
			t.Redis.Sealed[x.Target-1], t.Sealed[x.Target-1] = 1, 1
		}
		y.Phase = acquire
		if !g.LoadAfter {
			g.claim(t, m, h, me)
			g.load(t, m, h)
		}
		if !g.SealBefore {
			y.Phase, y.Target = confirm, 0
		}
		g.out(t, "", "%s seals %s", n, name(x.Target-1))
	case acquire:
		g.acquire(m, h, me, n, of)
	case claim:
		if g.WaitClaim && s.Lags == 1 {
			return
		}
		t, y := g.next(m, h)
		if !g.claim(t, m, h, me) {
			switch {
			case t.Redis.Sealed[me] == 1 && g.SinkRefuses:
				g.rejoin(t, m)
			case g.Above && mine && up:
				y.Epoch = g.raise(t, me, h)
				g.out(t, "", "%s claims the tag: refused, it takes epoch %d", n, y.Epoch)
				return
			default:
				g.drop(t, m, h)
			}
			g.out(t, "", "%s claims the tag: refused", n)
			return
		}
		y.Phase = load
		g.out(t, "", "%s claims the tag, position %v%s", n, entry{y.PosSession, y.PosSeq}, of)
	case load:
		t, y := g.next(m, h)
		g.load(t, m, h)
		y.Phase = confirm
		if !g.Confirm {
			y.Phase = connect
		}
		if !g.SealBefore && x.Target != 0 && s.Redis.State[x.Target-1] == 2 && s.Redis.Sealed[x.Target-1] == 0 {
			y.Phase = sealing
		}
		g.out(t, "", "%s loads checkpoint %v%s", n, entry{z.Session, z.Seq}, of)
	case confirm:
		if !up {
			return // it reads that it is deposed
		}
		t, y := g.next(m, h)
		if g.ConfirmOwn && !mine {
			g.drop(t, m, h)
			g.out(t, "", "%s confirms: not the owner", n)
			return
		}
		taken := ""
		if g.Taken && mine && z.Taken == 0 {
			t.Redis.Shards[h].Taken, taken = 1, ", taken"
		}
		y.Phase = connect
		g.out(t, "", "%s confirms%s", n, taken)
	case connect:
		g.connect(m, h, me)
	case hold:
		if !g.Hold {
			t, y := g.next(m, h)
			y.Phase = run
			g.out(t, "", "%s goes on after 10 s: session %d is not persisted", n, x.Session)
		}
		t, y := g.next(m, h)
		if ok, bad := g.save(t, me, h, x.Epoch, x.Session, 0, x.Number); ok {
			if !g.WaitSave || s.Lags == 0 {
				y.Phase = run
			}
			g.out(t, bad, "%s saves session %d", n, x.Session)
		} else {
			g.refused(t, m, h, me)
			g.out(t, "", "%s saves session %d: refused", n, x.Session)
		}
	case run:
		if w := z.Wish; mine && w != 0 && w != me+1 {
			t, y := g.next(m, h)
			y.Phase, y.Target = drain, w
			if !g.Drain {
				y.Phase, y.Conn = transfer, 0
			}
			g.out(t, "", "%s stops reading, for %s%s", n, name(w-1), of)
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
			g.out(t, "", "%s has lost its connection", n)
		}
	case drain:
		if x.Read == x.Acked && x.Gap == 0 && x.Saved == x.Acked {
			t, y := g.next(m, h)
			y.Conn, y.Phase = 0, transfer
			g.out(t, "", "%s is drained and persisted, closes with 4900", n)
		}
	case transfer:
		g.give(m, h, me, n, of, mine)
	case given:
		g.given(m, h, me, n, up)
	}
}

// refused is what follows a refused save. A member that Redis has forgotten is not deposed.
func (g *steps) refused(t *state, m, h int, me uint8) {
	if t.Redis.State[me] == 2 {
		g.rejoin(t, m)
	} else {
		g.drop(t, m, h)
	}
}

// idle has what a member does with a shard that it does not run.
func (g *steps) idle(m, h int, me uint8, n, of string) {
	s := g.s
	z := &s.Redis.Shards[h]
	owner := z.Owner - 1
	switch {
	case z.Owner == 0:
		t, y := g.next(m, h)
		y.Phase, y.Target, y.TargetEpoch = acquire, 0, z.Epoch
		g.out(t, "", "%s reads that the shard is free%s", n, of)
	case owner == me && !g.Run && z.Taken == 1:
	case owner == me:
		t, y := g.next(m, h)
		y.Phase, y.Epoch = claim, z.Epoch
		g.out(t, "", "%s reads that it is the owner, epoch %d%s", n, z.Epoch, of)
	case s.Redis.State[owner] == 1:
		o := int(owner % maxMembers)
		gone := s.Members[o].Alive != 1 || incarnation(o, s.Members[o].Life) != owner
		if gone || s.Left.Depose > 0 && (owner < maxMembers || g.living() > 1) {
			t, y := g.next(m, h)
			if !gone {
				t.Left.Depose--
			}
			t.Redis.State[owner] = 2
			y.Phase, y.Target, y.TargetEpoch = sealing, z.Owner, z.Epoch
			if !g.SealBefore {
				y.Phase = acquire
			}
			g.out(t, "", "%s deposes %s%s", n, name(owner), of)
		}
		if s.Left.Hand > 0 && z.Wish == 0 {
			t, _ := g.next(m, h)
			t.Left.Hand--
			t.Redis.Shards[h].Wish = me + 1
			g.out(t, "", "%s wishes the shard%s", n, of)
		}
	default: // deposed by somebody
		t, y := g.next(m, h)
		y.Phase, y.Target, y.TargetEpoch = sealing, z.Owner, z.Epoch
		if !g.SealAny || !g.SealBefore {
			y.Phase = acquire
		}
		g.out(t, "", "%s reads that %s is deposed%s", n, name(owner), of)
	}
}

func (g *steps) acquire(m, h int, me uint8, n, of string) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	t, y := g.next(m, h)
	up := s.Redis.State[me] == 1
	ok := z.Owner == x.Target && (z.Epoch == x.TargetEpoch || !g.AcquireRead)
	if !g.AcquireRead && z.Owner != 0 && s.Redis.State[z.Owner-1] == 2 {
		ok = true
	}
	if !ok || !up {
		g.drop(t, m, h)
		g.out(t, "", "%s acquires: refused", n)
		return
	}
	e := g.own(t, me, h)
	y.Epoch, y.Phase, y.TargetEpoch = e, claim, 0
	if g.SealBefore {
		y.Target = 0
	}
	if !g.LoadAfter {
		y.Phase = confirm
	}
	if s.Left.Lost > 0 {
		u := *t
		u.Left.Lost--
		g.drop(&u, m, h)
		g.out(&u, "", "%s acquires the shard, epoch %d, the answer is lost%s", n, e, of)
	}
	g.out(t, "", "%s acquires the shard, epoch %d%s", n, e, of)
}

// give is the transfer of a handover.
func (g *steps) give(m, h int, me uint8, n, of string, mine bool) {
	s := g.s
	x := &s.Work[m][h]
	to := name(x.Target - 1)
	t, y := g.next(m, h)
	if g.transfer(t, me, h, x.Epoch, x.Target-1) {
		y.Phase = given
		g.out(t, "", "%s transfers the shard to %s, epoch %d%s", n, to, t.Redis.Shards[h].Epoch, of)
	} else {
		if mine {
			t.Redis.Shards[h].Wish = 0
		}
		y.Phase, y.Target = confirm, 0
		g.out(t, "", "%s transfers the shard to %s: refused", n, to)
	}
	if s.Left.Late > 0 {
		t, y := g.next(m, h)
		t.Left.Late--
		y.Transfer = lateTransfer{x.Epoch, x.Target, me + 1}
		if g.Raise {
			y.Phase = given
		} else {
			y.Phase, y.Target = confirm, 0 // "the owner resumes by itself"
		}
		g.out(t, "", "%s transfers the shard to %s, no answer: it gives up waiting", n, to)
	}
}

// given has a member wait for "taken", and take the shard back.
func (g *steps) given(m, h int, me uint8, n string, up bool) {
	s := g.s
	x, z := &s.Work[m][h], &s.Redis.Shards[h]
	if up && z.Taken == 1 && z.Owner != me+1 {
		t, _ := g.next(m, h)
		g.drop(t, m, h)
		g.out(t, "", "%s reads that it is taken", n)
	}
	target := x.Target - 1
	if s.Left.Back == 0 && z.Owner != me+1 && s.Redis.State[target] != 2 && s.Members[target%maxMembers].Alive == 1 {
		return
	}
	t, y := g.next(m, h)
	if z.Owner == x.Target && t.Left.Back > 0 {
		t.Left.Back--
	}
	if !g.TakeBack {
		y.Phase, y.Target = confirm, 0
		g.out(t, "", "%s has no news of %s, resumes by itself", n, name(target))
		return
	}
	if !up || !(z.Owner == x.Target && (z.Taken == 0 || !g.Taken) || z.Owner == me+1 && z.Epoch == x.Epoch) {
		g.drop(t, m, h)
		g.out(t, "", "%s takes the shard back: refused", n)
		return
	}
	y.Epoch, y.Phase, y.Target = g.own(t, me, h), claim, 0
	g.out(t, "", "%s takes the shard back, epoch %d", n, y.Epoch)
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
	busy := x.Phase == run || x.Phase == drain || x.Phase == confirm || x.Phase == connect || !g.Drain && (x.Phase == transfer || x.Phase == given)
	if !busy {
		return
	}
	if x.Read > x.Acked || x.Gap != 0 && x.Session != x.Gap {
		if x.Restore == 1 {
			t, y := g.next(m, h)
			y.Restore = 0
			if t.Redis.Sealed[me] == 0 || !g.Restore {
				t.Redis.Sealed[me] = 0
				t.Redis.Offset[me][h] = x.Offset
			}
			g.out(t, "", "%s sets its offset to %d", n, x.Offset)
		} else {
			g.send(m, h, false)
			if s.Left.Lost > 0 {
				g.send(m, h, true)
			}
		}
		if !g.SinkAck && x.Read > x.Acked {
			t, y := g.next(m, h)
			y.Acked = x.Read
			g.out(t, "", "%s spools %d.%d: counts as delivered", n, x.Session, x.Read)
		}
	}
	if x.Acked > x.Saved {
		t, y := g.next(m, h)
		if ok, bad := g.save(t, me, h, x.Epoch, x.Session, x.Acked, x.Number); ok {
			y.Saved = x.Acked
			g.out(t, bad, "%s saves %d.%d", n, x.Session, x.Acked)
		} else {
			g.refused(t, m, h, me)
			g.out(t, "", "%s saves %d.%d: refused", n, x.Session, x.Acked)
		}
		if s.Left.Late > 0 && x.Save == (lateSave{}) {
			t, y := g.next(m, h)
			t.Left.Late--
			y.Save = lateSave{x.Session, x.Acked, x.Epoch, me + 1, x.Number}
			g.out(t, "", "%s saves %d.%d, no answer: it will try again", n, x.Session, x.Acked)
		}
	}
}
