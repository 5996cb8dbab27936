// This file changes the shard count.

package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/fleet"
)

// reshardPrelude reads what is known of the one that is pending, and of the plan. Of the attempt that is in the
// arguments, of is the generation and attempt the number.
const reshardPrelude = `
  begin()
  call('HLEN', voices) call('HLEN', nextowners) call('ZCARD', nextowned) call('ZCARD', nextchanges) call('HLEN', nextrecords)
  local h = call('HMGET', reshard, 'stage', 'generation', 'shards', 'attempt', 'failures', 'revision', 'score', 'setting')
  local r = {stage = h[1] or '0', generation = number(h[2]) or 0, shards = number(h[3]) or 0, attempt = number(h[4]) or 0,
    failures = number(h[5]) or 0, revision = number(h[6]) or 0, score = number(h[7]) or 0, setting = h[8] or '0'}
  local p = call('HMGET', plan, 'generation', 'shards')
  local now_generation, now_shards = number(p[1]) or 0, number(p[2]) or 0

  local function enter(stage)
    call('HSET', reshard, 'stage', stage, 'since', text(now))
    notify()
    touch()
  end
  local function forget() for _, key in ipairs({nextowners, nextowned, nextchanges, nextrecords}) do call('UNLINK', key) end end
  local function none(why)
    call('HSET', reshard, 'failure', why)
    enter('0')
    call('UNLINK', voices)
    forget()
  end
  local function at(generation, attempt, stage)
    return r.stage == stage and r.generation == tonumber(generation) and r.attempt == tonumber(attempt)
  end
  local function following_attempt() return text(math.max(r.attempt + 1, now)) end
  local function lives(incarnation)
    local state = member(incarnation)
    return state and state ~= '2'
  end
  local function owns(incarnation) return call('ZLEXCOUNT', owned, slot(incarnation)) end
  local function voice(s)
    local agreed, prepared, ready = match(s or '', '^(%d+) ([01]) (%d+)$')
    return number(agreed) or 0, prepared or '0', ready or '0'
  end
  local function say(incarnation, agreed, prepared, ready)
    call('HSET', voices, incarnation, text(agreed) .. ' ' .. prepared .. ' ' .. ready)
    touch()
  end
  -- all returns how many shards those own whose voice is as demanded, and who live.
  local function all(demand)
    local n, said = 0, call('HGETALL', voices)
    for i = 1, #said, 2 do
      if lives(said[i]) and demand(voice(said[i + 1])) then n = n + owns(said[i]) end
    end
    return n
  end
  -- heard reports whether all who live have said something: others may not know what a change of the shard count is.
  local function heard()
    local all = call('HGETALL', members)
    for i = 1, #all, 2 do
      if lives(all[i]) and not call('HGET', voices, all[i]) then return false end
    end
    return true
  end
`

// proposeScript has the arguments generation, shards and setting.
var proposeScript = newScript(reshardPrelude + `
  local generation, shards = tonumber(ARGV[3]), tonumber(ARGV[4])
  if r.stage ~= '0' then
    if r.generation == generation and r.shards == shards and r.setting == ARGV[5] then return {'ok'} end
    return {'changed'}
  end
  if now_generation == generation and now_shards == shards then return {'ok'} end
  if now_shards == 0 or now_generation ~= generation - 1 or now_shards == shards or shards < 1 then return {'changed'} end
  local b = call('HMGET', budget, 'total', 'remaining', 'reserve', 'reset', 'concurrency')
  for i = 1, 5 do b[i] = number(b[i]) end
  if not (b[1] and b[2] and b[3] and b[4] and b[5] and b[5] > 0) then return {'starts', ARGV[4], '0', '0'} end
  if b[2] - b[3] < shards then return {'starts', ARGV[4], text(b[2] - b[3]), text(b[4])} end
  local attempt = following_attempt()
  call('UNLINK', voices)
  forget()
  call('UNLINK', reshard)
  call('HSET', reshard, 'generation', ARGV[3], 'shards', ARGV[4], 'setting', ARGV[5], 'attempt', attempt)
  enter('1')
  return {'ok'}`)

// Propose begins a change of the shard count.
func (c *Coordinator) Propose(ctx context.Context, r fleet.Reshard) error {
	if r.Shards > maxShards {
		return fmt.Errorf("fleet: redis: propose: %d shards", r.Shards)
	}
	count := func(n int) string { return strconv.Itoa(max(n, 0)) }
	_, err := c.run(ctx, "propose", proposeScript, count(r.Generation), count(r.Shards), count(r.Setting))
	return err
}

