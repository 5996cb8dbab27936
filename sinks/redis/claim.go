// This file claims shards, so that nobody else's events of them are written.

package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"sluice/sinks"
)

var _ sinks.Claimer = (*Sink)(nil)

// claimScript reads the positions of shards and writes them with other tags, if they are still what they
// were. Its key is the hash of positions. Its arguments are the number of shards, the shards, what
// their positions were (empty: nothing), and what they are to be. It returns those that it has found,
// all of which are as they were if anything is written. A journal is folded. A key that is no hash is removed, with an empty reply.
const claimScript = foldFunction + `
local n = tonumber(ARGV[1])
local writer = redis.pcall('HMGET', KEYS[1], 'writer')[1]
if writer and writer ~= '' then fold(KEYS[1]) end
local has = redis.pcall('HMGET', KEYS[1], unpack(ARGV, 2, 1 + n))
if has.err then
  if not string.find(has.err, 'WRONGTYPE', 1, true) then return has end
  redis.call('DEL', KEYS[1])
  return {}
end
local set = {}
for i = 1, n do
  if (has[i] or '') ~= ARGV[1 + n + i] then return has end
  set[2 * i - 1], set[2 * i] = ARGV[1 + i], ARGV[1 + 2 * n + i]
end
redis.call('HSET', KEYS[1], unpack(set))
redis.call('EXPIRE', KEYS[1], 604800)
return has`

const (
	// maxClaim is how many shards are claimed in one step.
	maxClaim = 256
	// claimTries is how often a claim is tried against others who write the positions.
	claimTries = 10
)

// Claim makes Options.Owner, with these epochs by shard, the only one whose events of the shards are
// written from now on. It implements sinks.Claimer.
func (s *Sink) Claim(ctx context.Context, epochs map[int]int64) (map[int]sinks.Position, error) {
	if s.o.Owner == "" {
		return nil, errors.New("redis: claim: Options.Owner is not set")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // Close waits for nobody's claim
	client, err := s.claimClient(ctx)
	if err != nil {
		return nil, err
	}
	at := make(map[int]sinks.Position, len(epochs))
	refused := make(map[int]int64)
	shards := slices.Sorted(maps.Keys(epochs))
	for chunk := range slices.Chunk(shards, maxClaim) {
		if err := s.claim(ctx, client, chunk, epochs, at, refused); err != nil {
			s.claimFailed(client, err)
			return nil, fmt.Errorf("redis: claim: %w", err)
		}
	}
	if len(refused) > 0 {
		return at, &sinks.ClaimedError{Epochs: refused}
	}
	return at, nil
}

// claim claims a few shards. What somebody else writes meanwhile is read again.
func (s *Sink) claim(ctx context.Context, client rueidis.Client, shards []int, epochs map[int]int64, at map[int]sinks.Position, refused map[int]int64) error {
	key := positionsKey(s.o.Bot, "")
	has := make([]string, len(shards))
	for try := 0; len(shards) > 0; try++ {
		if try == claimTries {
			return errors.New("the positions change all the time")
		}
		args := []string{strconv.Itoa(len(shards))}
		for _, shard := range shards {
			args = append(args, strconv.Itoa(shard))
		}
		args = append(args, has...)
		for i, shard := range shards {
			args = append(args, string(parsePosition(has[i]).tagged(epochs[shard], s.o.Owner).append(nil)))
		}
		answers, err := s.evalClaim(ctx, client, key, args)
		if err != nil {
			return err
		}
		if len(answers) == 0 {
			s.o.Log.Error("Redis: the key of the dedup positions is no hash; it is removed, and made anew", "key", key)
			continue
		}
		if len(answers) != len(shards) {
			return errors.New("the answer is not the script's")
		}
		same := true
		for i := range answers {
			text, err := answers[i].ToString() // null: there is none
			if err != nil {
				text = ""
			}
			same = same && text == has[i]
			has[i] = text
		}
		if !same {
			// Who is refused is left out of the next attempt.
			kept := shards[:0:0]
			keptHas := has[:0:0]
			for i, shard := range shards {
				if t := parsePosition(has[i]).tag; t.epoch > epochs[shard] || t.epoch == epochs[shard] && t.owner != s.o.Owner {
					refused[shard] = t.epoch
					continue
				}
				kept, keptHas = append(kept, shard), append(keptHas, has[i])
			}
			shards, has = kept, keptHas
			continue
		}
		for i, shard := range shards {
			m := parsePosition(has[i])
			at[shard] = sinks.Position{Session: m.session, Seq: m.seq, Began: m.began}
			if m.seq == endOfSession {
				at[shard] = sinks.Position{Session: m.session, Ended: true, Began: m.began}
			}
		}
		return nil
	}
	return nil
}

// evalClaim runs the script, and waits for the replicas, if any, on the same connection: one of its own, which may have
// to be made first, so that without them claims go together over one that there is.
func (s *Sink) evalClaim(ctx context.Context, client rueidis.Client, key string, args []string) (has []rueidis.RedisMessage, err error) {
	eval := func(b rueidis.Builder) rueidis.Completed {
		return b.Eval().Script(claimScript).Numkeys(1).Key(key).Arg(args...).Build()
	}
	if s.o.Replicas == 0 {
		return client.Do(ctx, eval(client.B())).ToArray()
	}
	err = client.Dedicated(func(c rueidis.DedicatedClient) error {
		has, err = c.Do(ctx, eval(c.B())).ToArray()
		if err != nil {
			return err
		}
		n, err := c.Do(ctx, c.B().Wait().Numreplicas(int64(s.o.Replicas)).Timeout(replicaTimeout.Milliseconds()).Build()).AsInt64()
		if err == nil && n < int64(s.o.Replicas) {
			err = fmt.Errorf("WAIT: %d of %d replicas have it", n, s.o.Replicas)
		}
		return err
	})
	return has, err
}

// claimClient returns the client for claims, which is not the writer's: that may be busy for long.
func (s *Sink) claimClient(ctx context.Context) (rueidis.Client, error) {
	s.claims.Lock()
	defer s.claims.Unlock()
	if s.claimer != nil {
		return s.claimer, nil
	}
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	client, err := Connect(ctx, s.o.Client)
	if err != nil {
		return nil, err
	}
	if client.Mode() == rueidis.ClientModeCluster {
		client.Close()
		return nil, errClusterFleet
	}
	s.claimer = client
	return client, nil
}

// claimFailed gives up a client over which a claim has failed, unless Redis has answered.
func (s *Sink) claimFailed(client rueidis.Client, err error) {
	if _, answered := rueidis.IsRedisErr(err); answered && failureOf(err.Error()) != cut {
		return
	}
	s.claims.Lock()
	defer s.claims.Unlock()
	if s.claimer == client {
		s.claimer = nil
		time.AfterFunc(answerTimeout, client.Close) // others may use it
	}
}

// isName reports whether a name is of letters and digits.
func isName(name string) bool {
	for _, c := range name {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(name) <= 64
}
