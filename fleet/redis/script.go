// This file holds what all scripts have in common.

package redis

import "github.com/redis/rueidis"

// names are the keys of a fleet, as the scripts get them and call them. The values are
//
//	members   a hash: of each incarnation its beat, its state and what else a fleet.Member has
//	deposed   a sorted set: the incarnations that have been deposed, by the time of it
//	plan      a hash: fleet.Plan
//	owners    a hash: of each shard "epoch incarnation giver"
//	owned     a sorted set: "incarnation shard" of all that are owned, to find those of one
//	changes   a sorted set: the shards by the revision of their last change
//	revision  the last revision; it is above the time in µs, so that a failover repeats none
//	log       a sorted set: the last revisions, to know those that a failover has forgotten
//	records   a hash: of each shard "epoch incarnation number 1 data", or 0 without any: the checkpoint
//	asked     a hash: of each incarnation when it asked for turns, by which number, and the first shard of each bucket
//	waiting   a hash: of each incarnation the shards that wait for a turn
//	turns     a hash: the turns that are out, and those that were sent last
//	budget    a hash: fleet.Budget, and the number of the last turn
//	given     a sorted set: the last turns by the time at which they were given
//	reshard   a hash: fleet.Reshard, the revision of the table at Switch, and the last score of nextchanges
//	voices    a hash: of each incarnation "revision prepared ready", a fleet.Voice
//	nextowners, nextowned, nextchanges, nextrecords
//	          what becomes owners, owned, changes and records
//
// The checkpoints lie in one key with the rest, and all expire together: a checkpoint never
// outlives the epoch of its shard.
var names = []string{
	"members", "deposed", "plan", "owners", "owned", "changes", "revision", "log", "records", "asked", "waiting", "turns", "budget", "given",
	"reshard", "voices", "nextowners", "nextowned", "nextchanges", "nextrecords",
}

// newScript returns the script that begins as all do, and goes on with body. It has the arguments
// clock, 0 ms that are added to the time but for tests, and the channel of the notices; body's follow. A script
// reads each key that it writes before it writes the first: one of a wrong type changes nothing.
func newScript(body string) *rueidis.Lua {
	return rueidis.NewLuaScript(prelude + "local function main()\n" + body + "\nend\n" + epilogue)
}

const prelude = `
local members, deposed, plan, owners, owned, changes, revision, log, records, asked, waiting, turns, budget, given,
  reshard, voices, nextowners, nextowned, nextchanges, nextrecords = unpack(KEYS)
local match, format = string.match, string.format
local time = redis.call('TIME')
local now = tonumber(match(ARGV[1], '^=(%d+)$')) or tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1])

-- call's error names the key.
local function call(command, key, ...)
  local r = redis.pcall(command, key, ...)
  if type(r) == 'table' and r.err then
    local code, text = match(r.err, '^%-?(%u+) (.*)$')
    error({err = (code or 'ERR') .. ' ' .. key .. ': ' .. (text or r.err)})
  end
  return r
end

local function bad(key, what) error({err = 'ERR ' .. key .. ': ' .. what}) end

-- text is a number with all of its digits.
local function text(n) return format('%.0f', n) end

-- number is what a text says, if that is a number which can still be counted up.
local function number(s)
  if s and #s <= 16 and match(s, '^%d+$') and tonumber(s) < 9e15 then return tonumber(s) end
end

-- touch has all keys expire together, in a week.
local function touch()
  for i = 1, #KEYS do call('EXPIRE', KEYS[i], 604800) end
end

local function dead(incarnation) return call('ZSCORE', deposed, incarnation) end

-- member returns the state of a member: nil, it is not known.
local function member(incarnation)
  local s = call('HGET', members, incarnation)
  if not s then return nil end
  return match(s, '^%d+ ([012]) ') or bad(members, 'the field ' .. incarnation .. ' is not a member')
end

-- row reads a shard's row. What nobody has written is the row of a shard that has never been owned:
-- the next epoch is above the time.
local function row(s)
  if s and #s <= 300 then
    local epoch, incarnation, giver = match(s, '^(%d+) (%w*) (%w*)$')
    epoch = number(epoch)
    if epoch then return {epoch = epoch, incarnation = incarnation, giver = giver} end
  end
  return {epoch = 0, incarnation = '', giver = ''}
end

local function read(shard) return row(call('HGET', owners, shard)) end

-- slot bounds the entries of owned that are an incarnation's.
local function slot(incarnation) return '[' .. incarnation .. ' ', '(' .. incarnation .. '!' end

local rev
local rows, order, lost, won, former = {}, {}, {}, {}, {}

-- begin is called before put.
local function begin()
  rev = number(call('GET', revision)) or 0
  call('ZCARD', changes) call('ZCARD', owned) call('ZCARD', log)
  call('HLEN', members) call('ZCARD', deposed)
end

local function following() rev = math.max(rev + 1, now * 1000) return text(rev) end

-- put notes the new row of a shard, which commit writes.
local function put(shard, was, incarnation, epoch, giver)
  rows[#rows + 1] = shard
  rows[#rows + 1] = text(epoch) .. ' ' .. incarnation .. ' ' .. giver
  order[#order + 1] = following()
  order[#order + 1] = shard
  if was.incarnation == incarnation then return end
  if was.incarnation ~= '' then
    lost[#lost + 1] = was.incarnation .. ' ' .. shard
    former[was.incarnation] = true
  end
  if incarnation ~= '' then
    won[#won + 1] = 0
    won[#won + 1] = incarnation .. ' ' .. shard
  end
end

local function logged()
  call('SET', revision, text(rev))
  call('ZADD', log, text(rev), text(rev))
  call('ZREMRANGEBYRANK', log, 0, -1001)
end

local function notify() redis.pcall('PUBLISH', ARGV[2], '') end -- notices may be lost

local function commit()
  if #rows > 0 then
    call('HSET', owners, unpack(rows))
    call('ZADD', changes, unpack(order))
    logged()
  end
  if #won > 0 then call('ZADD', owned, unpack(won)) end
  if #lost > 0 then call('ZREM', owned, unpack(lost)) end
  for incarnation in pairs(former) do
    if dead(incarnation) and call('ZLEXCOUNT', owned, slot(incarnation)) == 0 then call('HDEL', members, incarnation) end
  end
  touch()
end

-- later is the epoch that follows another.
local function later(epoch) return math.max(epoch + 1, now) end
`

const epilogue = `
local ok, r = pcall(main)
if ok then return r end
if type(r) == 'table' then return redis.error_reply(r.err) end
return redis.error_reply('ERR ' .. r)
`
