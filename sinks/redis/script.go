// This file holds the script that writes a batch.

package redis

import (
	"fmt"
	"strings"
)

// appendScript is the Lua of a call with the keys
//
//	fence, marks, the stream of each entry…, the streams to trim…
//
// and the arguments
//
//	start, next, trims, minid, maxlen,
//	shards, their ids…, their marks before…, their marks after…, order,
//	the value and the fields of each entry…
//
// start and next are what the fence holds before and after the batch: the number
// of entries written so far. marks is a hash of the last events that are written, by
// shard (seen.go); order says which shard and seq an entry has. The answer is the
// number of the batch's entries that are written, and, if that is not all, why: an
// error of Redis, "gap" and the fence when the batch before this one has not been
// written, "part" when a part was written before, "seen" and the hash when the
// marks are not what they should be.
//
// The streams are trimmed first: that needs no memory and may free some.
const appendScript = `
local K, A, call = KEYS, ARGV, redis.call
local start, trims = tonumber(A[1]), tonumber(A[3])
local n = #K - 2 - trims
local fence = call('GET', K[1]) or '0'
local i = tonumber(fence) - start
if i < 0 then return {0, 'gap ' .. fence} end
if i >= n then return {n} end
if i > 0 then return {i, 'part'} end
local shards = tonumber(A[6])
local before, after, base = 6 + shards, 6 + 2 * shards, 8 + 3 * shards
local set = {}
if shards > 0 then
  local has = call('HMGET', K[2], unpack(A, 7, before))
  for s = 1, shards do
    if (has[s] or '') ~= A[before + s] then return {0, 'seen', call('HGETALL', K[2])} end
    set[2 * s - 1], set[2 * s] = A[6 + s], A[after + s]
  end
end
for t = n + 3, #K do
  if A[4] ~= '' then redis.pcall('XTRIM', K[t], 'MINID', '~', A[4]) end
  if A[5] ~= '' then redis.pcall('XTRIM', K[t], 'MAXLEN', '~', A[5]) end
end
local ok, err = pcall(function()
  while i < n do
    %s
    i = i + 1
  end
end)
if ok then
  call('SET', K[1], A[2], 'EX', 86400)
  if shards > 0 then
    call('HSET', K[2], unpack(set))
    call('EXPIRE', K[2], 604800)
  end
  return {n}
end
if i > 0 then
  call('SET', K[1], string.format('%%.0f', start + i), 'EX', 86400)
  for e = 0, i - 1 do
    local s, seq = struct.unpack('<I2d', A[base - 1], 10 * e + 1)
    if s > 0 then
      local session, before = string.match(A[after + s], '^([^:]*:)[^:]*(.*)$')
      call('HSET', K[2], A[6 + s], session .. (seq < 0 and 'gap' or string.format('%%.0f', seq)) .. before)
    end
  end
end
if type(err) == 'table' then err = err.err end
return {i, err}
`

// newScript returns the script for entries with these fields.
func newScript(fields []Field) string {
	var add strings.Builder
	if len(fields) == 0 {
		add.WriteString("call('XADD', K[i+3], '*', 'data', A[base+i])")
	} else {
		width := 1 + len(fields)
		fmt.Fprintf(&add, "local a = base + i * %d call('XADD', K[i+3], '*', 'data', A[a]", width)
		for j, f := range fields {
			fmt.Fprintf(&add, ", '%s', A[a+%d]", f, j+1)
		}
		add.WriteString(")")
	}
	return fmt.Sprintf(appendScript, add.String())
}
