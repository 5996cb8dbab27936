// This file holds the script that writes a batch.

package redis

import (
	"fmt"
	"strconv"
	"strings"
)

// appendScript is the Lua of a call with the keys
//
//	offset, positions, the stream of each entry…, the streams to trim…
//
// and the arguments
//
//	start, next, trims, minid, maxlen, bound,
//	writer before, writer after, journal, undo, order,
//	shards, their ids…, their positions before…, their positions after…,
//	the value and the fields of each entry…
//
// start and next are what the offset holds before and after the batch: the number
// of entries written so far; bound is the highest that it can be now. positions is a hash of the last
// events that are written, by shard (position.go), with a journal (journal.go); order says which shard and seq an
// entry has. The
// answer is where the offset stands as far as this batch goes, start to next, and, if there is
// something to say about that, what:
//
//	gap                      the batch before this one has not been written
//	part                     a part was written before
//	position, the positions  of these shards, in their order: they, or the writer, are not what they should be
//	offset, its value        the offset is not what anybody has written
//	positions                that key is no hash
//	entry, the error         of Redis, which refuses the entry that is next
//	untrimmed, the error     of a trim; the entries are written
//
// The streams are trimmed first: that needs no memory and may free some. The entries come last:
// each step before them is undone if one after it fails, which no user who may do the step is
// refused. No answer is as long as what somebody else may have put into the keys: a value that is
// longer than a position can be is replaced.
//
// Entries are added by redis.call, which costs less than pcall; what it raises is not the same in each version of Redis, so
// that pcall is asked what is wrong with the entry.
const appendScript = foldFunction + `
local K, A, call, pcall, try = KEYS, ARGV, redis.call, redis.pcall, pcall
local start, trims, bound = tonumber(A[1]), tonumber(A[3]), tonumber(A[6])
local n = #K - 2 - trims
local text = pcall('GET', K[1])
if type(text) == 'table' then
  if not string.find(text.err, 'WRONGTYPE', 1, true) then return text end
  text = 'not a string'
end
local offset = tonumber(text or '0')
if not offset or not (offset >= 0 and offset <= bound) or offset % 1 ~= 0 then return {start, 'offset', string.sub(text, 1, 100)} end
local i = offset - start
if i < 0 then return {start, 'gap', string.format('%.0f', offset)} end
if i >= n then return {start + n} end
if i > 0 then return {start + i, 'part'} end
local was, writer, shards = A[7], A[8], tonumber(A[12])
local before, after, base = 12 + shards, 12 + 2 * shards, 13 + 3 * shards
local touched = shards > 0 or was ~= ''
local set = {}
if touched then
  local has = pcall('HMGET', K[2], 'writer', unpack(A, 13, before))
  if has.err then
    if string.find(has.err, 'WRONGTYPE', 1, true) then return {start, 'positions'} end
    return has
  end
  local same = (has[1] or '') == was
  for s = 1, shards do
    local at = has[s + 1]
    if (at or '') ~= A[before + s] then
      same = false
      if at and #at > MAXPOSITION then
        local e = pcall('HSET', K[2], A[12 + s], 'too long: ' .. string.sub(at, 1, 50))
        if type(e) == 'table' and e.err then return e end
      end
    end
    set[2 * s - 1], set[2 * s] = A[12 + s], A[after + s]
  end
  if not same then
    if (has[1] or '') ~= '' then fold(K[2]) end
    return {start, 'position', shards > 0 and call('HMGET', K[2], unpack(A, 13, before)) or {}}
  end
  if writer ~= '' then
    set[#set + 1], set[#set + 2] = 'journal', A[9]
    if writer ~= was then set[#set + 1], set[#set + 2] = 'writer', writer end
  end
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
if touched then
  err = pcall('HSET', K[2], unpack(set))
  err = type(err) == 'table' and err.err
  if not err then
    listed = true
    err = pcall('EXPIRE', K[2], 604800)
    err = type(err) == 'table' and err.err
  end
end
local entries = not err
local function add()
  for e = i, n - 1 do
    i = e
    call(ENTRY)
  end
  i = n
end
while not err and i < n and not try(add) do
  local e = i
  local r = pcall(ENTRY)
  err = type(r) == 'table' and r.err
  if not err then i = e + 1 end
end
if not err then
  if untrimmed then return {start + n, 'untrimmed', untrimmed} end
  return {start + n}
end
call('SET', K[1], string.format('%.0f', start + i), 'EX', 86400)
if listed and shards == 0 then
  local slots, seqs, journal = {}, {}, {}
  for p = 1, #A[10], 10 do
    local slot, seq = struct.unpack('<I2d', A[10], p)
    slots[#slots + 1], seqs[slot] = slot, seq
  end
  for e = 0, i - 1 do
    local s, seq = struct.unpack('<I2d', A[11], 10 * e + 1)
    if s > 0 then seqs[slots[s]] = seq end
  end
  for slot = 0, #A[9] / 16 - 1 do
    local shard, sum, seq = struct.unpack('<I4I4d', A[9], 16 * slot + 1)
    journal[slot + 1] = struct.pack('<I4I4d', shard, sum, seqs[slot] or seq)
  end
  call('HSET', K[2], 'journal', table.concat(journal))
elseif listed then
  for s = 1, shards do set[2 * s] = A[before + s] end
  if writer ~= '' then
    set[2 * shards + 2], set[2 * shards + 3], set[2 * shards + 4] = A[10], 'writer', was
  end
  call('HSET', K[2], unpack(set))
  for e = 0, i - 1 do
    local s, seq = struct.unpack('<I2d', A[11], 10 * e + 1)
    if s > 0 then
      local session, rest = string.match(A[after + s], '^([^:]*:)[^:]*(.*)$')
      call('HSET', K[2], A[12 + s], session .. (seq < 0 and 'gap' or string.format('%.0f', seq)) .. rest)
    end
  end
end
if not entries then return redis.error_reply(err) end
return {start + i, 'entry', err}
`

// newScript returns the script for entries with these fields.
func newScript(fields []Field) string {
	var entry strings.Builder
	entry.WriteString("'XADD', K[e+3], '*', 'data', ")
	if len(fields) == 0 {
		entry.WriteString("A[base+e]")
	} else {
		width := 1 + len(fields)
		fmt.Fprintf(&entry, "A[base+e*%d]", width)
		for j, f := range fields {
			fmt.Fprintf(&entry, ", '%s', A[base+e*%d+%d]", f, width, j+1)
		}
	}
	return strings.NewReplacer("ENTRY", entry.String(), "MAXPOSITION", strconv.Itoa(maxPosition)).Replace(appendScript)
}
