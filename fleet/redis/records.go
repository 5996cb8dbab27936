// This file keeps the checkpoints.

package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"sluice/fleet"
)

// confirmScript has the arguments incarnation, then shard and epoch of each.
var confirmScript = newScript(`
  local incarnation = ARGV[3]
  local shards = {}
  for i = 4, #ARGV, 2 do shards[#shards + 1] = ARGV[i] end
  local has = call('HMGET', owners, unpack(shards))
  local out = {'ok'}
  for i = 1, #shards do
    local was = row(has[i])
    if was.incarnation ~= incarnation or was.epoch ~= tonumber(ARGV[2 * i + 3]) or was.giver ~= '' then out[#out + 1] = shards[i] end
  end
  return out`)

// Confirm returns those of the shards that are not owned under these epochs.
func (c *Coordinator) Confirm(ctx context.Context, incarnation string, epochs map[int]int64) (lost []int, err error) {
	if incarnation == "" {
		return slices.Sorted(maps.Keys(epochs)), nil
	}
	if err := check(incarnation); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(epochs)), chunk) {
		args := []string{incarnation}
		for _, shard := range part {
			args = append(args, strconv.Itoa(shard), decimal(epochs[shard]))
		}
		ids, err := c.ids(ctx, "confirm", confirmScript, args)
		if err != nil {
			return nil, err
		}
		lost = append(lost, ids...)
	}
	return lost, nil
}

// ids calls a script that returns shards.
func (c *Coordinator) ids(ctx context.Context, operation string, script *rueidis.Lua, args []string) ([]int, error) {
	reply, err := c.run(ctx, operation, script, args...)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, s := range strs(reply) {
		id, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("fleet: redis: %s: %w", operation, err)
		}
		all = append(all, id)
	}
	return all, nil
}

// saveScript has the arguments incarnation, then shard, epoch, number and "1 data", or "0 ", of each.
var saveScript = newScript(`
  local incarnation = ARGV[3]
  local shards = {}
  for i = 4, #ARGV, 4 do shards[#shards + 1] = ARGV[i] end
  local has, before = call('HMGET', owners, unpack(shards)), call('HMGET', records, unpack(shards))
  local out, set = {'ok'}, {}
  for i = 1, #shards do
    local a = 4 * i
    local was, epoch, n = row(has[i]), ARGV[a + 1], tonumber(ARGV[a + 2])
    if was.incarnation ~= incarnation or was.epoch ~= tonumber(epoch) then
      out[#out + 1] = shards[i]
    else
      local by, m = match(string.sub(before[i] or '', 1, 200), '^%d+ (%w+) (%d+) [01] ')
      if by ~= incarnation or not number(m) or tonumber(m) <= n then
        set[#set + 1] = shards[i]
        set[#set + 1] = epoch .. ' ' .. incarnation .. ' ' .. ARGV[a + 2] .. ' ' .. ARGV[a + 3]
      end
    end
  end
  if #set > 0 then
    call('HSET', records, unpack(set))
    touch()
  end
  return out`)

// maxData bounds a checkpoint.
const maxData = 1 << 20

// packRecord returns what is kept of a record behind its number.
func packRecord(r fleet.Record) (string, error) {
	switch {
	case r.Number < 0 || r.Number >= maxEpoch || len(r.Data) > maxData:
		return "", fmt.Errorf("shard %d: a checkpoint of number %d and %d bytes", r.Shard, r.Number, len(r.Data))
	case r.Data == nil:
		return "0 ", nil
	}
	return "1 " + string(r.Data), nil
}

// Save keeps records.
func (c *Coordinator) Save(ctx context.Context, incarnation string, records []fleet.Record) (refused []int, err error) {
	if incarnation == "" {
		for _, r := range records {
			refused = append(refused, r.Shard)
		}
		return refused, nil
	}
	if err := check(incarnation); err != nil {
		return nil, err
	}
	for part := range slices.Chunk(records, chunk) {
		args := []string{incarnation}
		for _, r := range part {
			data, err := packRecord(r)
			if err != nil {
				return refused, fmt.Errorf("fleet: redis: save: %w", err)
			}
			args = append(args, strconv.Itoa(r.Shard), decimal(r.Epoch), decimal(r.Number), data)
		}
		ids, err := c.ids(ctx, "save", saveScript, args)
		if err != nil {
			return refused, err
		}
		refused = append(refused, ids...)
	}
	return refused, nil
}

// loadScript has shards as arguments.
var loadScript = newScript(`
  local has = call('HMGET', records, unpack(ARGV, 3))
  for i = 1, #has do
    if has[i] and #has[i] > 1048576 + 200 then has[i] = 'too long' end
  end
  return {'ok', unpack(has)}`)

// Load returns a record for each of the shards.
func (c *Coordinator) Load(ctx context.Context, shards []int) ([]fleet.Record, error) {
	var all []fleet.Record
	for part := range slices.Chunk(shards, chunk) {
		args := make([]string, len(part))
		for i, shard := range part {
			args[i] = strconv.Itoa(shard)
		}
		reply, err := c.run(ctx, "load", loadScript, args...)
		if err != nil {
			return nil, err
		}
		if len(reply) != len(part) {
			return nil, fmt.Errorf("fleet: redis: load: %d of %d checkpoints", len(reply), len(part))
		}
		for i, shard := range part {
			var r fleet.Record
			if value, err := reply[i].ToString(); err == nil { // or there is none
				if r, err = readRecord(value); err != nil {
					c.warn("records", args[i], err)
				}
			}
			r.Shard = shard
			all = append(all, r)
		}
	}
	return all, nil
}

func readRecord(value string) (fleet.Record, error) {
	epoch, rest, _ := strings.Cut(value, " ")
	by, rest, _ := strings.Cut(rest, " ")
	number, rest, _ := strings.Cut(rest, " ")
	has, data, ok := strings.Cut(rest, " ")
	e, err1 := strconv.ParseInt(epoch, 10, 64)
	n, err2 := strconv.ParseInt(number, 10, 64)
	if err := errors.Join(err1, err2); err != nil || !ok || !valid(by) || has != "0" && has != "1" {
		return fleet.Record{}, fmt.Errorf("%.60q is not a checkpoint", value)
	}
	r := fleet.Record{Epoch: e, Number: n}
	if has == "1" {
		r.Data = []byte(data)
	}
	return r, nil
}
