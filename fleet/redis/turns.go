// This file gives the turns to identify.

package redis

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/fleet"
)

// turnsPrelude reads the budget and the turns. The fields of turns are t<shard>, "incarnation time" of a turn that is
// out; n<bucket>, "time incarnation shard", when its next may be and what was sent last; and n, when the next of
// any bucket may be. A time that cannot be, as when the clock was set back, is none.
const turnsPrelude = `
  local has = call('HMGET', budget, 'total', 'remaining', 'reserve', 'reset', 'concurrency')
  local total, remaining, reserve, reset, concurrency = number(has[1]), number(has[2]), number(has[3]), number(has[4]), number(has[5])
  local known = total and remaining and reserve and reset and concurrency and concurrency > 0
  call('ZCARD', given)
  local out, after, sent, stale = {}, {}, {}, {}
  local function readTurns()
    local all = call('HGETALL', turns)
    for i = 1, #all, 2 do
      local field, value = all[i], string.sub(all[i + 1], 1, 200)
      local kind, id = match(field, '^([tn])(%d*)$')
      if kind == 't' and number(id) then
        local by, at = match(value, '^(%w+) (%d+)$')
        at = number(at)
        if at and at <= now and now - at < 10000 then out[id] = {by = by, at = at} else stale[#stale + 1] = field end
      elseif kind == 'n' then
        local at, last = match(value, '^(%d+) ?(.*)$')
        at = number(at)
        if at and at <= now + 5250 then after[id], sent[id] = at, last else stale[#stale + 1] = field end
      else
        stale[#stale + 1] = field
      end
    end
  end
  local function bucket(shard) return text(tonumber(shard) % concurrency) end
`

// askScript has the arguments incarnation and the shards that wait, by number. What it keeps of each incarnation
// is the first shard of each bucket, so that with thousands of shards few are read; if the concurrency
// has changed, all.
var askScript = newScript(turnsPrelude + `
  local incarnation = ARGV[3]
  if dead(incarnation) then return {'deposed'} end
  readTurns()
  call('HLEN', waiting)
  local others = call('HGETALL', asked)
  local mine, first, buckets = {}, {}, {}
  for shard in string.gmatch(ARGV[4], '%d+') do
    mine[shard] = true
    local b = known and bucket(shard)
    if b and not first[b] then
      first[b] = shard
      buckets[#buckets + 1] = b
    end
  end
  local reply, busy = {}, {}
  for shard, turn in pairs(out) do
    if turn.by == incarnation and not mine[shard] then
      stale[#stale + 1] = 't' .. shard
    else
      if known then busy[bucket(shard)] = true end
      if turn.by == incarnation then reply[#reply + 1] = shard end
    end
  end
  for _, field in ipairs(stale) do call('HDEL', turns, field) end

  local lowest, gone = {}, {}
  for i = 1, #others, 2 do
    local at, of, list = match(others[i + 1], '^(%d+) (%d+)(.*)$')
    at = number(at)
    if not at or at > now or now - at >= 3000 then
      gone[#gone + 1] = others[i]
    elseif known and others[i] ~= incarnation then
      if of ~= has[5] then list = call('HGET', waiting, others[i]) or '' end
      for shard in string.gmatch(list, '%d+') do
        local b, n = bucket(shard), tonumber(shard)
        if not lowest[b] or n < lowest[b] then lowest[b] = n end
      end
    end
  end
  if ARGV[4] == '' then gone[#gone + 1] = incarnation end
  for _, other in ipairs(gone) do
    call('HDEL', asked, other)
    call('HDEL', waiting, other)
  end
  if ARGV[4] ~= '' then
    local list = {}
    for i, b in ipairs(buckets) do list[i] = first[b] end
    call('HSET', asked, incarnation, text(now) .. ' ' .. (known and has[5] or '0') .. ' ' .. table.concat(list, ' '))
    call('HSET', waiting, incarnation, ARGV[4])
  end

  local wait = 1000
  for _, b in ipairs(buckets) do
    local shard = first[b]
    local at = math.max(after[b] or 0, after[''] or 0)
    if busy[b] or remaining <= reserve then
      -- what ends it is not known
    elseif at > now then
      wait = math.min(wait, at - now)
    elseif not lowest[b] or tonumber(shard) <= lowest[b] then
      remaining = remaining - 1
      call('HSET', turns, 't' .. shard, incarnation .. ' ' .. text(now))
      call('HDEL', turns, 'n' .. b)
      call('HSET', budget, 'remaining', text(remaining))
      call('ZADD', given, text(now), incarnation .. ' ' .. shard .. ' ' .. text(now))
      call('ZREMRANGEBYSCORE', given, '-inf', text(now - 3600000))
      reply[#reply + 1] = shard
    end
  end
  touch()
  if not known then return {'ok', wait, '', reply} end
  return {'ok', wait, {has[1], text(remaining), has[3], has[4], has[5]}, reply}`)

