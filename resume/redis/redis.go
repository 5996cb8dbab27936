// Package redis is the store of what resumes shards in Redis.
package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"sluice/resume"
	"sluice/sinks"
	"sluice/wire"
)

// Store is a resume.Store in Redis, whose Connect is required. Its keys are
//
//	{<prefix>sluice}:shards    a set: the shards of which there is a checkpoint
//	{<prefix>sluice}:shard:<n> a hash: the checkpoint of shard n
//	{<prefix>sluice}:starts    a hash: the count of Identifies, of all processes together
//	{<prefix>sluice}:plan      a hash: the shard count that the bot was resharded to, which does not expire
//
// all of one hash tag, so that they lie in one slot of a Cluster. They expire a week after
// they were last written, when no session of theirs can be resumed any more.
//
// Beside them it reads what the gateway that this one replaces has left, the keys
// <prefix><n>session and <prefix><n>seq.
type Store struct {
	// Connect returns a client, which the store closes. It is called again after a
	// failure.
	Connect func(ctx context.Context) (rueidis.Client, error)
	Prefix  string
	// Compat has the other gateway's keys written as well, and believed when they
	// name another session.
	Compat bool
	// Shared, if set, is called with shards whose checkpoints another process has written since this one did: both run
	// them, and resume each other's sessions in turns.
	Shared func(shards []int)

	client rueidis.Client // nil: not connected
	// other has, by shard, the session that the other gateway's keys may name: the one that
	// was loaded from there, and what was written since.
	other map[int]string
	// saved is what was loaded, or last written, of a shard.
	saved map[int]position
	// written is what this process has written itself of a shard; checked is when its keys
	// were last asked for, and next the shard at which that goes on.
	written map[int]position
	checked time.Time
	next    int
	// Of Starts: what was loaded, and who adds to it.
	loaded  resume.Starts
	process string
	// denied: the other gateway's keys are none of this user's. Whoever gives so narrow rights
	// has no such gateway.
	denied bool
}

// position is a session, and how far it has come.
type position struct {
	session string
	seq     int64
}

const (
	// expiry is that of all keys.
	expiry = 7 * 24 * time.Hour
	// redisTimeout bounds what the store does: it is called again.
	redisTimeout = 5 * time.Second
	// probe is how many shards of the other gateway are asked for at a time.
	probe = 512
)

func (r *Store) key(name string) string { return "{" + r.Prefix + "sluice}:" + name }

func (r *Store) shardKey(shard int) string { return r.key("shard:" + strconv.Itoa(shard)) }

// do calls f with a client, which is given up if f fails.
func (r *Store) do(ctx context.Context, f func(ctx context.Context) error) error {
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
	if _, answered := rueidis.IsRedisErr(err); err != nil && !answered && !errors.Is(err, resume.ErrLost) {
		r.Close()
	}
	if err != nil {
		return fmt.Errorf("resume: redis: %w", err)
	}
	return nil
}

// Load returns what is stored.
func (r *Store) Load(ctx context.Context) (s resume.State, err error) {
	s.Checkpoints = make(map[int]resume.Checkpoint)
	err = r.do(ctx, func(ctx context.Context) error {
		clear(s.Checkpoints)
		s.Unreadable = nil
		if err := r.loadOther(ctx, &s); err != nil {
			return err
		}
		return r.loadOwn(ctx, &s)
	})
	return s, err
}

func (r *Store) loadOwn(ctx context.Context, s *resume.State) error {
	b := r.client.B
	members, err := r.client.Do(ctx, b().Smembers().Key(r.key("shards")).Build()).AsStrSlice()
	if err != nil && !wrongType(err) {
		return err
	} else if err != nil {
		unreadable(s, r.key("shards"), err)
	}
	cmds := rueidis.Commands{b().Hgetall().Key(r.key("starts")).Build(), b().Hgetall().Key(r.key("plan")).Build()}
	names := []string{r.key("starts"), r.key("plan")}
	var shards []int
	for _, member := range members {
		shard, err := strconv.Atoi(member)
		if err != nil || shard < 0 || shard >= resume.MaxShards || strconv.Itoa(shard) != member { // 01 and +1 would ask for shard 1 again
			unreadable(s, r.key("shards"), fmt.Errorf("%.20q is not a shard", member))
			continue
		}
		shards = append(shards, shard)
		cmds = append(cmds, b().Hgetall().Key(r.shardKey(shard)).Build())
	}
	r.saved = make(map[int]position)
	for i, answer := range r.client.DoMulti(ctx, cmds...) {
		var key string
		if i < len(names) {
			key = names[i]
		} else {
			key = r.shardKey(shards[i-len(names)])
		}
		fields, err := answer.AsStrMap()
		if err != nil && !wrongType(err) {
			return err
		}
		switch {
		case err != nil:
		case i == 0:
			err = loadStarts(s, fields)
		case i == 1:
			err = loadPlan(s, fields)
		default:
			err = r.loadShard(s, shards[i-len(names)], fields)
		}
		if err != nil {
			unreadable(s, key, err)
		}
		if err != nil && i >= len(names) {
			r.saved[shards[i-len(names)]] = position{fields["session"], math.MaxInt64} // whatever comes replaces it
		}
	}
	r.loaded = s.Starts
	for shard, c := range s.Checkpoints {
		r.saved[shard] = position{c.ID, c.Seq}
	}
	return nil
}

