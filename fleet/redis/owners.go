// This file changes the owners of shards.

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"sluice/fleet"
)

// acquireScript has the arguments incarnation, then shard, and From's incarnation, its epoch and Above of each. A
// shard that is the member's already may have been acquired by a call whose answer was lost.
var acquireScript = newScript(`
  local incarnation = ARGV[3]
  begin()
  local state = member(incarnation)
  if state == nil or state == '2' then return {'deposed'} end
  if state ~= '0' then return {'changed'} end
  local shards = {}
  for i = 4, #ARGV, 4 do shards[#shards + 1] = ARGV[i] end
  local has = call('HMGET', owners, unpack(shards))
  local known, got = {['']= true, [incarnation] = true}, {'ok'}
  for i = 1, #shards do
    local a = 4 * i
    local was, from, epoch, above = row(has[i]), ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
    if known[from] == nil then known[from] = dead(from) end
    if was.incarnation == from and was.epoch == epoch and known[from] then
      local new = math.max(later(was.epoch), above + 1)
      put(shards[i], was, incarnation, new, '')
      got[#got + 1] = shards[i]
      got[#got + 1] = text(new)
      got[#got + 1] = ''
    elseif was.incarnation == incarnation then
      got[#got + 1] = shards[i]
      got[#got + 1] = text(was.epoch)
      got[#got + 1] = was.giver
    end
  end
  commit()
  return got`)

// Acquire makes a member the owner of shards. After an error it returns those that it knows of.
func (c *Coordinator) Acquire(ctx context.Context, incarnation string, want []fleet.Want) (got []fleet.Shard, err error) {
	if err := check(incarnation); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(want, chunk) {
		args := []string{incarnation}
		for _, w := range part {
			if w.Above >= maxEpoch {
				return got, fmt.Errorf("fleet: redis: acquire: shard %d: the epoch %d is beyond all", w.Shard, w.Above)
			}
			args = append(args, strconv.Itoa(w.Shard), w.From.Incarnation, decimal(w.From.Epoch), decimal(w.Above))
		}
		reply, err := c.run(ctx, "acquire", acquireScript, args...)
		if err != nil {
			return got, err
		}
		s := strs(reply)
		for i := 0; i+2 < len(s); i += 3 {
			shard, err := strconv.Atoi(s[i])
			if err != nil {
				return got, fmt.Errorf("fleet: redis: acquire: %w", err)
			}
			owner, err := ownerOf(incarnation, s[i+1])
			if err != nil {
				return got, fmt.Errorf("fleet: redis: acquire: %w", err)
			}
			got = append(got, fleet.Shard{ID: shard, Owner: owner, Giver: s[i+2]})
		}
	}
	return got, nil
}

// maxEpoch is where Lua's numbers end to be exact.
const maxEpoch = 9e15

func ownerOf(incarnation, epoch string) (fleet.Owner, error) {
	n, err := strconv.ParseInt(epoch, 10, 64)
	return fleet.Owner{Incarnation: incarnation, Epoch: n}, err
}

// giveScript has the arguments incarnation, shard, epoch, and to whom.
var giveScript = newScript(`
  local from, shard, epoch, to = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
  begin()
  local was = read(shard)
  if was.incarnation == to and was.giver == from and was.epoch > epoch then return {'ok', text(was.epoch)} end
  if was.incarnation ~= from or was.epoch ~= epoch or was.giver ~= '' then return {'changed'} end
  if member(to) ~= '0' then return {'changed'} end
  local new = later(epoch)
  put(shard, was, to, new, from)
  commit()
  notify()
  return {'ok', text(new)}`)

// Give gives a shard to a member.
func (c *Coordinator) Give(ctx context.Context, shard int, from fleet.Owner, to string) (fleet.Owner, error) {
	if from.Incarnation == "" || to == "" {
		return fleet.Owner{}, fleet.ErrChanged
	}
	if err := errors.Join(check(from.Incarnation), check(to)); err != nil {
		return fleet.Owner{}, err
	}
	reply, err := c.run(ctx, "give", giveScript, from.Incarnation, strconv.Itoa(shard), decimal(from.Epoch), to)
	if err != nil {
		return fleet.Owner{}, err
	}
	return ownerOf(to, first(reply))
}

// takeScript has the arguments incarnation, shard and epoch.
var takeScript = newScript(`
  local incarnation, shard, epoch = ARGV[3], ARGV[4], tonumber(ARGV[5])
  begin()
  local was = read(shard)
  if was.incarnation ~= incarnation or was.epoch ~= epoch then return {'changed'} end
  if was.giver ~= '' then
    put(shard, was, incarnation, epoch, '')
    commit()
    notify()
  end
  return {'ok'}`)

// Take ends a handover.
func (c *Coordinator) Take(ctx context.Context, shard int, by fleet.Owner) error {
	if by.Incarnation == "" {
		return fleet.ErrChanged
	}
	if err := check(by.Incarnation); err != nil {
		return err
	}
	_, err := c.run(ctx, "take", takeScript, by.Incarnation, strconv.Itoa(shard), decimal(by.Epoch))
	return err
}

// takeBackScript has the arguments giver, shard, and the incarnation and epoch that it was given under.
var takeBackScript = newScript(`
  local giver, shard, to, epoch = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
  begin()
  if dead(giver) then return {'deposed'} end
  local was = read(shard)
  if was.incarnation == giver and was.giver == '' and was.epoch > epoch then return {'ok', text(was.epoch)} end
  if was.incarnation ~= to or was.epoch ~= epoch or was.giver ~= giver then return {'changed'} end
  local new = later(epoch)
  put(shard, was, giver, new, '')
  commit()
  notify()
  return {'ok', text(new)}`)

// TakeBack ends a handover.
func (c *Coordinator) TakeBack(ctx context.Context, shard int, given fleet.Owner, giver string) (fleet.Owner, error) {
	if giver == "" {
		return fleet.Owner{}, fleet.ErrChanged
	}
	if err := check(giver); err != nil {
		return fleet.Owner{}, err
	}
	reply, err := c.run(ctx, "take back", takeBackScript, giver, strconv.Itoa(shard), given.Incarnation, decimal(given.Epoch))
	if err != nil {
		return fleet.Owner{}, err
	}
	return ownerOf(giver, first(reply))
}
