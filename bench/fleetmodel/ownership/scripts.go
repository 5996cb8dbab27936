// This file has the steps of the coordinator, and the claim of the sink.

package ownership

import "fmt"

// epoch is the next one of a shard.
func (g *steps) epoch(t *state, h int) uint8 {
	e := t.Redis.Shards[h].Epoch + 1
	if g.EpochTime {
		e = max(e, t.Clock[h]+1)
	}
	t.Clock[h] = max(t.Clock[h], e)
	return e
}

// own makes a member the owner of a shard.
func (g *steps) own(t *state, me uint8, h int) (epoch uint8) {
	epoch = g.epoch(t, h)
	z := &t.Redis.Shards[h]
	z.Owner, z.Epoch, z.Giver = me+1, epoch, 0
	return epoch
}

func (g *steps) owns(t *state, me uint8, h int, epoch uint8) bool {
	z := &t.Redis.Shards[h]
	return z.Owner == me+1 && z.Epoch == epoch
}

// give gives a shard to another member; what was done counts as done.
func (g *steps) give(t *state, me uint8, h int, epoch, to uint8) bool {
	z := &t.Redis.Shards[h]
	if z.Giver == me+1 && z.Owner == to+1 && z.Epoch > epoch {
		return true
	}
	if g.GiveOwner && (!g.owns(t, me, h, epoch) || z.Giver != 0) || g.GiveUp && t.Redis.State[to] != 1 {
		return false
	}
	e := g.epoch(t, h)
	z.Owner, z.Epoch, z.Giver = to+1, e, me+1
	return true
}

// save keeps a checkpoint.
func (g *steps) save(t *state, m int, me uint8, h int, epoch, session, seq uint8, late bool) (ok bool, bad string) {
	z := &t.Redis.Shards[h]
	if g.SaveOwner && !g.owns(t, me, h, epoch) {
		return false, ""
	}
	if late && g.SaveNumber && z.By == me+1 && z.Newer == 1 {
		return true, ""
	}
	began := &t.Discord[h].Began
	if began[session] < began[z.Session] {
		bad = fmt.Sprintf("I4: the checkpoint goes back from session %d to %d", z.Session, session)
	}
	has := t.Consumers[h].Last[session]
	if g.Broker || g.Wait {
		has = t.Redis.Streams[h].Last[session]
	}
	if seq > has {
		bad = fmt.Sprintf("I3: checkpoint %d.%d is beyond the stream", session, seq)
	}
	z.Session, z.Seq, z.By, z.Newer = session, seq, me+1, 0
	if v := t.Work[m][h].Save; !late && v.Who == me+1 {
		z.Newer = 1
	}
	return true, bad
}

// claim is the sink's script that claims a shard and returns its position.
func (g *steps) claim(t *state, m, h int) (ok bool) {
	y, p := &t.Work[m][h], &t.Redis.Streams[h]
	if g.Tag && !g.Broker {
		if g.Claim && (p.TagEpoch > y.Epoch || g.Equal && p.TagEpoch == y.Epoch && p.TagOwner != uint8(m)+1) {
			return false
		}
		p.TagEpoch, p.TagOwner = y.Epoch, uint8(m)+1
	}
	t.Claimed[h] = max(t.Claimed[h], y.Epoch)
	y.PosSession, y.PosSeq, y.PosEnded = p.Session, p.Seq, p.Ended
	return true
}

// load reads the checkpoint, and compares it with the position.
func (g *steps) load(t *state, m, h int) {
	y, z, d := &t.Work[m][h], &t.Redis.Shards[h], &t.Discord[h]
	y.Session, y.Read, y.Acked, y.Saved, y.Fresh = z.Session, z.Seq, z.Seq, z.Seq, 0
	defer func() { y.PosSession, y.PosSeq, y.PosEnded = 0, 0, 0 }()
	if g.Count {
		if n := max(d.Began[z.Session], d.Began[y.PosSession]); n/8 == y.Epoch {
			y.Number = n % 8
		}
	}
	if !g.GapFrom || g.Broker {
		return
	}
	later := y.PosSession > z.Session
	if g.Began {
		later = d.Began[y.PosSession] > d.Began[z.Session]
	}
	switch {
	case y.PosSession == 0:
	case y.PosSession == z.Session && y.PosSeq == gap: // its gap is published
		y.Fresh = 1
		d.Refused[z.Session] = 1
	case y.PosSession != z.Session && later:
		y.Session, y.Read, y.Acked, y.Saved, y.Fresh = y.PosSession, 0, 0, 0, 1
		if z.Session != 0 || g.NoRecord {
			if y.PosSeq != gap && !g.NoGaps {
				y.Gap = y.PosSession
			}
			d.Refused[y.PosSession] = 1
		}
	}
}