// starts makes an error of needed, left and reset.
func starts(s []string) error {
	if len(s) != 3 {
		return fmt.Errorf("fleet: redis: propose: reply %.100q", s)
	}
	needed, err1 := strconv.Atoi(s[0])
	left, err2 := strconv.ParseFloat(s[1], 64) // it may be negative
	reset, err3 := strconv.ParseInt(s[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("fleet: redis: propose: %w", err)
	}
	e := &fleet.StartsError{Needed: needed, Left: int(left)}
	if reset != 0 {
		e.Reset = time.UnixMilli(reset)
	}
	return e
}

// reportScript has the arguments incarnation, generation, attempt, and how many are ready.
var reportScript = newScript(reshardPrelude + `
  if not lives(ARGV[3]) then return {'deposed'} end
  local agreed = voice(call('HGET', voices, ARGV[3]))
  if not at(ARGV[4], ARGV[5], '1') and not (at(ARGV[4], ARGV[5], '2') and agreed == 0) then return {'changed'} end
  say(ARGV[3], 0, '0', ARGV[6])
  return {'ok'}`)

// attempt returns the arguments that name an attempt.
func attempt(a fleet.Attempt) []string {
	return []string{strconv.Itoa(max(a.Generation, 0)), decimal(max(a.Number, 0))}
}

// Report says how many new shards of a member are ready.
func (c *Coordinator) Report(ctx context.Context, incarnation string, a fleet.Attempt, ready int) error {
	if err := check(incarnation); err != nil {
		return err
	}
	args := append([]string{incarnation}, attempt(a)...)
	_, err := c.run(ctx, "report", reportScript, append(args, strconv.Itoa(max(ready, 0)))...)
	return err
}

// agreeScript has the arguments incarnation, generation, attempt, revision, how many new shards are ready, how many old ones
// there are in all, whether these are the last of them, then shard and epoch of each. The table is the same for all calls, or they fail.
var agreeScript = newScript(reshardPrelude + `
  local incarnation = ARGV[3]
  if not lives(incarnation) then return {'deposed'} end
  if not at(ARGV[4], ARGV[5], '1') or rev ~= tonumber(ARGV[6]) or owns(incarnation) ~= tonumber(ARGV[8]) then return {'changed'} end
  local shards = {}
  for i = 10, #ARGV, 2 do shards[#shards + 1] = ARGV[i] end
  if #shards > 0 then
    local has = call('HMGET', owners, unpack(shards))
    for i = 1, #shards do
      local was = row(has[i])
      if was.incarnation ~= incarnation or was.epoch ~= tonumber(ARGV[2 * i + 9]) or was.giver ~= '' then return {'changed'} end
    end
  end
  if ARGV[9] == '1' then say(incarnation, rev, '0', ARGV[7]) end
  return {'ok'}`)

// Agree says that a member is ready for the switch.
func (c *Coordinator) Agree(ctx context.Context, incarnation string, a fleet.Attempt, revision int64, ready int, epochs map[int]int64) error {
	if err := check(incarnation); err != nil {
		return err
	}
	ids := slices.Sorted(maps.Keys(epochs))
	for {
		part := ids[:min(len(ids), chunk)]
		ids = ids[len(part):]
		args := append([]string{incarnation}, attempt(a)...)
		args = append(args, decimal(max(revision, 0)), strconv.Itoa(max(ready, 0)), strconv.Itoa(len(epochs)), flag(len(ids) == 0))
		for _, shard := range part {
			args = append(args, strconv.Itoa(shard), decimal(epochs[shard]))
		}
		if _, err := c.run(ctx, "agree", agreeScript, args...); err != nil || len(ids) == 0 {
			return err
		}
	}
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// switchScript has the arguments generation and attempt.
var switchScript = newScript(reshardPrelude + `
  if at(ARGV[3], ARGV[4], '2') then return {'ok'} end
  if not at(ARGV[3], ARGV[4], '1') then return {'changed'} end
  if not heard() or all(function(agreed) return agreed == rev end) ~= now_shards then return {'changed'} end
  call('HSET', reshard, 'revision', text(rev), 'score', '0')
  enter('2')
  return {'ok'}`)

// Switch begins the switch.
func (c *Coordinator) Switch(ctx context.Context, a fleet.Attempt) error {
	_, err := c.run(ctx, "switch", switchScript, attempt(a)...)
	return err
}

// prepareScript has the arguments incarnation, generation, attempt, whether these are the last of them, then shard, epoch,
// number and "1 data", or "0 ", of each.
var prepareScript = newScript(reshardPrelude + `
  local incarnation = ARGV[3]
  if not lives(incarnation) then return {'deposed'} end
  local agreed, _, ready = voice(call('HGET', voices, incarnation))
  if not at(ARGV[4], ARGV[5], '2') or rev ~= r.revision or agreed ~= r.revision then return {'changed'} end
  local shards = {}
  for i = 7, #ARGV, 4 do shards[#shards + 1] = ARGV[i] end
  if #shards > 0 then
    local has, before = call('HMGET', owners, unpack(shards)), call('HMGET', nextowners, unpack(shards))
    local new, records, mine, order = {}, {}, {}, {}
    for i = 1, #shards do
      local a = 4 * i + 3
      local id, epoch = tonumber(shards[i]), tonumber(ARGV[a + 1])
      local by = before[i] and row(before[i]).incarnation or incarnation
      if id < 0 or id >= r.shards or epoch <= row(has[i]).epoch or by ~= incarnation then return {'changed'} end
      r.score = math.max(r.score + 1, rev + 1, now * 1000)
      new[2 * i - 1], new[2 * i] = shards[i], text(epoch) .. ' ' .. incarnation .. ' '
      records[2 * i - 1], records[2 * i] = shards[i], text(epoch) .. ' ' .. incarnation .. ' ' .. ARGV[a + 2] .. ' ' .. ARGV[a + 3]
      mine[2 * i - 1], mine[2 * i] = 0, incarnation .. ' ' .. shards[i]
      order[2 * i - 1], order[2 * i] = text(r.score), shards[i]
    end
    call('HSET', reshard, 'score', text(r.score))
    call('HSET', nextowners, unpack(new))
    call('ZADD', nextowned, unpack(mine))
    call('ZADD', nextchanges, unpack(order))
    call('HSET', nextrecords, unpack(records))
  end
  if ARGV[6] == '1' then say(incarnation, agreed, '1', ready) end
  touch()
  return {'ok'}`)

// Prepare adds what a member will own.
func (c *Coordinator) Prepare(ctx context.Context, incarnation string, a fleet.Attempt, next []fleet.Record, done bool) error {
	if err := check(incarnation); err != nil {
		return err
	}
	for {
		part := next[:min(len(next), chunk)]
		next = next[len(part):]
		args := append([]string{incarnation}, attempt(a)...)
		args = append(args, flag(done && len(next) == 0))
		for _, r := range part {
			if r.Epoch >= maxEpoch || r.Epoch < 0 {
				return fmt.Errorf("fleet: redis: prepare: shard %d: the epoch %d is none", r.Shard, r.Epoch)
			}
			data, err := packRecord(r)
			if err != nil {
				return fmt.Errorf("fleet: redis: prepare: %w", err)
			}
			args = append(args, strconv.Itoa(r.Shard), decimal(r.Epoch), decimal(r.Number), data)
		}
		if _, err := c.run(ctx, "prepare", prepareScript, args...); err != nil || len(next) == 0 {
			return err
		}
	}
}

// commitScript has the arguments generation and attempt. It writes little, however many shards there are.
var commitScript = newScript(reshardPrelude + `
  if r.stage == '0' and r.generation == tonumber(ARGV[3]) and now_generation == r.generation then return {'ok'} end
  if not at(ARGV[3], ARGV[4], '2') or rev ~= r.revision then return {'changed'} end
  if call('HLEN', nextowners) ~= r.shards or call('ZCARD', nextowned) ~= r.shards or call('ZCARD', nextchanges) ~= r.shards
    or call('HLEN', nextrecords) ~= r.shards then return {'changed'} end
  if not heard() or all(function(_, prepared) return prepared == '1' end) ~= now_shards then return {'changed'} end
  local keys = {
    {owners, nextowners, call('HLEN', owners)}, {owned, nextowned, call('ZCARD', owned)},
    {changes, nextchanges, call('ZCARD', changes)}, {records, nextrecords, call('HLEN', records)},
  }
  call('UNLINK', voices)
  for _, k in ipairs(keys) do -- RENAME would wait until what it replaces is freed, which takes 23 ms of 10,000 shards: none unlinks it
    if k[3] > 0 then call('RENAME', k[1], voices) end
    call('RENAME', k[2], k[1])
    if k[3] > 0 then call('RENAME', voices, k[2]) end
  end
  rev = math.max(rev, r.score)
  following()
  logged()
  call('HSET', plan, 'generation', text(r.generation), 'shards', text(r.shards), 'instead', r.setting)
  local said = call('HGETALL', members)
  for i = 1, #said, 2 do
    if member(said[i]) == '2' and owns(said[i]) == 0 then call('HDEL', members, said[i]) end
  end
  none('')
  return {'ok'}`)

// Commit puts in force what was prepared.
func (c *Coordinator) Commit(ctx context.Context, a fleet.Attempt) error {
	_, err := c.run(ctx, "commit", commitScript, attempt(a)...)
	return err
}

// abortScript has the arguments generation, attempt, why, and after how many failures none is pending.
var abortScript = newScript(reshardPrelude + `
  local generation, attempt = tonumber(ARGV[3]), tonumber(ARGV[4])
  if r.generation ~= generation or r.attempt < attempt or now_generation >= generation then return {'changed'} end
  if r.attempt > attempt or r.stage == '0' then return {'ok'} end
  call('HSET', reshard, 'failures', text(r.failures + 1))
  if r.failures + 1 >= tonumber(ARGV[6]) then
    none(ARGV[5])
    return {'ok'}
  end
  call('UNLINK', voices)
  forget()
  call('HSET', reshard, 'attempt', following_attempt(), 'failure', ARGV[5])
  enter('1')
  return {'ok'}`)

// Abort ends an attempt.
func (c *Coordinator) Abort(ctx context.Context, a fleet.Attempt, why string, failures int) error {
	_, err := c.run(ctx, "abort", abortScript, append(attempt(a), why[:min(len(why), fleet.MaxFailure)], strconv.Itoa(failures))...)
	return err
}

// callOffScript has the arguments generation, attempt and why.
var callOffScript = newScript(reshardPrelude + `
  local generation = tonumber(ARGV[3])
  if r.generation ~= generation or r.attempt ~= tonumber(ARGV[4]) or now_generation >= generation then return {'changed'} end
  if r.stage ~= '0' then none(ARGV[5]) end
  return {'ok'}`)

// CallOff ends one that is pending.
func (c *Coordinator) CallOff(ctx context.Context, a fleet.Attempt, why string) error {
	_, err := c.run(ctx, "call off", callOffScript, append(attempt(a), why[:min(len(why), fleet.MaxFailure)])...)
	return err
}

// reshardFields are those that a view shows.
const reshardFields = `'stage', 'generation', 'shards', 'setting', 'attempt', 'since', 'failures', 'failure'`

func (c *Coordinator) readReshard(hash, voices rueidis.RedisMessage) fleet.Reshard {
	fields, _ := hash.ToArray()
	s := strs(fields)
	if len(s) != 8 || s[1] == "" {
		return fleet.Reshard{} // there never was any
	}
	var n [7]int64
	var errs error
	for i := range n {
		if s[i] == "" {
			continue
		}
		var err error
		n[i], err = strconv.ParseInt(s[i], 10, 64)
		errs = errors.Join(errs, err)
	}
	if errs != nil || n[0] < 0 || n[0] > int64(fleet.ReshardSwitching) || n[2] < 0 || n[2] > maxShards || n[3] < 0 || n[3] > maxShards || n[1] > math.MaxInt32 {
		c.warn("reshard", "all", cmp.Or(errs, errors.New("a number is out of its range")))
		return fleet.Reshard{}
	}
	r := fleet.Reshard{
		Stage: fleet.ReshardStage(n[0]), Generation: int(n[1]), Shards: int(n[2]), Setting: int(n[3]), Attempt: n[4], Failures: int(n[6]), Failure: s[7],
	}
	if n[5] != 0 {
		r.Since = time.UnixMilli(n[5])
	}
	said, _ := voices.ToArray()
	all := strs(said)
	for i := 0; i+1 < len(all); i += 2 {
		v := fleet.Voice{Incarnation: all[i]}
		parts := strings.Split(all[i+1], " ")
		var err1, err2 error
		if len(parts) == 3 {
			v.Revision, err1 = strconv.ParseInt(parts[0], 10, 64)
			v.Ready, err2 = strconv.Atoi(parts[2])
			v.Prepared = parts[1] == "1"
		}
		if len(parts) != 3 || err1 != nil || err2 != nil || !valid(v.Incarnation) {
			c.warn("voices", fmt.Sprintf("%.40q", all[i]), fmt.Errorf("%.40q is nothing that a member says", all[i+1]))
			continue
		}
		r.Voices = append(r.Voices, v)
	}
	slices.SortFunc(r.Voices, func(a, b fleet.Voice) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return r
}
