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
