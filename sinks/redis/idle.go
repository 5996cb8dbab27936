// This file takes over commands from consumers that do nothing any more.

package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// claim takes over what lies with consumers that do nothing any more. It is read with
// what was this consumer's own.
func (r *commandReader) claim(ctx context.Context) error {
	if r.Fleet != nil {
		if err := r.removeGone(ctx); err != nil {
			return err
		}
	}
	return r.claimIdle(ctx, r.streams)
}

// claimIdle is claim, of some streams.
func (r *commandReader) claimIdle(ctx context.Context, streams []string) error {
	if len(streams) == 0 {
		return nil
	}
	var cmds []rueidis.Completed
	for _, s := range streams {
		cmds = append(cmds, r.client.B().Xautoclaim().Key(s).Group(r.Group).Consumer(r.Consumer).
			MinIdleTime(strconv.FormatInt(r.timeout().Milliseconds(), 10)).Start("0").Count(prefetch).Justid().Build())
	}
	for i, a := range r.client.DoMulti(ctx, cmds...) {
		answer, err := a.ToArray()
		if err != nil {
			return fmt.Errorf("XAUTOCLAIM: %w", err)
		}
		if len(answer) < 2 {
			return fmt.Errorf("XAUTOCLAIM: an answer of %d parts, not of 2 or 3", len(answer))
		}
		ids, _ := answer[1].AsStrSlice()
		if len(ids) > 0 && !r.watching(streams[i]) {
			r.pass()
		}
		r.countClaimed(streams[i], ids)
	}
	return nil
}

// countClaimed counts entries that another consumer had as received.
func (r *commandReader) countClaimed(stream string, ids []string) {
	for _, id := range ids { // the others are counted when they are read
		if at := (entryID{stream, id}); !laterID(id, r.seen[stream]) && !r.holding(at) {
			r.Counts.Received(stream)
		}
	}
}
