// This file calls off a Reshard for which there are not enough session starts any more.

package fleet

import (
	"context"
	"fmt"
	"time"
)

// startsFor is how long shards wait for session starts until the Reshard is called off. Discord is asked again meanwhile how many are
// left, and they may be there again soon.
const startsFor = 5 * time.Minute

// starves looks whether shards of this member wait for session starts, and none are left: Propose saw to it that there were
// enough, but those of a member that died are begun anew. It reports whether the Reshard was called off for it: nothing is balanced
// while it is pending, and it might be for most of a day.
func (i *incarnation) starves(ctx context.Context, p *part) bool {
	i.f.mu.Lock()
	q := i.f.queue
	i.f.mu.Unlock()
	if q == nil {
		return false
	}
	s, now := q.Snapshot(), time.Now()
	waiting := s.Waiting - s.Turns
	if waiting <= 0 || !s.Known || s.Budget.Remaining > s.Budget.Reserve {
		p.starved = time.Time{}
		return false
	}
	if p.starved.IsZero() {
		p.starved = now
	}
	until := s.Budget.Reset.UTC().Format("2006-01-02 15:04 UTC")
	if now.Sub(p.starved) < startsFor {
		if now.Sub(p.warned) >= time.Minute {
			p.warned = now
			i.f.o.Log.Warn("fleet: shards wait for session starts while the bot is resharded: none are left beside the reserve",
				"shards", waiting, "until", until, "remedy", fmt.Sprintf("gateway reshard -cancel ends it; it is called off after %v", startsFor))
		}
		return false
	}
	why := i.says(fmt.Sprintf("no session starts are left beside the reserve until %s, and shards wait for them: %d", until, waiting))
	if !i.step(ctx, "call off", func(ctx context.Context) error { return i.f.o.Coordinator.CallOff(ctx, i.table.Reshard.At(), why) }) {
		return false
	}
	i.f.o.Log.Warn("fleet: the resharding is called off", "error", why)
	i.f.stir()
	return true
}
