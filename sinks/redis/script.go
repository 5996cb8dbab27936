// This file holds the script that writes a batch.

package redis

import (
	"fmt"
	"strings"
)

// appendScript is the Lua of a call with the keys
//
//	offset, positions, the stream of each entry…, the streams to trim…
//
// and the arguments
//
//	start, next, trims, minid, maxlen, bound,
//	shards, their ids…, their positions before…, their positions after…, order,
//	the value and the fields of each entry…
//
// start and next are what the offset holds before and after the batch: the number
// of entries written so far; bound is the highest that it can be now. positions is a hash of the last
// events that are written, by shard (position.go); order says which shard and seq an entry has. The
// answer is where the offset stands as far as this batch goes, start to next, and, if there is
// something to say about that, what:
//
//	gap                      the batch before this one has not been written
//	part                     a part was written before
//	position, the positions  of these shards, in their order, which are not what they should be
//	offset, its value        the offset is not what anybody has written
//	positions                that key is no hash
//	entry, the error         of Redis, which refuses the entry that is next
//	untrimmed, the error     of a trim; the entries are written
//
// The streams are trimmed first: that needs no memory and may free some. The entries come last:
// each step before them is undone if one after it fails, which no user who may do the step is
// refused. No answer is as long as what somebody else may have put into the keys: a value that is
// longer than a position can be is replaced.
const appendScript = `
local K, A, call, pcall = KEYS, ARGV, redis.call, redis.pcall
local start, trims, bound = tonumber(A[1]), tonumber(A[3]), tonumber(A[6])
local n = #K - 2 - trims
local text = pcall('GET', K[1])
if type(text) == 'table' then
  if not string.find(text.err, 'WRONGTYPE', 1, true) then return text end
  text = 'not a string'
end
local offset = tonumber(text or '0')
if not offset or not (offset >= 0 and offset <= bound) or offset %% 1 ~= 0 then return {start, 'offset', string.sub(text, 1, 100)} end
local i = offset - start
if i < 0 then return {start, 'gap', string.format('%%.0f', offset)} end
if i >= n then return {start + n} end
if i > 0 then return {start + i, 'part'} end
local shards = tonumber(A[7])
local before, after, base = 7 + shards, 7 + 2 * shards, 9 + 3 * shards
local set = {}
if shards > 0 then
  local has = pcall('HMGET', K[2], unpack(A, 8, before))
  if has.err then
    if string.find(has.err, 'WRONGTYPE', 1, true) then return {start, 'positions'} end
    return has
  end
  local same = true
  for s = 1, shards do
    if (has[s] or '') ~= A[before + s] then
      same = false
      if has[s] and #has[s] > %[2]d then
        has[s] = 'too long: ' .. string.sub(has[s], 1, 50)
        local e = pcall('HSET', K[2], A[7 + s], has[s])
        if type(e) == 'table' and e.err then return e end
      end
    end
    set[2 * s - 1], set[2 * s] = A[7 + s], A[after + s]
  end
  if not same then return {start, 'position', has} end
end
local untrimmed
for t = n + 3, #K do
  local r
  if A[4] ~= '' then r = pcall('XTRIM', K[t], 'MINID', '~', A[4]) end
  if A[5] ~= '' then r = pcall('XTRIM', K[t], 'MAXLEN', '~', A[5]) end
  if type(r) == 'table' then untrimmed = r.err end
end
local err = pcall('SET', K[1], A[2], 'EX', 86400).err
if err then return redis.error_reply(err) end
local listed = false
if shards > 0 then
  err = pcall('HSET', K[2], unpack(set))
  err = type(err) == 'table' and err.err
  if not err then
    listed = true
    err = pcall('EXPIRE', K[2], 604800)
    err = type(err) == 'table' and err.err
  end
end
local entries = not err
while not err and i < n do
  %[1]s
  err = type(r) == 'table' and r.err
  if not err then i = i + 1 end
end
if not err then
  if untrimmed then return {start + n, 'untrimmed', untrimmed} end
  return {start + n}
end
call('SET', K[1], string.format('%%.0f', start + i), 'EX', 86400)
if listed then
  for s = 1, shards do set[2 * s] = A[before + s] end
  call('HSET', K[2], unpack(set))
  for e = 0, i - 1 do
    local s, seq = struct.unpack('<I2d', A[base - 1], 10 * e + 1)
    if s > 0 then
      local session, rest = string.match(A[after + s], '^([^:]*:)[^:]*(.*)$')
      call('HSET', K[2], A[7 + s], session .. (seq < 0 and 'gap' or string.format('%%.0f', seq)) .. rest)
    end
  end
end
if not entries then return redis.error_reply(err) end
return {start + i, 'entry', err}
`

// newScript returns the script for entries with these fields.
func newScript(fields []Field) string {
	var add strings.Builder
	if len(fields) == 0 {
		add.WriteString("local r = pcall('XADD', K[i+3], '*', 'data', A[base+i])")
	} else {
		width := 1 + len(fields)
		fmt.Fprintf(&add, "local a = base + i * %d local r = pcall('XADD', K[i+3], '*', 'data', A[a]", width)
		for j, f := range fields {
			fmt.Fprintf(&add, ", '%s', A[a+%d]", f, j+1)
		}
		add.WriteString(")")
	}
	return fmt.Sprintf(appendScript, add.String(), maxPosition)
}