// wrongType reports whether a key has a value that is not ours. All other errors are the
// server's, or those of the way to it.
func wrongType(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "WRONGTYPE")
}

// denied reports whether the user has no right to a key.
func denied(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "NOPERM")
}

// unreadable notes what is left out.
func unreadable(s *resume.State, key string, err error) {
	s.Unreadable = append(s.Unreadable, fmt.Errorf("%s: %w", key, err))
}

func loadStarts(s *resume.State, fields map[string]string) error {
	h := hash{fields: fields}
	count, until := h.number("count"), h.time("until")
	if h.bad != nil {
		return h.bad
	}
	starts := resume.Starts{Count: int(count), Until: until}
	if err := starts.Check(); err != nil {
		return err
	}
	s.Starts = starts
	return nil
}

func (r *Store) loadShard(s *resume.State, shard int, fields map[string]string) error {
	h := hash{fields: fields}
	c := resume.Checkpoint{
		Session: resume.Session{
			ID: fields["session"], Seq: h.number("seq"), ResumeURL: fields["url"], Shards: int(h.number("shards")),
			Skip: fields["skip"],
			Gaps: [2]sinks.Gap{h.gap("gap_"), h.gap("gap2_")},
		},
		Intents: wire.Intents(h.number("intents")), Bot: h.unsigned("bot"), At: h.time("at"),
	}
	if h.bad != nil {
		return h.bad
	}
	c, err := resume.Check(shard, c)
	if err != nil {
		return err
	}
	if other, both := s.Checkpoints[shard]; c.Empty() || r.Compat && both && other.ID != c.ID {
		return nil
	}
	s.Checkpoints[shard] = c
	return nil
}

