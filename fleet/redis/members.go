// This file enters, shows and removes members.

package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/fleet"
)

// joinScript has the arguments incarnation, member, shard count, intents, format, and Instead, or nothing.
var joinScript = newScript(reshardPrelude + `
  local incarnation = ARGV[3]
  if dead(incarnation) then return {'deposed'} end
  local rival, name
  local all = call('HGETALL', members)
  for i = 1, #all, 2 do
    local state, n = match(all[i + 1], '^%d+ ([012]) %d+ (%S*) ')
    if state and state ~= '2' and (not rival or all[i] < rival) then rival, name = all[i], n end
  end
  local has = call('HMGET', plan, 'generation', 'shards', 'intents', 'format', 'instead')
  local generation, instead = number(has[1]), has[5] or ''
  if rival and has[1] then
    if not generation or not number(has[2]) then bad(plan, 'not a plan') end
    for i, setting in ipairs({'shard count', 'intents', 'format'}) do
      if has[i + 1] ~= ARGV[4 + i] then return {'misfit', setting, ARGV[4 + i], has[i + 1] or '', name} end
    end
  else
    generation, instead = generation or 0, ARGV[8]
    if has[2] ~= ARGV[5] or generation == 0 then generation = generation + 1 end
    call('HSET', plan, 'generation', text(generation), 'shards', ARGV[5], 'intents', ARGV[6], 'format', ARGV[7])
    if instead == '' then call('HDEL', plan, 'instead') else call('HSET', plan, 'instead', instead) end
    if r.stage ~= '0' then none('no member was left') end
  end
  call('HSET', members, incarnation, ARGV[4])
  touch()
  return {'ok', text(generation), instead}`)

// Join enters a member.
func (c *Coordinator) Join(ctx context.Context, m fleet.Member, p fleet.Plan) (fleet.Plan, error) {
	m.State = fleet.Up
	value, err := pack(m)
	if err != nil {
		return fleet.Plan{}, err
	}
	instead := ""
	if p.Resharded {
		instead = strconv.Itoa(p.Instead)
	}
	reply, err := c.run(ctx, "join", joinScript, m.Incarnation, value, strconv.Itoa(p.Shards), strconv.FormatUint(p.Intents, 10), p.Format, instead)
	if err != nil {
		return fleet.Plan{}, err
	}
	if p.Generation, err = strconv.Atoi(first(reply)); err == nil {
		p.Resharded, p.Instead, err = resharded(first(reply[1:]))
	}
	if err != nil {
		return fleet.Plan{}, fmt.Errorf("fleet: redis: join: %s: %w", c.key("plan"), err)
	}
	return p, nil
}

// resharded reads a plan's Instead.
func resharded(s string) (bool, int, error) {
	if s == "" {
		return false, 0, nil
	}
	n, err := strconv.Atoi(s)
	return true, n, err
}

// misfit makes an error of setting, ours, theirs and the name of a member, packed.
func misfit(s []string) error {
	if len(s) != 4 {
		return fmt.Errorf("fleet: redis: join: reply %.100q", s)
	}
	name, err := url.QueryUnescape(s[3])
	if err != nil {
		name = s[3]
	}
	return &fleet.MisfitError{Setting: s[0], Ours: s[1], Theirs: s[2], Member: name}
}

