// This file has the scripts that write, each in one step.

package redis

import "github.com/redis/rueidis"

// saveScript stores a checkpoint, unless there is one of the same session with a higher seq:
// that of a process which has taken over. Its keys are the hash and the set, its
// arguments the shard, the expiry in seconds, the mode, this process if it has written the shard's before, and the
// fields: session and seq first. In
// mode 1 it is stored in any case, and in mode 2 not over another session: this process has
// written it before. What is there and is no checkpoint is replaced. It returns 2 if another process has
// written it since this one did.
var saveScript = rueidis.NewLuaScript(`
local has = redis.pcall('HMGET', KEYS[1], 'session', 'seq', 'process')
local shared = 1
if not has.err and ARGV[4] ~= '' and has[3] and has[3] ~= ARGV[4] then shared = 2 end
if not has.err and ARGV[3] == '2' and has[1] and has[1] ~= '' and has[1] ~= ARGV[6] then return shared end
if not has.err and ARGV[3] ~= '1' and has[1] == ARGV[6] and has[1] ~= '' and string.match(has[2] or '', '^%d+$') and tonumber(has[2]) > tonumber(ARGV[8]) and tonumber(has[2]) <= 2^53 then return shared end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('EXPIRE', KEYS[1], ARGV[2])
local added = redis.pcall('SADD', KEYS[2], ARGV[1])
if type(added) == 'table' and added.err and string.find(added.err, 'WRONGTYPE', 1, true) then
  redis.call('DEL', KEYS[2])
  added = redis.call('SADD', KEYS[2], ARGV[1])
end
if type(added) == 'table' then return added end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return shared`)

// compatScript does what the other gateway does: seq is only ever raised, which is why the
// new session of a shard must begin with DEL. What is no seq is replaced. Its keys are session
// and seq, its arguments these and the mode of saveScript.
var compatScript = rueidis.NewLuaScript(`
local has = redis.pcall('GET', KEYS[1])
if ARGV[3] == '2' and type(has) == 'string' and has ~= ARGV[1] then return 0 end
if has ~= ARGV[1] or ARGV[3] == '1' then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
end
local seq = redis.pcall('GET', KEYS[2])
if type(seq) ~= 'string' or not string.match(seq, '^%d+$') or tonumber(seq) < tonumber(ARGV[2]) or tonumber(seq) > 2^53 then redis.call('SET', KEYS[2], ARGV[2]) end
return 1`)

// startsScript adds what a process has counted to the count of all of them. What it adds is
// the difference to what it has added before, which is in a field of its own: an attempt that
// is made again counts once. The count begins anew when its time is over, or cannot be. Its
// key is the hash, its arguments the expiry in seconds, the time, the latest end that a count
// may have, the field, the process's count, and when that ends; all times in milliseconds.
var startsScript = rueidis.NewLuaScript(`
local has = redis.pcall('HMGET', KEYS[1], 'until', 'count', ARGV[4])
local ends = not has.err and tonumber(has[1] or '')
if not ends or ends <= tonumber(ARGV[2]) or ends > tonumber(ARGV[3]) or not string.match(has[2] or '', '^%d+$') or #has[2] > 10 then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'count', '0', 'until', ARGV[6])
  has = {}
end
local count = (tonumber(has[2] or '') or 0) + tonumber(ARGV[5]) - (tonumber(has[3] or '') or 0)
redis.call('HSET', KEYS[1], 'count', string.format('%d', count), ARGV[4], ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1`)
