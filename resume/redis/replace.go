// This file replaces all that is stored, and has the plan with it.

package redis

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"sluice/resume"
)

// replaceScript stores checkpoints and the plan in place of all checkpoints. Its keys are the set of shards, the plan, the
// hashes that there may be, and those of the checkpoints; its arguments the expiry in seconds, the three fields of the plan, the number of
// checkpoints, and for each the shard, the number of its fields, and these.
var replaceScript = rueidis.NewLuaScript(`
local n = tonumber(ARGV[5])
for i = 1, #KEYS do redis.call('DEL', KEYS[i]) end
redis.call('HSET', KEYS[2], 'shards', ARGV[2], 'instead', ARGV[3], 'bot', ARGV[4])
local at = 6
for i = 1, n do
  local key, fields = KEYS[#KEYS - n + i], tonumber(ARGV[at + 1])
  redis.call('HSET', key, unpack(ARGV, at + 2, at + 1 + fields))
  redis.call('EXPIRE', key, ARGV[1])
  redis.call('SADD', KEYS[1], ARGV[at])
  at = at + 2 + fields
end
if n > 0 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return 1`)

// Replace stores a state in place of all checkpoints. What another gateway has left under its own keys must not come back: that
// is removed first.
func (r *Store) Replace(ctx context.Context, state resume.State) error {
	if r.Compat {
		return fmt.Errorf("resume: redis: with the other gateway's keys %w", resume.ErrNoReplace)
	}
	state = state.Checked()
	return r.do(ctx, func(ctx context.Context) error {
		r.name()
		b := r.client.B
		members, err := r.client.Do(ctx, b().Smembers().Key(r.key("shards")).Build()).AsStrSlice()
		if err != nil && !wrongType(err) {
			return err
		}
		var stale rueidis.Commands
		for shard, session := range r.other {
			if session != "" {
				old := r.Prefix + strconv.Itoa(shard)
				stale = append(stale, b().Del().Key(old+"session").Build(), b().Del().Key(old+"seq").Build())
			}
		}
		if len(stale) > 0 && !r.denied {
			for _, a := range r.client.DoMulti(ctx, stale...) {
				if err := a.Error(); err != nil && !denied(err) {
					return err
				}
			}
		}
		keys := []string{r.key("shards"), r.key("plan")}
		for _, member := range members {
			keys = append(keys, r.key("shard:"+member))
		}
		p := state.Plan
		args := []string{strconv.Itoa(int(expiry.Seconds())), strconv.Itoa(p.Shards), strconv.Itoa(p.Instead), strconv.FormatUint(p.Bot, 10), ""}
		n := 0
		written := make(map[int]position)
		for shard, c := range state.Checkpoints {
			if c.Empty() {
				continue
			}
			fields := r.appendFields(nil, c)
			args = append(append(args, strconv.Itoa(shard), strconv.Itoa(len(fields))), fields...)
			keys = append(keys, r.shardKey(shard))
			written[shard] = position{c.ID, c.Seq}
			n++
		}
		args[4] = strconv.Itoa(n)
		if err := replaceScript.Exec(ctx, r.client, keys, args).Error(); err != nil {
			return err
		}
		r.saved, r.written, r.other = make(map[int]position), written, make(map[int]string)
		for shard, at := range written {
			r.saved[shard], r.other[shard] = at, at.session
		}
		return nil
	})
}

func loadPlan(s *resume.State, fields map[string]string) error {
	if len(fields) == 0 {
		return nil
	}
	h := hash{fields: fields}
	plan := resume.Plan{Shards: int(h.number("shards")), Instead: int(h.number("instead")), Bot: h.unsigned("bot")}
	if h.bad != nil {
		return h.bad
	}
	if err := plan.Check(); err != nil {
		return err
	}
	s.Plan = plan
	return nil
}
