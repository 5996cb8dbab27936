// This file gives the turns to identify.

package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/fleet"
)

// turnsPrelude reads the budget and the turns. The fields of turns are t<shard>, "incarnation given usable number", of a
// turn that is out, and s<shard> <incarnation>, "sent given number", of the last one whose Identify was written.
// A time long after now, as when the clock was set back by as much, is none.
const turnsPrelude = `
  local has = call('HMGET', budget, 'total', 'remaining', 'reserve', 'reset', 'concurrency')
  local total, remaining, reserve, reset, concurrency = number(has[1]), number(has[2]), number(has[3]), number(has[4]), number(has[5])
  local known = total and remaining and reserve and reset and concurrency and concurrency > 0
  call('ZCARD', given)
  local out, sent, stale, soon = {}, {}, {}, now + 60000
  local all = call('HGETALL', turns)
  for i = 1, #all, 2 do
    local field, a, b, c, n = all[i], match(string.sub(all[i + 1], 1, 200), '^(%w+) (%d+) (%d+) ?(%d*)$')
    local turn, last = match(field, '^t(%d+)$'), match(field, '^s(%d+) %w+$')
    local at, from = number(b), number(c)
    if number(turn) and at and from and number(n) and at <= soon and from <= at + 5250 and now - from < 10000 then
      out[turn] = {by = a, at = at, from = from, number = n, id = a .. ' ' .. turn .. ' ' .. b .. ' ' .. n}
    elseif number(last) and number(a) and at and from and number(a) <= soon and now - at <= 20500 then
      sent[field] = {shard = last, at = number(a), number = c}
    else
      stale[#stale + 1] = field
    end
  end
  local function bucket(shard) return tonumber(shard) % 65536 % concurrency end -- fleet.TurnStride

  -- firsts returns the first shard of each bucket.
  local function firsts(list)
    local first, buckets = {}, {}
    for shard in string.gmatch(list, '%d+') do
      local b = bucket(shard)
      if not first[b] then
        first[b] = shard
        buckets[#buckets + 1] = b
        if #buckets == concurrency then break end
      end
    end
    return first, buckets
  end

  -- question reads what wait keeps of one.
  local function question(s)
    local at, n, of, list = match(s or '', '^(%d+) (%d+) (%d+)(.*)$')
    if number(at) and number(n) and number(at) <= soon and now - number(at) <= 60000 then return number(at), n, of, list end
  end

  -- wait keeps what an incarnation waits for, since a time.
  local function wait(incarnation, at, n, list, first, buckets)
    local s = {}
    for i, b in ipairs(buckets) do s[i] = first[b] end
    call('HSET', asked, incarnation, text(at) .. ' ' .. n .. ' ' .. (known and has[5] or '0') .. ' ' .. table.concat(s, ' '))
    call('HSET', waiting, incarnation, list)
  end
`

// askScript has the arguments incarnation, the shards that wait, ascending, and the question's number. What it keeps of
// each incarnation is the first shard of each bucket, so that with thousands of shards few are read; if the concurrency
// has changed, all. The last number stays when nothing waits.
var askScript = newScript(turnsPrelude + `
  local incarnation = ARGV[3]
  local turn = number(call('HGET', budget, 'turn')) or 0
  call('HLEN', waiting)
  local _, before = question(call('HGET', asked, incarnation))
  if before and tonumber(ARGV[5]) < tonumber(before) then return {'changed'} end
  local mine, first, buckets = ' ' .. ARGV[4] .. ' ', {}, {}
  if known then first, buckets = firsts(ARGV[4]) end
  local reply, busy, after = {}, {}, {}
  for _, t in pairs(sent) do
    local b = known and bucket(t.shard)
    if b then after[b] = math.max(after[b] or 0, t.at + 5250) end
  end
  for shard, t in pairs(out) do
    if t.by == incarnation and not string.find(mine, ' ' .. shard .. ' ', 1, true) then
      stale[#stale + 1] = 't' .. shard
    else
      if known then busy[bucket(shard)] = true end
      if t.by == incarnation then
        reply[#reply + 1] = shard
        reply[#reply + 1] = t.from - now
        reply[#reply + 1] = t.number
      end
    end
  end
  for _, field in ipairs(stale) do call('HDEL', turns, field) end

  -- Whoever else waits matters only where there is a turn to be given, which is seldom: they are given ahead.
  local lowest, others, gone = {}, {}, {}
  for _, b in ipairs(buckets) do
    if not busy[b] and remaining > reserve then
      others = call('HGETALL', asked)
      break
    end
  end
  for i = 1, #others, 2 do
    local at, _, of, list = question(others[i + 1])
    if not at then
      gone[#gone + 1] = others[i]
    elseif others[i] ~= incarnation and now - at <= 3000 then
      if of ~= has[5] then list = call('HGET', waiting, others[i]) or '' end
      for shard in string.gmatch(list, '%d+') do
        local b, n = bucket(shard), tonumber(shard)
        if not lowest[b] or n < lowest[b] then lowest[b] = n end
      end
    end
  end
  for _, other in ipairs(gone) do
    call('HDEL', asked, other)
    call('HDEL', waiting, other)
  end
  wait(incarnation, now, ARGV[5], ARGV[4], first, buckets)

  for _, b in ipairs(buckets) do
    local shard = first[b]
    if not busy[b] and not (lowest[b] and lowest[b] < tonumber(shard)) and remaining > reserve then
      local from = math.max(after[b] or 0, now)
      remaining = remaining - 1
      turn = math.max(turn + 1, now) -- who has forgotten the last repeats none
      call('ZREMRANGEBYSCORE', given, '-inf', '(' .. text(now - 3600000))
      call('HSET', turns, 't' .. shard, incarnation .. ' ' .. text(now) .. ' ' .. text(from) .. ' ' .. text(turn))
      call('HSET', budget, 'remaining', text(remaining), 'turn', text(turn))
      call('ZADD', given, text(now), incarnation .. ' ' .. shard .. ' ' .. text(now) .. ' ' .. text(turn))
      reply[#reply + 1] = shard
      reply[#reply + 1] = from - now
      reply[#reply + 1] = text(turn)
    end
  end
  touch()
  if not known then return {'ok', '', reply} end
  return {'ok', {has[1], text(remaining), has[3], has[4], has[5]}, reply}`)