// lookScript beats and looks, or only looks if there is no incarnation. It has the arguments incarnation,
// member, the revision that is known, how many rows to return, and whether this goes on with a page before.
//
// A revision that the log has not was forgotten, or is old: all is returned, and also which shards have no row
// (anew), but for one above the table's, from which the caller sees it. If there are owners without a change, as when
// that key alone is gone, they are changed now.
var lookScript = newScript(`
  local incarnation, since = ARGV[3], number(ARGV[5]) or 0
  if incarnation ~= '' and dead(incarnation) then return {'deposed'} end
  rev = number(call('GET', revision)) or 0
  local anew = 0
  if ARGV[7] == '' and since ~= 0 and since ~= rev and not call('ZSCORE', log, ARGV[5]) then
    if since < rev then anew = 1 end
    since = 0
  end
  if ARGV[7] == '' and since == 0 and call('HLEN', owners) > call('ZCARD', changes) then
    for _, shard in ipairs(call('HKEYS', owners)) do
      if not call('ZSCORE', changes, shard) then call('ZADD', changes, following(), shard) end
    end
    logged()
  end
  local found, values = {}, {}
  if since == 0 or since ~= rev then
    found = call('ZRANGEBYSCORE', changes, '(' .. text(since), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[6])
    local shards = {}
    for i = 1, #found, 2 do shards[#shards + 1] = found[i] end
    if #shards > 0 then values = call('HMGET', owners, unpack(shards)) end
    for i = 1, #values do
      if values[i] and #values[i] > 300 then values[i] = 'too long' end
    end
  end
  local has = call('HMGET', plan, 'generation', 'shards', 'intents', 'format', 'instead')
  local next, said = call('HMGET', reshard, ` + reshardFields + `), {}
  if next[1] and next[1] ~= '0' then said = call('HGETALL', voices) end
  for i = 2, #said, 2 do
    if #said[i] > 100 then said[i] = 'too long' end
  end
  for i = 1, #next do
    if next[i] and #next[i] > 500 then next[i] = 'too long' end
  end
  local all, own = call('HGETALL', members), 0
  for i = 2, #all, 2 do
    if all[i - 1] == incarnation then own = i - 2 elseif #all[i] > 4096 then all[i] = 'too long' end
  end
  if incarnation ~= '' then
    if own == 0 and all[1] ~= incarnation then own = #all end
    all[own + 1], all[own + 2] = incarnation, ARGV[4]
    call('HSET', members, incarnation, ARGV[4])
    if call('TTL', members) < 604800 - 600 then touch() end
  end
  return {'ok', text(now), text(rev), anew, has, all, found, values, next, said}`)

// Look returns the table as it has changed since a revision.
func (c *Coordinator) Look(ctx context.Context, since int64) (fleet.View, error) {
	return c.look(ctx, "look", "", "", since)
}

// Beat writes a member, and looks.
func (c *Coordinator) Beat(ctx context.Context, m fleet.Member, since int64) (fleet.View, error) {
	value, err := pack(m)
	if err != nil {
		return fleet.View{}, err
	}
	return c.look(ctx, "beat", m.Incarnation, value, since)
}

