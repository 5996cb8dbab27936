// This file reads anything as what Redis has.

package redis

import (
	"encoding/binary"
	"strings"
	"testing"

	"sluice/resume"
)

// FuzzLoadShard reads anything as the hash of a shard: what it takes can be stored, as it is.
func FuzzLoadShard(f *testing.F) {
	f.Add(3, "a", "7", "wss://gateway.discord.gg", "16", "5", "1795000000000", "older", "3", "1795000000000", "closed by Discord")
	f.Add(3, "a", "-7", strings.Repeat("u", 2_000), "-1", "x", "-5", "older", "", "0", strings.Repeat("é", 2_000))
	f.Add(1<<16, "", "99999999999999999999", "", "", "", "", "", "1e9", "", "\xff")
	f.Fuzz(func(t *testing.T, shard int, session, seq, url, shards, bot, at, gap, gapSeq, gapAt, reason string) {
		s := resume.State{Checkpoints: map[int]resume.Checkpoint{}}
		err := new(Store).loadShard(&s, shard, map[string]string{
			"session": session, "seq": seq, "url": url, "shards": shards, "bot": bot, "at": at,
			"gap_session": gap, "gap_seq": gapSeq, "gap_at": gapAt, "gap_reason": reason,
		})
		c, ok := s.Checkpoints[shard]
		if err != nil && ok {
			t.Fatalf("loaded %+v with %v", c, err)
		}
		if again, err := resume.Check(shard, c); ok && (err != nil || again != c) {
			t.Fatalf("loaded %+v, which is stored as %+v, %v", c, again, err)
		}
		n := 16 * binary.MaxVarintLen64 // numbers and lengths, as the file has them
		for _, text := range []string{c.ID, c.ResumeURL, c.Gaps[0].Session, c.Gaps[0].Reason, c.Gaps[1].Session, c.Gaps[1].Reason} {
			n += len(text)
		}
		if n > resume.MaxSize {
			t.Fatalf("a checkpoint of %d bytes", n)
		}
	})
}
