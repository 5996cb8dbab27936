// This file is the store in Redis.

package resume

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"sluice/engine"
	"sluice/wire"
)

// Redis is a Store in Redis, whose Client and Connect are required. Its keys are
//
//	{<prefix>sluice}:shards    a set: the shards of which there is a checkpoint
//	{<prefix>sluice}:shard:<n> a hash: the checkpoint of shard n
//	{<prefix>sluice}:starts    a hash: the count of Identifies
//
// all of one hash tag, so that they lie in one slot of a Cluster. They expire a week after
// they were last written, when no session of theirs can be resumed any more.
//
// Beside them it reads what the gateway that this one takes the place of has left, the keys
// <prefix><n>session and <prefix><n>seq.
type Redis struct {
	// Connect returns a client, which the store closes. It is called again after a
	// failure.
	Connect func(ctx context.Context) (rueidis.Client, error)
	Prefix  string
	// Compat has the other gateway's keys written as well, and believed when they
	// name another session.
	Compat bool

	client rueidis.Client // nil: not connected
}

const (
	// expiry is that of all keys.
	expiry = 7 * 24 * time.Hour
	// redisTimeout bounds what the store does: it is called again.
	redisTimeout = 5 * time.Second
	// probe is how many shards of the other gateway are asked for at a time.
	probe = 512
)

// saveScript stores a checkpoint, unless there is one of the same session with a higher seq:
// that of a process which has taken over. Its keys are the hash and the set, its
// arguments the shard, the expiry in seconds, and the fields: session and seq first.
var saveScript = rueidis.NewLuaScript(`
local has = redis.call('HMGET', KEYS[1], 'session', 'seq')
if has[1] == ARGV[4] and has[1] ~= '' and tonumber(has[2] or '0') > tonumber(ARGV[6]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1`)