func (c *Coordinator) look(ctx context.Context, operation, incarnation, value string, since int64) (fleet.View, error) {
	var v fleet.View
	shards := make(map[int]fleet.Shard)
	after, goesOn, anew := decimal(since), "", false
	for {
		reply, err := c.run(ctx, operation, lookScript, incarnation, value, after, strconv.Itoa(page), goesOn)
		if err != nil {
			return fleet.View{}, err
		}
		if len(reply) != 9 {
			return fleet.View{}, fmt.Errorf("fleet: redis: %s: a reply of %d parts", operation, len(reply))
		}
		now, err := reply[0].AsInt64()
		if err == nil {
			v.Now = time.UnixMilli(now)
			v.Revision, err = reply[1].AsInt64()
		}
		if err != nil {
			return fleet.View{}, fmt.Errorf("fleet: redis: %s: %w", operation, err)
		}
		if n, _ := reply[2].AsInt64(); n != 0 {
			anew = true
		}
		v.Plan, v.Reshard = c.readPlan(reply[3]), c.readReshard(reply[7], reply[8])
		v.Members = c.readMembers(reply[4])
		found, _ := reply[5].ToArray()
		values, _ := reply[6].ToArray()
		names, rows := strs(found), strs(values)
		for i := 0; i+1 < len(names) && i/2 < len(rows); i += 2 {
			if shard, ok := c.readShard(names[i], rows[i/2]); ok {
				shards[shard.ID] = shard // the last page has the last word
			}
		}
		if len(rows) < page {
			break
		}
		after, goesOn = names[len(names)-1], "1"
		incarnation = "" // it has beaten
	}
	if anew { // what has been forgotten altogether has changed, too
		for id := range min(v.Plan.Shards, maxShards) {
			if _, ok := shards[id]; !ok {
				shards[id] = fleet.Shard{ID: id}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(shards)) {
		v.Shards = append(v.Shards, shards[id])
	}
	return v, nil
}

// maxShards bounds the ids of shards.
const maxShards = 1 << 20

func (c *Coordinator) readPlan(m rueidis.RedisMessage) fleet.Plan {
	fields, _ := m.ToArray()
	s := strs(fields)
	if len(s) != 5 || s[0] == "" && s[1] == "" {
		return fleet.Plan{} // there is none
	}
	generation, err1 := strconv.Atoi(s[0])
	shards, err2 := strconv.Atoi(s[1])
	intents, err3 := strconv.ParseUint(s[2], 10, 64)
	is, instead, err4 := resharded(s[4])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		c.warn("plan", "all", err)
		return fleet.Plan{}
	}
	return fleet.Plan{Generation: generation, Shards: shards, Intents: intents, Format: s[3], Resharded: is, Instead: instead}
}

func (c *Coordinator) readMembers(m rueidis.RedisMessage) []fleet.Member {
	fields, _ := m.ToArray()
	s := strs(fields)
	var all []fleet.Member
	for i := 0; i+1 < len(s); i += 2 {
		m, err := unpack(s[i], s[i+1])
		if err != nil {
			c.warn("members", fmt.Sprintf("%.40q", s[i]), err)
			continue
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b fleet.Member) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return all
}

// readShard reads a row as the scripts do.
func (c *Coordinator) readShard(name, value string) (fleet.Shard, bool) {
	id, err := strconv.Atoi(name)
	if err != nil || id < 0 || id >= maxShards || strconv.Itoa(id) != name {
		c.warn("changes", fmt.Sprintf("%.40q", name), errors.New("not a shard"))
		return fleet.Shard{}, false
	}
	if value == "" {
		return fleet.Shard{ID: id}, true
	}
	s := strings.Split(value, " ")
	if len(s) == 3 {
		epoch, err := strconv.ParseInt(s[0], 10, 64)
		if err == nil && epoch >= 0 && epoch < 9e15 && (s[1] == "" || valid(s[1])) && (s[2] == "" || valid(s[2])) {
			return fleet.Shard{ID: id, Owner: fleet.Owner{Incarnation: s[1], Epoch: epoch}, Giver: s[2]}, true
		}
	}
	c.warn("owners", name, fmt.Errorf("%.60q is not an owner", value))
	return fleet.Shard{ID: id}, true
}

// deposeScript has the arguments incarnation and beat. Who has been deposed is known for a week at least.
var deposeScript = newScript(`
  local incarnation = ARGV[3]
  if dead(incarnation) then return {'ok'} end
  local s = call('HGET', members, incarnation)
  local beat, rest = match(s or '', '^(%d+) [012]( .*)$')
  if (beat or '0') ~= ARGV[4] then return {'changed'} end
  if call('ZLEXCOUNT', owned, slot(incarnation)) > 0 then
    call('HSET', members, incarnation, (beat or '0') .. ' 2' .. (rest or ' 0    '))
    call('ZADD', deposed, text(now), incarnation)
  else
    call('ZADD', deposed, text(now), incarnation)
    call('HDEL', members, incarnation)
  end
  for _, old in ipairs(call('ZRANGEBYSCORE', deposed, '-inf', text(now - 604800000), 'LIMIT', 0, 100)) do
    if call('HEXISTS', members, old) == 0 then call('ZREM', deposed, old) end
  end
  notify()
  touch()
  return {'ok'}`)

// Depose deposes an incarnation.
func (c *Coordinator) Depose(ctx context.Context, incarnation string, beat int64) error {
	if err := check(incarnation); err != nil {
		return err
	}
	_, err := c.run(ctx, "depose", deposeScript, incarnation, decimal(beat))
	return err
}

// leaveScript frees some of the shards of an incarnation, and says whether there are more; it removes the
// incarnation with the last. Its arguments are the incarnation and how many.
var leaveScript = newScript(`
  local incarnation, limit = ARGV[3], tonumber(ARGV[4])
  begin()
  local from, to = slot(incarnation)
  local found = call('ZRANGEBYLEX', owned, from, to, 'LIMIT', 0, limit)
  local shards = {}
  for i = 1, #found do shards[i] = string.sub(found[i], #incarnation + 2) end
  if #found > 0 then
    local has = call('HMGET', owners, unpack(shards))
    for i = 1, #found do
      local was = row(has[i])
      if was.incarnation == incarnation then
        put(shards[i], was, '', was.epoch, '')
      else
        lost[#lost + 1] = found[i]
      end
    end
  end
  if #found < limit then call('HDEL', members, incarnation) end
  commit()
  notify()
  return {'ok', text(#found)}`)

// Leave removes an incarnation.
func (c *Coordinator) Leave(ctx context.Context, incarnation string) error {
	if err := check(incarnation); err != nil {
		return err
	}
	for {
		reply, err := c.run(ctx, "leave", leaveScript, incarnation, strconv.Itoa(chunk))
		if err != nil {
			return err
		}
		if n, err := strconv.Atoi(first(reply)); err != nil || n < chunk {
			return err
		}
	}
}

// maxName bounds the texts of a member, and maxIncarnation an incarnation.
const maxName, maxIncarnation = 255, 100

// valid reports whether an incarnation can be one: letters and digits.
func valid(incarnation string) bool {
	for _, b := range []byte(incarnation) {
		if (b < '0' || b > '9') && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') {
			return false
		}
	}
	return incarnation != "" && len(incarnation) <= maxIncarnation
}

func check(incarnation string) error {
	if !valid(incarnation) {
		return fmt.Errorf("fleet: %.40q is not an incarnation: up to %d of a-z, A-Z and 0-9", incarnation, maxIncarnation)
	}
	return nil
}

// pack returns "beat state weight name zone address version", as they are in a URL.
func pack(m fleet.Member) (string, error) {
	if err := check(m.Incarnation); err != nil {
		return "", err
	}
	if m.Beat < 0 || m.Weight < 0 || m.State > fleet.Draining {
		return "", fmt.Errorf("fleet: member %s has the beat %d, the weight %d and the state %d", m.Incarnation, m.Beat, m.Weight, m.State)
	}
	fields := []string{decimal(m.Beat), strconv.Itoa(int(m.State)), strconv.Itoa(m.Weight)}
	for _, s := range []string{m.Name, m.Zone, m.Address, m.Version} {
		if len(s) > maxName {
			return "", fmt.Errorf("fleet: member %s: %.40q has more than %d bytes", m.Incarnation, s, maxName)
		}
		fields = append(fields, url.QueryEscape(s))
	}
	return strings.Join(fields, " "), nil
}

func unpack(incarnation, value string) (fleet.Member, error) {
	bad := func(err error) (fleet.Member, error) {
		return fleet.Member{}, fmt.Errorf("%.60q is not a member: %w", value, err)
	}
	if err := check(incarnation); err != nil {
		return bad(err)
	}
	s := strings.Split(value, " ")
	if len(s) != 7 {
		return bad(fmt.Errorf("%d parts", len(s)))
	}
	beat, err1 := strconv.ParseInt(s[0], 10, 64)
	state, err2 := strconv.ParseUint(s[1], 10, 8)
	weight, err3 := strconv.Atoi(s[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return bad(err)
	}
	if beat < 0 || state > uint64(fleet.Deposed) || weight < 0 {
		return bad(errors.New("a number is out of its range"))
	}
	for i := 3; i < len(s); i++ {
		text, err := url.QueryUnescape(s[i])
		if err != nil {
			return bad(err)
		}
		if len(text) > maxName {
			return bad(fmt.Errorf("a text of %d bytes", len(text)))
		}
		s[i] = text
	}
	return fleet.Member{
		Incarnation: incarnation, Beat: beat, State: fleet.State(state), Weight: weight, Name: s[3], Zone: s[4], Address: s[5], Version: s[6],
	}, nil
}
