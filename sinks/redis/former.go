// This file finds the streams of shards that there are no more.
//
// A bot that is resharded to fewer leaves streams in which commands wait, and some may still come: bots go by the count before
// until they know the new one. Whoever runs shard s of n reads those of s+n, s+2n and so on, too. There is nobody to ask up to
// which: a shard's stream, with its group, was made when the shard was first run.

package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/rueidis"
)

const (
	// formerAtOnce is how many streams are looked for at once.
	formerAtOnce = 64
	// maxShards is the most shards that a bot can have here.
	maxShards = 1 << 16
)

// streamsOf returns the streams that are read by whoever runs these shards.
func (r *commandReader) streamsOf(ids []int) (streams []string) {
	if r.Fleet == nil || slices.Contains(ids, 0) {
		streams = r.shared()
	}
	for _, id := range ids {
		streams = append(streams, strconv.Itoa(id))
	}
	if r.most > r.router.Total {
		for _, id := range ids {
			for former := id + r.router.Total; former < r.most; former += r.router.Total {
				streams = append(streams, strconv.Itoa(former))
			}
		}
	}
	return streams
}

// findFormer finds out up to which id there are streams with the group, and reads those that are this process's.
func (r *commandReader) findFormer(ctx context.Context) error {
	id := r.router.Total
	for more := true; more && id < maxShards; {
		var cmds []rueidis.Completed
		for i := range formerAtOnce {
			cmds = append(cmds, r.client.B().Xpending().Key(strconv.Itoa(id+i)).Group(r.Group).Build())
		}
		for _, a := range r.client.DoMulti(ctx, cmds...) {
			if err := a.Error(); err != nil {
				if _, answered := rueidis.IsRedisErr(err); !answered {
					return fmt.Errorf("XPENDING: %w", err)
				}
				more = false // no stream, or none that the group has read
				break
			}
			id++
		}
	}
	if r.most = id; r.Fleet == nil && id > r.router.Total {
		r.streams = r.streamsOf(r.Shards)
		r.pass()
	}
	return nil
}
