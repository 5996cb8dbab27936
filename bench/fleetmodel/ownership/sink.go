// This file has the sink: what it writes and leaves out, and the consumer behind it.

package ownership

import "fmt"

type entry struct{ session, seq uint8 }

func (e entry) String() string {
	if e.seq == gap {
		return fmt.Sprintf("%d.gap", e.session)
	}
	return fmt.Sprintf("%d.%d", e.session, e.seq)
}

// covers reports whether the position says that an event is written, or too late to be.
func (g *steps) covers(t *state, h int, e entry) bool {
	p, began := &t.Redis.Streams[h], &t.Discord[h].Began
	switch {
	case !g.Position || g.Broker:
		return false
	case e.session == p.Session:
		return e.seq <= p.Seq
	case p.Ended&(1<<e.session) != 0:
		return true
	}
	return g.Older && began[e.session] < began[p.Session]
}

// excludes reports whether an event of an owner may not be written any more.
func (g *steps) excludes(t *state, m, h int, epoch uint8) bool {
	p := &t.Redis.Streams[h]
	return g.Tag && !g.Broker && (p.TagEpoch > epoch || g.Equal && p.TagEpoch == epoch && p.TagOwner != uint8(m)+1)
}

// write has the sink take an event; left: it has left it out.
func (g *steps) write(t *state, m, h int, epoch uint8, e entry) (left bool, bad string) {
	p := &t.Redis.Streams[h]
	if g.covers(t, h, e) {
		if c := &t.Consumers[h]; e.seq != gap && e.seq > c.Last[e.session] && t.Discord[h].Refused[e.session] == 0 {
			bad = fmt.Sprintf("I3: %v is left out as written, and is not in the stream", e)
		}
		return true, bad
	}
	if e.seq != gap {
		bad = g.consume(t, h, epoch, e)
		p.Last[e.session] = max(p.Last[e.session], e.seq)
	}
	if e.session != p.Session && p.Seq == gap {
		p.Ended |= 1 << p.Session
	}
	p.Session, p.Seq = e.session, e.seq
	if g.Tag && !g.Broker {
		p.TagEpoch, p.TagOwner = epoch, uint8(m)+1
	}
	return false, bad
}

// send is one batch: all that is read and not acknowledged. Its answer may be lost.
func (g *steps) send(m, h int, lost bool) {
	t, x := g.next(m, h)
	me := incarnation(m, t.Members[m].Life)
	suffix := ""
	if lost {
		t.Left.Lost--
		suffix = ", the answer is lost"
	}
	if g.Wait && g.s.Lags == 1 {
		lost, suffix = true, ", the replica has not acknowledged"
	}
	if g.excludes(t, m, h, x.Epoch) {
		if !lost {
			g.drop(t, m, h)
			t.Work[m][h].Old = batch{}
			g.out(t, "", "%s sends: refused, the shard has another owner", name(me))
		}
		return
	}
	var es []entry
	if x.Gap != 0 && x.Session != x.Gap { // before the first event of the next session
		es = append(es, entry{x.Gap, gap})
	} else {
		for q := x.Acked + 1; q <= x.Read; q++ {
			es = append(es, entry{x.Session, q})
		}
	}
	text, bad := "", ""
	for _, e := range es {
		left, b := g.write(t, m, h, x.Epoch, e)
		if bad == "" && (g.Only == "" || b != "" && b[:2] == g.Only) {
			bad = b
		}
		if text += " " + e.String(); left {
			text += " (left out)"
		}
		if lost {
			continue
		}
		if e.seq == gap {
			x.Gap = 0
		} else {
			x.Acked = e.seq
		}
	}
	g.out(t, bad, "%s writes%s%s", name(me), text, suffix)
}

// old has the sink write, or not, what it was given of a shard that was dropped.
func (g *steps) old(m, h int) {
	x := &g.s.Work[m][h]
	n := name(incarnation(m, g.s.Members[m].Life))
	t, y := g.next(m, h)
	y.Old = batch{}
	g.out(t, "", "%s discards what it had read of session %d", n, x.Old.Session)
	t, y = g.next(m, h)
	y.Old = batch{}
	if g.excludes(t, m, h, x.Old.Epoch) {
		return
	}
	bad := ""
	for q := x.Old.From; q <= x.Old.To; q++ {
		if _, b := g.write(t, m, h, x.Old.Epoch, entry{x.Old.Session, q}); bad == "" && (g.Only == "" || b != "" && b[:2] == g.Only) {
			bad = b
		}
	}
	g.out(t, bad, "%s writes %d.%d to %d.%d, of a shard that it has dropped", n, x.Old.Session, x.Old.From, x.Old.Session, x.Old.To)
}

// consume puts an event into the stream, and holds what a consumer reads against the invariants.
func (g *steps) consume(t *state, h int, epoch uint8, e entry) (bad string) {
	c, d := &t.Consumers[h], &t.Discord[h]
	if g.Broker {
		if g.Consumer == "lower" {
			if epoch < c.Epoch {
				return ""
			}
			c.Epoch = epoch
		}
		if e.session == c.Session && e.seq <= c.Last[e.session] {
			return ""
		}
	}
	switch {
	case !g.Broker && epoch < t.Claimed[h] && (g.Faults.Fail == 0 || g.FleetOnly) && (g.Only == "" || g.Only == "I2"):
		bad = fmt.Sprintf("I2: %v is written under epoch %d, and epoch %d has claimed the shard", e, epoch, t.Claimed[h])
	case e.seq <= c.Last[e.session]:
		bad = fmt.Sprintf("I1: %v twice or out of order", e)
	case d.Began[e.session] < d.Began[c.Session]:
		bad = fmt.Sprintf("I6: %v after session %d has begun", e, c.Session)
	case e.seq > c.Last[e.session]+1:
		bad = fmt.Sprintf("I3: %d.%d is missing in the stream", e.session, c.Last[e.session]+1)
	case e.session != c.Session && c.Session > 0 && d.Refused[c.Session] == 0:
		bad = fmt.Sprintf("I3: session %d is left without having been refused", c.Session)
	}
	c.Last[e.session], c.Session = max(c.Last[e.session], e.seq), e.session
	return bad
}
