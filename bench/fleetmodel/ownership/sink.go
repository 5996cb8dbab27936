// This file has the sink: its writer, its script, and the consumer behind it.

package ownership

import "fmt"

// covers reports whether a position says that an event is written.
func covers(session, seq, ended, s, q uint8) bool {
	return s == session && q <= seq || ended&(1<<s) != 0
}

// after returns the position after an event.
func after(session, seq, ended, s, q uint8) (uint8, uint8, uint8) {
	if s != session && seq == gap {
		ended |= 1 << session
	}
	return s, q, ended
}

type entry struct{ session, seq uint8 }

func (e entry) String() string {
	if e.seq == gap {
		return fmt.Sprintf("%d.gap", e.session)
	}
	return fmt.Sprintf("%d.%d", e.session, e.seq)
}

// send is one batch: all that is read and not acknowledged. Its answer may be lost.
func (g *steps) send(m, h int, lost bool) {
	t := *g.s
	x := &t.Work[m][h]
	me := incarnation(m, t.Members[m].Life)
	if lost {
		t.Left.Lost--
	}
	suffix := ""
	if lost {
		suffix = ", the answer is lost"
	}
	if g.Wait && g.s.Lags == 1 {
		lost, suffix = true, ", the replica has not acknowledged"
	}
	if g.Position && !g.Broker {
		if left, bad := g.leaveOut(&t, x, h); left {
			if x.Phase == stale && x.Read == x.Acked {
				g.drop(&t, m, h)
			}
			if suffix == "" || g.Wait {
				g.out(&t, bad, "%s leaves out what the position covers, up to %d.%d", name(me), g.s.Work[m][h].Session, x.Acked)
			}
			return
		}
	}
	var es []entry
	if x.Gap != 0 && x.Session != x.Gap { // before the first event of the next session
		es = append(es, entry{x.Gap, gap})
	} else {
		for q := x.Acked + 1; q <= x.Read; q++ {
			es = append(es, entry{x.Session, q})
		}
	}
	ack := func(n int) {
		for _, e := range es[:n] {
			if e.seq == gap {
				x.Gap = 0
			} else {
				x.Acked = e.seq
			}
			x.PosSession, x.PosSeq, x.PosEnded = after(x.PosSession, x.PosSeq, x.PosEnded, e.session, e.seq)
			x.Offset++
		}
		if x.Phase == stale && x.Read == x.Acked {
			g.drop(&t, m, h)
		}
	}
	if g.Broker { // it accepts everything
		bad := ""
		for _, e := range es {
			if e.seq != gap && bad == "" {
				bad = g.consume(&t, me, h, x.Epoch, e.session, e.seq)
			}
		}
		if !lost {
			ack(len(es))
		}
		g.out(&t, bad, "%s publishes %v%s", name(me), es, suffix)
		return
	}
	if t.Redis.Sealed[me] == 1 && g.SinkRefuses {
		if !lost {
			g.rejoin(&t, m)
		}
		g.out(&t, "", "%s sends %v: refused, deposed", name(me), es)
		return
	}
	i := int(t.Redis.Offset[me][h]) - int(x.Offset)
	if i < 0 {
		if !lost {
			x.Restore = 1
		}
		g.out(&t, "", "%s sends %v: gap", name(me), es)
		return
	}
	if i > 0 {
		i = min(i, len(es))
		if !lost {
			ack(i)
			g.out(&t, "", "%s sends %v again: %d were written", name(me), es, i)
		}
		return
	}
	p := &t.Redis.Streams[h]
	if g.Tag && (!g.Equal && p.TagEpoch > x.Epoch || g.Equal && (p.TagEpoch != x.Epoch || p.TagOwner != me+1)) {
		if !lost {
			g.drop(&t, m, h)
			g.out(&t, "", "%s sends %v: refused, the tag has another owner", name(me), es)
		}
		return
	}
	if g.Position && (p.Session != x.PosSession || p.Seq != x.PosSeq || p.Ended != x.PosEnded) {
		if lost {
			return
		}
		x.PosSession, x.PosSeq, x.PosEnded = p.Session, p.Seq, p.Ended
		bad := ""
		for _, e := range es {
			if !covers(p.Session, p.Seq, p.Ended, e.session, e.seq) {
				break
			}
			if e.seq == gap {
				x.Gap = 0
				continue
			}
			x.Acked = e.seq
			if e.seq > t.Consumers[h].Last[e.session] {
				bad = fmt.Sprintf("I3: %v is left out as a duplicate, and is not in the stream", e)
			}
		}
		if x.Phase == stale && x.Read == x.Acked {
			g.drop(&t, m, h)
		}
		g.out(&t, bad, "%s sends %v: the position is %v, it goes by that", name(me), es, entry{p.Session, p.Seq})
		return
	}
	bad := ""
	for _, e := range es {
		if e.seq != gap && bad == "" {
			if b := g.consume(&t, me, h, x.Epoch, e.session, e.seq); b != "" && (g.Only == "" || g.Only == b[:2]) {
				bad = b
			}
		}
		p.Session, p.Seq, p.Ended = after(p.Session, p.Seq, p.Ended, e.session, e.seq)
		t.Redis.Offset[me][h]++
	}
	if !lost {
		ack(len(es))
	}
	g.out(&t, bad, "%s writes %v%s", name(me), es, suffix)
}