// compatScript does what the other gateway does: seq is only ever raised, which is why the
// new session of a shard must begin with DEL. Its keys are session and seq.
var compatScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('DEL', KEYS[2])
end
if tonumber(redis.call('GET', KEYS[2]) or '-1') < tonumber(ARGV[2]) then redis.call('SET', KEYS[2], ARGV[2]) end
return 1`)

func (r *Redis) key(name string) string { return "{" + r.Prefix + "sluice}:" + name }

func (r *Redis) shardKey(shard int) string { return r.key("shard:" + strconv.Itoa(shard)) }

// do calls f with a client, which is given up if f fails.
func (r *Redis) do(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	if r.client == nil {
		client, err := r.Connect(ctx)
		if err != nil {
			return err
		}
		r.client = client
	}
	err := f(ctx)
	if _, answered := rueidis.IsRedisErr(err); err != nil && !answered {
		r.Close()
	}
	if err != nil {
		return fmt.Errorf("resume: redis: %w", err)
	}
	return nil
}

// Load returns what is stored.
func (r *Redis) Load(ctx context.Context) (s State, err error) {
	s.Checkpoints = make(map[int]Checkpoint)
	err = r.do(ctx, func(ctx context.Context) error {
		clear(s.Checkpoints)
		if err := r.loadOther(ctx, &s); err != nil {
			return err
		}
		return r.loadOwn(ctx, &s)
	})
	return s, err
}

func (r *Redis) loadOwn(ctx context.Context, s *State) error {
	b := r.client.B
	shards, err := r.client.Do(ctx, b().Smembers().Key(r.key("shards")).Build()).AsIntSlice()
	if err != nil {
		return err
	}
	cmds := rueidis.Commands{b().Hgetall().Key(r.key("starts")).Build()}
	for _, shard := range shards {
		cmds = append(cmds, b().Hgetall().Key(r.shardKey(int(shard))).Build())
	}
	answers := r.client.DoMulti(ctx, cmds...)
	starts, err := answers[0].AsStrMap()
	if err != nil {
		return err
	}
	h := hash{fields: starts}
	s.Starts = engine.Starts{Count: int(h.number("count")), Until: h.time("until")}
	for i, answer := range answers[1:] {
		text, err := answer.AsStrMap()
		if err != nil {
			return err
		}
		h := hash{fields: text}
		c := Checkpoint{
			Session: engine.Session{
				ID: text["session"], Seq: h.number("seq"), ResumeURL: text["url"], Shards: int(h.number("shards")),
				Gaps: [2]engine.Gap{h.gap("gap_"), h.gap("gap2_")},
			},
			Intents: wire.Intents(h.number("intents")), Bot: h.unsigned("bot"), At: h.time("at"),
		}
		shard := int(shards[i])
		if h.bad != nil {
			return fmt.Errorf("%s: %w; remove the key, or let the gateway have another prefix", r.shardKey(shard), h.bad)
		}
		other, both := s.Checkpoints[shard]
		if c.empty() || r.Compat && both && other.ID != c.ID {
			continue
		}
		s.Checkpoints[shard] = c
	}
	return nil
}

// loadOther reads the other gateway's keys. It has stored neither the shard count, which is
// that of the shards that are there, nor the address to resume at, nor for whom the session
// is. A seq may be higher than the session has ever come: Discord refuses it then.
func (r *Redis) loadOther(ctx context.Context, s *State) error {
	whole := true // the shards from 0 on, without one missing
	for first := 0; ; first += probe {
		var keys rueidis.Commands
		for shard := first; shard < first+probe; shard++ {
			id := r.Prefix + strconv.Itoa(shard)
			keys = append(keys, r.client.B().Get().Key(id+"session").Build(), r.client.B().Get().Key(id+"seq").Build())
		}
		answers := r.client.DoMulti(ctx, keys...)
		found := false
		for i := 0; i < len(answers); i += 2 {
			id, err := text(answers[i])
			if err != nil {
				return fmt.Errorf("%s%dsession: %w", r.Prefix, first+i/2, err)
			}
			seq, err := text(answers[i+1])
			if err != nil {
				return fmt.Errorf("%s%dseq: %w", r.Prefix, first+i/2, err)
			}
			n, err := strconv.ParseInt(seq, 10, 64)
			if id == "" || err != nil || n < 0 {
				continue // it never had both, or is not that gateway's
			}
			found = true
			s.Checkpoints[first+i/2] = Checkpoint{Session: engine.Session{ID: id, Seq: n}}
		}
		if !found {
			break
		}
	}
	for shard := range s.Checkpoints {
		whole = whole && shard < len(s.Checkpoints)
	}
	for shard, c := range s.Checkpoints {
		if whole {
			c.Shards = len(s.Checkpoints)
			s.Checkpoints[shard] = c
		}
	}
	return nil
}

// text returns the answer to GET, and nothing for a key that is not there.
func text(r rueidis.RedisResult) (string, error) {
	s, err := r.ToString()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	return s, err
}

// Save stores the changes, those of each shard in one step.
func (r *Redis) Save(ctx context.Context, changes State) error {
	return r.do(ctx, func(ctx context.Context) error {
		seconds := strconv.Itoa(int(expiry.Seconds()))
		var saves, others []rueidis.LuaExec
		var removals rueidis.Commands
		b := r.client.B
		for shard, c := range changes.Checkpoints {
			id := strconv.Itoa(shard)
			key, old := r.shardKey(shard), r.Prefix+id
			if c.empty() {
				removals = append(removals, b().Del().Key(key).Build(), b().Srem().Key(r.key("shards")).Member(id).Build())
			} else {
				args := []string{
					id, seconds, "session", c.ID, "seq", decimal(c.Seq), "url", c.ResumeURL, "shards", strconv.Itoa(c.Shards),
					"intents", strconv.FormatUint(uint64(c.Intents), 10), "bot", strconv.FormatUint(c.Bot, 10), "at", decimal(c.At.UnixMilli()),
				}
				for i, prefix := range [...]string{"gap_", "gap2_"} {
					g := c.Gaps[i]
					args = append(args, prefix+"session", g.Session, prefix+"seq", decimal(g.Seq), prefix+"at", decimal(g.At), prefix+"reason", g.Reason)
				}
				saves = append(saves, rueidis.LuaExec{Keys: []string{key, r.key("shards")}, Args: args})
			}
			switch {
			case c.ID == "":
				// Also without Compat: what is given up must not come back from there.
				removals = append(removals, b().Del().Key(old+"session").Build(), b().Del().Key(old+"seq").Build())
			case r.Compat:
				others = append(others, rueidis.LuaExec{Keys: []string{old + "session", old + "seq"}, Args: []string{c.ID, decimal(c.Seq)}})
			}
		}
		if s := changes.Starts; s != (engine.Starts{}) {
			key := r.key("starts")
			removals = append(removals, b().Hset().Key(key).FieldValue().FieldValue("count", strconv.Itoa(s.Count)).FieldValue("until", decimal(s.Until.UnixMilli())).Build(),
				b().Expire().Key(key).Seconds(int64(expiry.Seconds())).Build())
		}
		answers := saveScript.ExecMulti(ctx, r.client, saves...)
		answers = append(answers, compatScript.ExecMulti(ctx, r.client, others...)...)
		if len(removals) > 0 {
			answers = append(answers, r.client.DoMulti(ctx, removals...)...)
		}
		var errs []error
		for _, a := range answers {
			if err := a.Error(); err != nil {
				errs = append(errs, err)
				break // the others say the same, and there may be thousands
			}
		}
		return errors.Join(errs...)
	})
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// Close ends the connection, if there is one.
func (r *Redis) Close() error {
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
	return nil
}

// hash reads the fields of a hash. A number that is none is noted in bad.
type hash struct {
	fields map[string]string
	bad    error
}

func (h *hash) number(field string) int64 {
	text := h.fields[field]
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		h.bad = fmt.Errorf("%s is %.20q, not a number", field, text)
	}
	return n
}

func (h *hash) gap(prefix string) engine.Gap {
	return engine.Gap{
		Session: h.fields[prefix+"session"], Seq: h.number(prefix + "seq"), At: h.number(prefix + "at"), Reason: h.fields[prefix+"reason"],
	}
}

func (h *hash) unsigned(field string) uint64 {
	text := h.fields[field]
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		h.bad = fmt.Errorf("%s is %.20q, not a number", field, text)
	}
	return n
}

func (h *hash) time(field string) time.Time {
	if n := h.number(field); n != 0 {
		return time.UnixMilli(n)
	}
	return time.Time{}
}
