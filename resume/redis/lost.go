// This file finds out that Redis has lost what was stored in it.

package redis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"sluice/resume"
)

// checkShards is how many shards are asked for at a time. An emptied server shows with the
// first; only to find what it has evicted takes as many checks as there are times that many shards.
const checkShards = 512

// checkScript returns which of its keys, the hashes of shards, are no checkpoints, or older ones of
// the same session. Another session is that of a process which has taken over. Its first key is
// the set, its arguments are shard, session and seq of each hash.
var checkScript = rueidis.NewLuaScript(`
local lost = {}
for i = 2, #KEYS do
  local shard, session, seq = unpack(ARGV, 3 * i - 5, 3 * i - 3)
  local has = redis.pcall('HMGET', KEYS[i], 'session', 'seq')
  if has.err or not has[1] or has[1] == session and (not string.match(has[2] or '', '^%d+$') or tonumber(has[2]) < tonumber(seq)) then
    lost[#lost + 1] = shard
  end
end
if #lost < #KEYS - 1 then -- or the set is written with the hashes
  for i = 2, #KEYS do
    local added = redis.pcall('SADD', KEYS[1], ARGV[3 * i - 5])
    if type(added) == 'table' and string.find(added.err, 'WRONGTYPE', 1, true) then return {ARGV[1]} end
    if type(added) == 'table' then return added end
  end
end
return lost`)

// check asks, now and then, for some of the checkpoints that this process has written.
func (r *Store) check(ctx context.Context, now time.Time) error {
	if len(r.written) == 0 || now.Sub(r.checked) < resume.CheckEvery {
		return nil
	}
	first := r.checked.IsZero()
	r.checked = now
	if first {
		return nil // they have just been written
	}
	shards := slices.Sorted(maps.Keys(r.written))
	from, _ := slices.BinarySearch(shards, r.next)
	if from == len(shards) {
		from = 0
	}
	shards = shards[from:min(from+checkShards, len(shards))]
	r.next = shards[len(shards)-1] + 1
	keys, args := []string{r.key("shards")}, []string(nil)
	for _, shard := range shards {
		keys = append(keys, r.shardKey(shard))
		args = append(args, strconv.Itoa(shard), r.written[shard].session, decimal(r.written[shard].seq))
	}
	lost, err := checkScript.Exec(ctx, r.client, keys, args).AsStrSlice()
	if err != nil || len(lost) == 0 {
		return err
	}
	for _, member := range lost {
		if shard, err := strconv.Atoi(member); err == nil {
			delete(r.written, shard) // once: whether it is written again is not for the store to say
		}
	}
	return fmt.Errorf("%w: of %d shards asked for, %d are missing, such as %s", resume.ErrLost, len(shards), len(lost), lost[0])
}
