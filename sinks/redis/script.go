// This file holds the script that writes a batch.

package redis

import (
	"fmt"
	"strings"
)

// appendScript is the Lua of a call with the keys
//
//	fence, the stream of each entry…, the streams to trim…
//
// and the arguments
//
//	start, next, trims, minid, maxlen, the value and the fields of each entry…
//
// start and next are what the fence holds before and after the batch: the number
// of entries written so far. The answer is the number of the batch's entries that
// are written, and, if that is not all, why: an error of Redis, or "gap" and the fence
// when the batch before this one has not been written.
//
// The streams are trimmed first: that needs no memory and may free some.
const appendScript = `
local K, A, call = KEYS, ARGV, redis.call
local start, trims = tonumber(A[1]), tonumber(A[3])
local n = #K - 1 - trims
local fence = call('GET', K[1]) or '0'
local i = tonumber(fence) - start
if i < 0 then return {0, 'gap ' .. fence} end
if i >= n then return {n} end
for t = n + 2, #K do
  if A[4] ~= '' then redis.pcall('XTRIM', K[t], 'MINID', '~', A[4]) end
  if A[5] ~= '' then redis.pcall('XTRIM', K[t], 'MAXLEN', '~', A[5]) end
end
local first = i
local ok, err = pcall(function()
  while i < n do
    %s
    i = i + 1
  end
end)
if ok then
  call('SET', K[1], A[2], 'EX', 86400)
  return {n}
end
if i > first then call('SET', K[1], string.format('%%.0f', start + i), 'EX', 86400) end
if type(err) == 'table' then err = err.err end
return {i, err}
`

// newScript returns the script for entries with these fields.
func newScript(fields []Field) string {
	var add strings.Builder
	if len(fields) == 0 {
		add.WriteString("call('XADD', K[i+2], '*', 'data', A[i+6])")
	} else {
		width := 1 + len(fields)
		fmt.Fprintf(&add, "local a = 6 + i * %d call('XADD', K[i+2], '*', 'data', A[a]", width)
		for j, f := range fields {
			fmt.Fprintf(&add, ", '%s', A[a+%d]", f, j+1)
		}
		add.WriteString(")")
	}
	return fmt.Sprintf(appendScript, add.String())
}
