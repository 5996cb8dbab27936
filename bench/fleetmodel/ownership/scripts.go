// This file has the scripts of the coordinator and of the store.

package ownership

import "fmt"

// epoch is the next one of a shard.
func (g *steps) epoch(t *state, h int) uint8 {
	e := t.Redis.Shards[h].Epoch + 1
	if g.EpochTime {
		e = max(e, t.Clock[h]+1)
		t.Clock[h] = e
	}
	return e
}

// raise gives an owner an epoch above the tag's.
func (g *steps) raise(t *state, me uint8, h int) (epoch uint8) {
	z := &t.Redis.Shards[h]
	z.Epoch = max(z.Epoch, t.Redis.Streams[h].TagEpoch)
	return g.own(t, me, h)
}

// own makes a member the owner of a shard.
func (g *steps) own(t *state, me uint8, h int) (epoch uint8) {
	epoch = g.epoch(t, h)
	z := &t.Redis.Shards[h]
	z.Owner, z.Epoch, z.Taken, z.Wish = me+1, epoch, 1, 0
	return epoch
}

// claim is the sink's script that claims the tag of a shard and reads its position.
func (g *steps) claim(t *state, m, h int, me uint8) (ok bool) {
	y, p := &t.Work[m][h], &t.Redis.Streams[h]
	if t.Redis.Sealed[me] == 1 && g.SinkRefuses || g.Tag && g.Claim && p.TagEpoch > y.Epoch {
		return false
	}
	if g.Tag {
		p.TagEpoch, p.TagOwner = y.Epoch, me+1
	}
	y.PosSession, y.PosSeq, y.PosEnded = p.Session, p.Seq, p.Ended
	return true
}

func (g *steps) owns(t *state, me uint8, h int, epoch uint8) bool {
	z := &t.Redis.Shards[h]
	if !g.Equal {
		return z.Epoch <= epoch
	}
	return z.Owner == me+1 && z.Epoch == epoch
}

// transfer gives a shard to another member.
func (g *steps) transfer(t *state, me uint8, h int, epoch, to uint8) bool {
	if g.Check && (!g.owns(t, me, h, epoch) || t.Redis.State[me] != 1 || t.Redis.State[to] != 1) {
		return false
	}
	e := g.epoch(t, h)
	z := &t.Redis.Shards[h]
	z.Owner, z.Epoch, z.Taken, z.Wish = to+1, e, 0, 0
	return true
}

// save is the store's script.
func (g *steps) save(t *state, me uint8, h int, epoch, session, seq, number uint8) (ok bool, bad string) {
	z := &t.Redis.Shards[h]
	if g.SaveState && t.Redis.State[me] != 1 {
		return false, ""
	}
	if g.SaveOwner && !g.owns(t, me, h, epoch) {
		return false, ""
	}
	if g.SaveNumber && z.SavedIn == epoch && z.Nth > number {
		return true, ""
	}
	if z.Session == session && z.Seq > seq {
		return true, "" // a higher seq of the session is kept
	}
	if rank := &t.Discord[h].Rank; rank[session] < rank[z.Session] {
		bad = fmt.Sprintf("I4: the checkpoint goes back from session %d to %d", z.Session, session)
	}
	has := t.Consumers[h].Last[session]
	if g.Broker || g.Wait {
		has = t.Redis.Streams[h].Last[session]
	}
	if seq > has {
		bad = fmt.Sprintf("I3: checkpoint %d.%d is beyond the stream", session, seq)
	}
	z.Session, z.Seq, z.SavedIn, z.Nth = session, seq, epoch, number
	return true, bad
}

// load reads the checkpoint, and compares it with the position.
func (g *steps) load(t *state, m, h int) {
	y, z := &t.Work[m][h], &t.Redis.Shards[h]
	y.Session, y.Read, y.Acked, y.Saved = z.Session, z.Seq, z.Seq, z.Seq
	if !g.GapFrom {
		return
	}
	if z.Session != 0 && covers(y.PosSession, y.PosSeq, y.PosEnded, z.Session, gap) { // its gap is published
		y.Fresh = 1
		t.Discord[h].Refused[z.Session] = 1
	}
	later := y.PosSession > z.Session
	if rank := &t.Discord[h].Rank; g.Age {
		later = rank[y.PosSession] > rank[z.Session]
	}
	if later {
		y.Session, y.Read, y.Acked, y.Saved, y.Fresh = y.PosSession, 0, 0, 0, 1
		if y.PosSeq != gap {
			y.Gap = y.PosSession
		}
		t.Discord[h].Refused[y.PosSession] = 1
	}
}