// askAgain is when a member that waits is to ask again: its earlier question is not forgotten by then.
const askAgain = fleet.AskFor / 3

// Ask says which shards wait, and returns the turns.
func (c *Coordinator) Ask(ctx context.Context, incarnation string, number int64, waiting []int) (fleet.Grants, error) {
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
	reply, err := c.run(ctx, "ask", askScript, incarnation, strings.Join(ids, " "), decimal(max(number, 0)))
	if err != nil {
		return fleet.Grants{}, err
	}
	bad := func(what error) (fleet.Grants, error) {
		return fleet.Grants{}, fmt.Errorf("fleet: redis: ask: %w", what)
	}
	if len(reply) != 2 {
		return bad(fmt.Errorf("a reply of %d parts", len(reply)))
	}
	g := fleet.Grants{After: askAgain}
	if parts, err := reply[0].ToArray(); err == nil {
		var n [5]int64
		for i, s := range strs(parts) {
			if n[min(i, 4)], err = strconv.ParseInt(s, 10, 64); err != nil {
				return bad(fmt.Errorf("%s: %w", c.key("budget"), err))
			}
		}
		g.Known = true
		g.Budget = fleet.Budget{Total: int(n[0]), Remaining: int(n[1]), Reserve: int(n[2]), Concurrency: int(n[4])}
		if n[3] != 0 {
			g.Budget.Reset = time.UnixMilli(n[3])
		}
	}
	turns, _ := reply[1].ToArray()
	for i := 0; i+2 < len(turns); i += 3 {
		id, err1 := turns[i].ToString()
		shard, err2 := strconv.Atoi(id)
		in, err3 := turns[i+1].AsInt64()
		digits, err4 := turns[i+2].ToString()
		number, err5 := strconv.ParseInt(digits, 10, 64)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			return bad(err)
		}
		g.Turns = append(g.Turns, fleet.Turn{Shard: shard, Number: number, In: time.Duration(in) * time.Millisecond})
	}
	slices.SortFunc(g.Turns, func(a, b fleet.Turn) int { return cmp.Compare(a.Shard, b.Shard) })
	return g, nil
}

// sentScript has the arguments incarnation, shard and the turn's number. A turn that was sent already was told by a
// call whose answer was lost.
var sentScript = newScript(turnsPrelude + `
  local incarnation, shard = ARGV[3], ARGV[4]
  local field, turn = 's' .. shard .. ' ' .. incarnation, out[shard]
  if not turn or turn.by ~= incarnation or turn.number ~= ARGV[5] then
    return {sent[field] and sent[field].number == ARGV[5] and 'ok' or 'changed'}
  end
  local list, at, n = call('HGET', waiting, incarnation) or '', question(call('HGET', asked, incarnation))
  call('HSET', turns, field, text(now) .. ' ' .. text(turn.at) .. ' ' .. turn.number)
  call('HDEL', turns, 't' .. shard)
  call('ZADD', given, text(now), turn.id)
  if known and at then -- the shard does not wait any more
    list = string.sub(string.gsub(' ' .. list .. ' ', ' ' .. shard .. ' ', ' ', 1), 2, -2)
    wait(incarnation, at, n, list, firsts(list))
  end
  touch()
  return {'ok'}`)

// Sent says that a turn's Identify is written.
func (c *Coordinator) Sent(ctx context.Context, incarnation string, shard int, number int64) error {
	if err := check(incarnation); err != nil {
		return err
	}
	_, err := c.run(ctx, "sent", sentScript, incarnation, strconv.Itoa(shard), decimal(max(number, 0)))
	return err
}

// budgetScript has the arguments total, remaining, reserve, reset, concurrency, and when they were asked
// for. Discord's answer may be without the turns that were given or sent since, or are out.
var budgetScript = newScript(turnsPrelude + `
  local left, asked = tonumber(ARGV[4]), tonumber(ARGV[8])
  call('ZREMRANGEBYSCORE', given, '-inf', '(' .. text(now - 3600000))
  left = left - call('ZCOUNT', given, text(asked), '+inf')
  for _, turn in pairs(out) do
    if turn.at < asked then left = left - 1 end
  end
  call('HSET', budget, 'total', ARGV[3], 'remaining', text(math.max(left, 0)), 'reserve', ARGV[5], 'reset', ARGV[6], 'concurrency', ARGV[7])
  touch()
  return {'ok'}`)

// Budget replaces what is left of the day's Identifies.
func (c *Coordinator) Budget(ctx context.Context, b fleet.Budget, asked time.Time) error {
	count := func(n int) string { return strconv.Itoa(min(max(n, 0), math.MaxInt32)) }
	reset := "0"
	if !b.Reset.IsZero() {
		reset = decimal(max(b.Reset.UnixMilli(), 0))
	}
	_, err := c.run(ctx, "budget", budgetScript, count(b.Total), count(b.Remaining), count(b.Reserve), reset, count(max(b.Concurrency, 1)),
		decimal(max(asked.UnixMilli(), 0)))
	return err
}