// loadOther reads the other gateway's keys. It has stored neither the shard count, which is
// that of the shards that are there, nor the address to resume at, nor for whom the session
// is. A seq may be higher than the session has ever come: Discord refuses it then.
func (r *Store) loadOther(ctx context.Context, s *resume.State) error {
	whole := true // the shards from 0 on, without one missing
	for first := 0; first < resume.MaxShards; first += probe {
		var keys rueidis.Commands
		for shard := first; shard < first+probe; shard++ {
			id := r.Prefix + strconv.Itoa(shard)
			keys = append(keys, r.client.B().Get().Key(id+"session").Build(), r.client.B().Get().Key(id+"seq").Build())
		}
		answers := r.client.DoMulti(ctx, keys...)
		found := false
		for i := 0; i < len(answers); i += 2 {
			id, err := text(answers[i])
			if r.denied = denied(err); r.denied && !r.Compat {
				unreadable(s, r.Prefix+"0session", fmt.Errorf("what another gateway has left is not read: %w", err))
				return nil
			}
			if err != nil && !wrongType(err) {
				return fmt.Errorf("%s%dsession: %w", r.Prefix, first+i/2, err)
			}
			seq, err := text(answers[i+1])
			if err != nil && !wrongType(err) {
				return fmt.Errorf("%s%dseq: %w", r.Prefix, first+i/2, err)
			}
			n, err := strconv.ParseInt(seq, 10, 64)
			if id == "" || err != nil || n < 0 {
				continue // it never had both, or is not that gateway's
			}
			c, err := resume.Check(first+i/2, resume.Checkpoint{Session: resume.Session{ID: id, Seq: n}})
			if err != nil {
				unreadable(s, r.Prefix+strconv.Itoa(first+i/2)+"session", err)
				continue
			}
			found = true
			s.Checkpoints[first+i/2] = c
		}
		if !found {
			break
		}
	}
	for shard := range s.Checkpoints {
		whole = whole && shard < len(s.Checkpoints)
	}
	r.other = make(map[int]string)
	for shard, c := range s.Checkpoints {
		r.other[shard] = c.ID
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
	switch {
	case rueidis.IsRedisNil(err):
		return "", nil
	case err != nil:
		return "", err
	}
	return s, nil
}

// Save stores the changes, those of each shard in one step. What the other gateway would take
// for a session of today goes, or is replaced, first: a process that is killed between the
// steps leaves nothing that is older than it seems.
func (r *Store) Save(ctx context.Context, changes resume.State) error {
	changes = changes.Checked()
	return r.do(ctx, func(ctx context.Context) error {
		seconds := strconv.Itoa(int(expiry.Seconds()))
		var saves, others []rueidis.LuaExec
		var saved []int // the shards of saves
		r.name()
		var stale, removals rueidis.Commands // of the other gateway's keys, and of ours
		b := r.client.B
		for shard, c := range changes.Checkpoints {
			id := strconv.Itoa(shard)
			key, old := r.shardKey(shard), r.Prefix+id
			// A session that begins anew under its old id has a lower seq than this very
			// process has written.
			anew := "0"
			if was := r.saved[shard]; was.session == c.ID && was.seq > c.Seq {
				anew = "1"
			}
			mode := anew
			if was, has := r.written[shard]; has && was == (position{c.ID, c.Seq}) && c.ID != "" {
				mode = "2"
			}
			if c.Empty() {
				removals = append(removals, b().Del().Key(key).Build(), b().Srem().Key(r.key("shards")).Member(id).Build())
			} else {
				before := ""
				if _, has := r.written[shard]; has {
					before = r.process
				}
				args := r.appendFields([]string{id, seconds, mode, before}, c)
				saved = append(saved, shard)
				saves = append(saves, rueidis.LuaExec{Keys: []string{key, r.key("shards")}, Args: args})
			}
			switch {
			case c.ID == "", !r.Compat && c.ID != r.other[shard]:
				// Also without Compat: what has ended must not come back from there. It does
				// not depend on whether the shard has been without a session in between.
				stale = append(stale, b().Del().Key(old+"session").Build(), b().Del().Key(old+"seq").Build())
			case r.Compat:
				others = append(others, rueidis.LuaExec{Keys: []string{old + "session", old + "seq"}, Args: []string{c.ID, decimal(c.Seq), mode}})
			}
		}
		var answers []rueidis.RedisResult
		if len(stale) > 0 && !r.denied {
			answers = r.client.DoMulti(ctx, stale...)
			if r.denied = !r.Compat && denied(answers[0].Error()); r.denied {
				answers = nil
			}
		}
		answers = append(answers, compatScript.ExecMulti(ctx, r.client, others...)...)
		stored := saveScript.ExecMulti(ctx, r.client, saves...)
		answers = append(answers, stored...)
		if len(removals) > 0 {
			answers = append(answers, r.client.DoMulti(ctx, removals...)...)
		}
		if p := changes.Plan; p != (resume.Plan{}) {
			answers = append(answers, r.client.Do(ctx, b().Hset().Key(r.key("plan")).FieldValue().FieldValue("shards", strconv.Itoa(p.Shards)).
				FieldValue("instead", strconv.Itoa(p.Instead)).FieldValue("bot", strconv.FormatUint(p.Bot, 10)).Build()))
		}
		if s := changes.Starts; s != (resume.Starts{}) {
			answers = append(answers, startsScript.Exec(ctx, r.client, []string{r.key("starts")}, r.startsArgs(seconds, s, time.Now())))
		}
		for _, a := range answers {
			if err := a.Error(); err != nil {
				return err // the others say the same, and there may be thousands
			}
		}
		var shared []int
		for i, a := range stored {
			if n, _ := a.AsInt64(); n == 2 {
				shared = append(shared, saved[i])
			}
		}
		if len(shared) > 0 && r.Shared != nil {
			slices.Sort(shared)
			r.Shared(shared)
		}
		if r.saved == nil {
			r.saved = make(map[int]position)
		}
		if r.other == nil {
			r.other = make(map[int]string)
		}
		if r.written == nil {
			r.written = make(map[int]position)
		}
		for shard, c := range changes.Checkpoints {
			r.saved[shard], r.other[shard] = position{c.ID, c.Seq}, c.ID
			if r.written[shard] = r.saved[shard]; c.Empty() {
				delete(r.written, shard)
			}
		}
		return r.check(ctx, time.Now())
	})
}

// appendFields appends the fields of a checkpoint, session and seq first.
func (r *Store) appendFields(args []string, c resume.Checkpoint) []string {
	args = append(args,
		"session", c.ID, "seq", decimal(c.Seq), "url", c.ResumeURL, "shards", strconv.Itoa(c.Shards),
		"intents", strconv.FormatUint(uint64(c.Intents), 10), "bot", strconv.FormatUint(c.Bot, 10), "at", strconv.FormatUint(resume.Millis(c.At), 10), "process", r.process)
	for i, prefix := range [...]string{"gap_", "gap2_"} {
		g := c.Gaps[i]
		args = append(args, prefix+"session", g.Session, prefix+"seq", decimal(g.Seq), prefix+"at", decimal(g.At), prefix+"reason", g.Reason)
	}
	if c.Skip != "" {
		args = append(args, "skip", c.Skip)
	}
	return args
}

// startsArgs returns the arguments of startsScript. The process's own count is what has come
// to the one that was loaded; of the next day, all.
func (r *Store) startsArgs(seconds string, s resume.Starts, now time.Time) []string {
	own := s.Count
	if s.Until.UnixMilli() == r.loaded.Until.UnixMilli() {
		own -= r.loaded.Count
	}
	until := strconv.FormatUint(resume.Millis(s.Until), 10)
	return []string{seconds, decimal(now.UnixMilli()), decimal(now.Add(resume.MaxStartsWindow).UnixMilli()), r.process + " " + until, strconv.Itoa(own), until}
}

// name gives this process its name.
func (r *Store) name() {
	if r.process == "" {
		r.process = rand.Text()
	}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// Close ends the connection, if there is one.
func (r *Store) Close() error {
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

func (h *hash) gap(prefix string) sinks.Gap {
	return sinks.Gap{
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