// Ask says which shards wait, and returns the turns.
func (c *Coordinator) Ask(ctx context.Context, incarnation string, waiting []int) (fleet.Grants, error) {
	if err := check(incarnation); err != nil {
		return fleet.Grants{}, err
	}
	sorted := slices.Sorted(slices.Values(waiting))
	ids := make([]string, len(sorted))
	for i, shard := range sorted {
		if shard < 0 {
			return fleet.Grants{}, fmt.Errorf("fleet: redis: ask: there is no shard %d", shard)
		}
		ids[i] = strconv.Itoa(shard)
	}
	reply, err := c.run(ctx, "ask", askScript, incarnation, strings.Join(ids, " "))
	if err != nil {
		return fleet.Grants{}, err
	}
	bad := func(what error) (fleet.Grants, error) {
		return fleet.Grants{}, fmt.Errorf("fleet: redis: ask: %w", what)
	}
	if len(reply) != 3 {
		return bad(fmt.Errorf("a reply of %d parts", len(reply)))
	}
	after, err := reply[0].AsInt64()
	if err != nil {
		return bad(err)
	}
	g := fleet.Grants{After: time.Duration(max(after, 1)) * time.Millisecond}
	if parts, err := reply[1].ToArray(); err == nil {
		var n [5]int64
		for i, s := range strs(parts) {
			if n[min(i, 4)], err = strconv.ParseInt(s, 10, 64); err != nil {
				return bad(fmt.Errorf("%s: %w", c.key("budget"), err))
			}
		}
		g.Known = true
		g.Budget = fleet.Budget{Total: int(n[0]), Remaining: int(n[1]), Reserve: int(n[2]), Reset: time.UnixMilli(n[3]), Concurrency: int(n[4])}
	}
	shards, _ := reply[2].ToArray()
	for _, s := range strs(shards) {
		shard, err := strconv.Atoi(s)
		if err != nil {
			return bad(err)
		}
		g.Shards = append(g.Shards, shard)
	}
	slices.Sort(g.Shards)
	return g, nil
}

// sentScript has the arguments incarnation and shard. A turn that was sent last in its bucket was told by a call
// whose answer was lost.
var sentScript = newScript(turnsPrelude + `
  local incarnation, shard = ARGV[3], ARGV[4]
  readTurns()
  local field = known and 'n' .. bucket(shard) or 'n'
  local turn, by = out[shard], incarnation .. ' ' .. shard
  if not turn or turn.by ~= incarnation then
    if sent[string.sub(field, 2)] == by then return {'ok'} end
    return {'changed'}
  end
  call('HSET', turns, field, text(now + 5250) .. ' ' .. by)
  call('HDEL', turns, 't' .. shard)
  call('ZADD', given, text(now), by .. ' ' .. text(turn.at))
  touch()
  return {'ok'}`)

// Sent says that a turn's Identify is written.
func (c *Coordinator) Sent(ctx context.Context, incarnation string, shard int) error {
	if err := check(incarnation); err != nil {
		return err
	}
	_, err := c.run(ctx, "sent", sentScript, incarnation, strconv.Itoa(shard))
	return err
}

// budgetScript has the arguments total, remaining, reserve, reset, concurrency, and when they were asked
// for. Discord's answer may be without the turns that were given or sent since, or are out. With another
// concurrency the pause after the last Identify is that of all buckets.
var budgetScript = newScript(turnsPrelude + `
  readTurns()
  local left, asked = tonumber(ARGV[4]), ARGV[8]
  left = left - call('ZCOUNT', given, asked, '+inf')
  for _, turn in pairs(out) do
    if turn.at < tonumber(asked) then left = left - 1 end
  end
  call('HSET', budget, 'total', ARGV[3], 'remaining', text(math.max(left, 0)), 'reserve', ARGV[5], 'reset', ARGV[6], 'concurrency', ARGV[7])
  if has[5] ~= ARGV[7] then
    local last
    for id, at in pairs(after) do
      last = math.max(last or 0, at)
      stale[#stale + 1] = 'n' .. id
    end
    for _, field in ipairs(stale) do call('HDEL', turns, field) end
    if last then call('HSET', turns, 'n', text(last)) end
  end
  touch()
  return {'ok'}`)

// Budget replaces what is left of the day's Identifies.
func (c *Coordinator) Budget(ctx context.Context, b fleet.Budget, asked time.Time) error {
	if b.Total < 0 || b.Remaining < 0 || b.Reserve < 0 || b.Concurrency < 1 || max(b.Total, b.Remaining, b.Reserve, b.Concurrency) > math.MaxInt32 {
		return fmt.Errorf("fleet: redis: budget: %+v is no budget", b)
	}
	_, err := c.run(ctx, "budget", budgetScript, strconv.Itoa(b.Total), strconv.Itoa(b.Remaining), strconv.Itoa(b.Reserve),
		decimal(max(b.Reset.UnixMilli(), 0)), strconv.Itoa(b.Concurrency), decimal(max(asked.UnixMilli(), 0)))
	return err
}
