// This file has Resume and Identify, with every answer of Discord.

package ownership

func (g *steps) connect(m, h int, me uint8) {
	s := g.s
	x := &s.Work[m][h]
	if x.Session == 0 || x.Fresh == 1 {
		if x.Read > x.Acked || s.Discord[h].Sessions == maxSessions {
			return
		}
		t, y := g.next(m, h)
		d := &t.Discord[h]
		d.Sessions++
		d.Sent[d.Sessions], d.Valid[d.Sessions] = 1, 1
		y.Conn, y.ConnSession, y.Sent = 1, d.Sessions, 0
		y.Session, y.Read, y.Acked, y.Saved, y.Fresh, y.Phase = d.Sessions, 0, 0, 0, 0, hold
		y.Number++
		d.Began[d.Sessions] = y.Epoch*8 + y.Number
		g.out(t, "", "%s identifies: session %d", name(me), d.Sessions)
		return
	}
	if s.Discord[h].Valid[x.Session] == 0 {
		g.refuse(m, h, me, true, "")
		return
	}
	others := false
	for j := range g.Members {
		if y := &s.Work[j][h]; j != m && y.Conn != 0 && y.ConnSession == x.Session {
			others = true
		}
	}
	if !others {
		g.accept(m, h, me, 0, "")
		if s.Left.Refuse > 0 {
			g.refuse(m, h, me, true, "")
		}
		return
	}
	g.accept(m, h, me, 0, ", the old connection is closed")
	if s.Left.Both > 0 {
		g.accept(m, h, me, 1, ", both connections receive")
		g.accept(m, h, me, 2, ", the old connection is starved")
	}
	if s.Left.Refuse > 0 {
		g.refuse(m, h, me, true, ", the session ends")
		g.refuse(m, h, me, false, ", the old connection goes on")
	}
}

// accept is RESUMED. old is what becomes of another connection with the session: 0 closed, 1 open,
// 2 starved.
func (g *steps) accept(m, h int, me uint8, old uint8, text string) {
	t, y := g.next(m, h)
	for j := range g.Members {
		if z := &t.Work[j][h]; j != m && z.Conn != 0 && z.ConnSession == y.Session && old != 1 {
			z.Conn = old
			if old == 0 {
				z.ConnSession, z.Sent = 0, 0
			}
		}
	}
	if old != 0 {
		t.Left.Both--
	}
	y.Conn, y.ConnSession, y.Sent, y.Phase = 1, y.Session, y.Read, run
	g.out(t, "", "%s resumes %d after %d%s", name(me), y.Session, y.Read, text)
}

// refuse is op 9.
func (g *steps) refuse(m, h int, me uint8, ends bool, text string) {
	t, y := g.next(m, h)
	session, d := y.Session, &t.Discord[h]
	if d.Valid[session] == 1 {
		t.Left.Refuse--
	}
	d.Refused[session] = 1
	if ends {
		d.Valid[session] = 0
		for j := range g.Members {
			if z := &t.Work[j][h]; z.ConnSession == session {
				z.Conn, z.ConnSession, z.Sent = 0, 0, 0
			}
		}
	}
	y.Fresh, y.Phase = 1, confirm
	if !g.NoGaps {
		y.Gap = session
	}
	if !g.Confirm {
		y.Phase = connect
	}
	g.out(t, "", "%s resumes %d: op 9%s", name(me), session, text)
}
