// This file forwards what comes to SEND in a fleet, and to streams of former shards, as much at a time as was read.

package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks/commands"
)

// forwarding is a command that goes from one stream to that of its shard.
type forwarding struct {
	at    entryID
	shard int
	value string
}

// forwardBytes bounds the commands that are forwarded at once.
const forwardBytes = 1 << 20

// forwardScript moves entries from the first to the second of each two keys, in their order, and says of each what is
// wrong with it, or nothing. One that a consumer does not have any more, since it was moved and the
// answer lost, or since another has claimed it, is left alone. What follows for a stream that has refused one waits.
//
//	group, consumer, minid, the id and the value of each entry…
var forwardScript = rueidis.NewLuaScript(`
local said, refused = {}, {}
for i = 1, #KEYS / 2 do
  local from, to, id, value = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 + 2 * i], ARGV[3 + 2 * i]
  if not refused[to] and #redis.call('XPENDING', from, ARGV[1], id, id, 1, ARGV[2]) > 0 then
    local added = redis.pcall('XADD', to, 'MINID', '~', ARGV[3], '*', 'data', value)
    if type(added) == 'table' then
      refused[to] = added.err
    else
      redis.call('XACK', from, ARGV[1], id)
    end
  end
  said[i] = refused[to] or ''
end
return said
`)

// fromShared reports whether an entry is of a stream from which a fleet forwards.
func (d delivery) fromShared() bool {
	return d.r.Fleet != nil && (slices.Contains(d.r.shared(), d.at.stream) || commands.Former(d.at.stream, d.r.router.Total))
}

// forwardsLess reports whether no more is read of these, since too much of it cannot be forwarded.
func (r *commandReader) forwardsLess() bool {
	return len(r.moves.unforwarded) > 0 && r.leftCount >= maxLeft
}

// forwardInFleet has a command forwarded, with what else was read. One from its shard's own stream is in the right
// place: it is read again, or whoever runs the shard next claims it. In another shard's it is by the shard count before.
func (d delivery) forwardInFleet(shard int, value string) {
	m := &d.r.moves
	if d.fromShared() || d.at.stream != strconv.Itoa(shard) {
		m.forwards = append(m.forwards, forwarding{d.at, shard, value})
		m.size += len(value)
		return
	}
	d.r.left[shard] = maxHeld // whatever it holds
	d.r.leftCount++
}

// forward forwards what is to be. After an error it is read again.
func (r *commandReader) forward(ctx context.Context) error {
	m := &r.moves
	if len(m.forwards) == 0 {
		return nil
	}
	all := m.forwards
	m.forwards, m.size = nil, 0
	keys, args := make([]string, 0, 2*len(all)), make([]string, 0, 3+2*len(all))
	args = append(args, r.Group, r.Consumer, forwardedSince())
	for _, f := range all {
		keys = append(keys, f.at.stream, strconv.Itoa(f.shard))
		args = append(args, f.at.id, f.value)
	}
	said, err := forwardScript.Exec(ctx, r.client, keys, args).AsStrSlice()
	if err == nil && len(said) != len(all) {
		err = fmt.Errorf("an answer of %d parts, not of %d", len(said), len(all))
	}
	if err != nil {
		return fmt.Errorf("commands not forwarded: %w", err)
	}
	for i, f := range all {
		if said[i] == "" {
			r.Counts.Forwarded(f.at.stream)
			continue
		}
		if _, known := m.unforwarded[f.shard]; !known {
			r.Log.Warn("command not forwarded; retrying", "stream", strconv.Itoa(f.shard), "entry", f.at.id, "error", said[i])
		}
		m.unforwarded[f.shard] = struct{}{}
		r.leftCount++
		r.repass = time.Now().Add(retryPause)
	}
	return nil
}
