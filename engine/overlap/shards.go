// This file is the shards of the next generation of which something is kept.

package overlap

import (
	"slices"
	"time"
)

// shard is what has to be known of one of the next generation while something of it is kept.
type shard struct {
	kept    int     // events, those included that Open has given to the sink
	session string  // of done
	done    []int64 // behind the first of them

	// While the guilds of a session come, behind its READY: when the last of that has come. Zero: they do not.
	guilds time.Duration

	pairs []pair // with shards of the older generation that have shown the same
	other pair   // with one for which pairs has no room
}

// pair is a shard of the next generation and one of the older. What both get comes to both in the same order: when one has
// shown what came behind an event, it will not show that. Without this an event that one side alone has would be taken for
// the next with the same payload, that one for the one after it, and so on until the switch.
type pair struct {
	with        int  // the older one
	older, next mark // the last event that both have shown, as each of them has it
}

// mark is an event of a shard.
type mark struct {
	session string
	seq     int64
}

const (
	// maxPairs bounds the pairs of a shard: what is beyond is not noted.
	maxPairs = 64
	// reordered is how far apart in time two events may come in different orders all the same.
	reordered = 250 * time.Millisecond
)

// with returns the pair with a shard of the older generation.
func (s *shard) with(older int) *pair {
	for i := range s.pairs {
		if s.pairs[i].with == older {
			return &s.pairs[i]
		}
	}
	if len(s.pairs) == maxPairs {
		s.other = pair{}
		return &s.other
	}
	s.pairs = append(s.pairs, pair{with: older})
	return &s.pairs[len(s.pairs)-1]
}

// agree notes an event that both have shown.
func (p *pair) agree(older, next mark) {
	p.older.advance(older)
	p.next.advance(next)
}

func (m *mark) advance(to mark) {
	if m.session != to.session || to.seq > m.seq {
		*m = to
	}
}

// behind reports whether an event that has waited for so long came before m.
func (m mark) behind(ev mark, waited time.Duration) bool {
	return waited > reordered && ev.seq > 0 && ev.seq < m.seq && ev.session == m.session
}

// guildsPause is the longest between two guilds of those that follow READY.
const guildsPause = 10 * time.Second

// startsWith reports whether an event is one of those with which a session begins, and notes it.
func (s *shard) startsWith(name []byte, now time.Duration) bool {
	switch string(name) {
	case "READY":
		s.guilds = now
		return true
	case "GUILD_CREATE", "GUILD_DELETE": // the latter of one that is unavailable
		if s.guilds == 0 || now-s.guilds > guildsPause {
			s.guilds = 0
			return false
		}
		s.guilds = now
		return true
	}
	return false
}

// maxDone bounds them. What is beyond may be repeated if the process is killed right at the switch.
const maxDone = 4096

func (v *overlap) shard(id int) *shard {
	if id >= len(v.shards) {
		v.shards = slices.Grow(v.shards, id+1-len(v.shards))[:id+1]
	}
	return &v.shards[id]
}

// keep notes that an event is kept, or, with -1, that it is not any more.
func (s *shard) keep(n int) {
	if s.kept += n; s.kept == 0 {
		s.done = s.done[:0]
	}
}

// shown notes an event of a session that the older generation has shown, too.
func (s *shard) shown(session string, seq int64) {
	if s.session != session {
		s.session, s.done = session, s.done[:0]
	}
	if s.kept > 0 && seq > 0 && len(s.done) < maxDone {
		s.done = append(s.done, seq)
	}
}