// leaveOut has the writer leave out what the position that it has says is written.
func (g *steps) leaveOut(t *state, x *work, h int) (left bool, bad string) {
	if x.Gap != 0 && x.Session != x.Gap && covers(x.PosSession, x.PosSeq, x.PosEnded, x.Gap, gap) {
		x.Gap, left = 0, true
	}
	for x.Acked < x.Read && covers(x.PosSession, x.PosSeq, x.PosEnded, x.Session, x.Acked+1) {
		x.Acked, left = x.Acked+1, true
		if x.Acked > t.Consumers[h].Last[x.Session] {
			bad = fmt.Sprintf("I3: %d.%d is left out as a duplicate, and is not in the stream", x.Session, x.Acked)
		}
	}
	return left, bad
}

// consume puts an event into the stream, and holds what a consumer reads against the invariants.
func (g *steps) consume(t *state, me uint8, h int, epoch, session, seq uint8) (bad string) {
	p, c, d := &t.Redis.Streams[h], &t.Consumers[h], &t.Discord[h]
	p.Last[session] = max(p.Last[session], seq)
	if g.Broker {
		if c.refuses(g.Consumer, me, epoch) || session == c.Session && seq <= c.Last[session] {
			return ""
		}
	} else if t.Sealed[me] == 1 && g.Faults.Fail == 0 {
		defer func() {
			if bad == "" {
				bad = fmt.Sprintf("I2: %s writes %d.%d after its seal", name(me), session, seq)
			}
		}()
	}
	switch {
	case seq <= c.Last[session] && session == c.Session:
		return fmt.Sprintf("I1: %d.%d twice or out of order", session, seq)
	case d.Rank[session] < d.Rank[c.Session]:
		return fmt.Sprintf("I6: %d.%d after session %d has begun (by %s)", session, seq, c.Session, name(me))
	case seq > c.Last[session]+1:
		return fmt.Sprintf("I3: %d.%d is missing in the stream", session, c.Last[session]+1)
	case session != c.Session && c.Session > 0 && d.Refused[c.Session] == 0:
		return fmt.Sprintf("I3: session %d is left without having been refused", c.Session)
	}
	c.Last[session], c.Session = seq, session
	return ""
}

// refuses is what a consumer does that goes by the epochs of the events.
func (c *consumer) refuses(by string, me, epoch uint8) bool {
	if by == "" {
		return false
	}
	bit := func(epoch, who uint8) (int, uint8) {
		n := (epoch*maxLives + who) % 16
		return int(n / 8), 1 << (n % 8)
	}
	i, mask := bit(epoch, me)
	switch {
	case c.Epoch == epoch && c.Owner == me+1:
	case by == "lower" && epoch < c.Epoch, by == "replaced" && c.Replaced[i]&mask != 0:
		return true
	case by == "lower" && epoch == c.Epoch: // another incarnation with the same epoch: neither lower nor higher
	default:
		if c.Owner != 0 {
			j, old := bit(c.Epoch, c.Owner-1)
			c.Replaced[j] |= old
		}
		c.Epoch, c.Owner = epoch, me+1
	}
	return false
}
