// This file is Identify: its checks, its buckets and budget, and READY.

package sim

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/wire"
)

// knownIntents are all bits that mean something to Discord, those not offered
// to bots included: whether those are refused is not documented.
const knownIntents = wire.AllIntents | 1<<17 | 1<<18 | 1<<19 | 1<<22 | 1<<23 | 1<<26 | 1<<27 | 1<<28

// identifyData is d of an Identify, as far as it is looked at.
type identifyData struct {
	Token      *string           `json:"token"`
	Intents    *json.Number      `json:"intents"`
	Properties map[string]any    `json:"properties"`
	Compress   json.RawMessage   `json:"compress"`
	Shard      []json.RawMessage `json:"shard"`
	Presence   json.RawMessage   `json:"presence"`
}

// identify handles an op 2.
func (c *conn) identify(d json.RawMessage) {
	srv := c.srv
	note := Identify{Time: time.Now(), Conn: c.id, Count: 1}
	record := func(outcome string) {
		note.Outcome = outcome
		srv.ledger.with(func() { srv.ledger.identifies.add(note) })
		srv.opt.Log.Info("Identify", "conn", c.id, "shard", note.Shard, "shards", note.Count, "intents", uint64(note.Intents), "outcome", outcome)
	}
	refuse := func(code wire.CloseCode, reason string) {
		record(strconv.Itoa(int(code)))
		c.fail(code, reason)
	}

	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	if st != stateNew {
		record(strconv.Itoa(int(wire.CloseAlreadyAuthenticated)))
		c.close(wire.CloseAlreadyAuthenticated, "Already authenticated.")
		return
	}
	var id identifyData
	if err := json.Unmarshal(d, &id); err != nil || id.Token == nil || id.Properties == nil {
		refuse(wire.CloseDecodeError, "Error while decoding payload.")
		return
	}
	note.Presence = string(id.Presence)
	shard, count, ok := parseShard(id.Shard)
	note.Shard, note.Count = shard, count
	if !srv.tokenIs(strings.TrimPrefix(*id.Token, "Bot ")) {
		refuse(wire.CloseAuthenticationFailed, "Authentication failed.")
		return
	}
	if !ok || count%max(1, srv.opt.ShardMultiple) != 0 {
		refuse(wire.CloseInvalidShard, "Invalid shard.")
		return
	}
	intents, ok := parseIntents(id.Intents)
	note.Intents = intents
	if !ok {
		refuse(wire.CloseInvalidIntents, "Invalid intent(s).")
		return
	}
	if intents&srv.opt.DeniedIntents != 0 {
		refuse(wire.CloseDisallowedIntents, "Disallowed intent(s).")
		return
	}
	payload := string(id.Compress) == "true" // anything else is false: libraries send "zlib-stream"
	guilds := srv.guildsOf(shard, count)
	if len(guilds) > srv.opt.MaxGuildsPerShard {
		refuse(wire.CloseShardingRequired, "Sharding required.")
		return
	}

	switch note.Bucket = shard % srv.opt.MaxConcurrency; srv.takeIdentify(note.Bucket) {
	case identifyBudget:
		record(strconv.Itoa(int(wire.CloseAuthenticationFailed)))
		srv.resetToken()
		return
	case identifyBucket:
		record("bucket")
		c.later(srv.delay(srv.opt.InvalidSessionDelay, 0, 3*time.Second), func() { c.send(invalidMessage) })
		return
	}

	c.mu.Lock()
	c.state, c.shard = stateWaiting, shard
	c.payload = payload
	c.mu.Unlock()
	srv.numberConn(c, shard)
	delay := srv.delay(srv.opt.ReadyDelay, 100*time.Millisecond, 500*time.Millisecond)
	wish := c.moment(OnIdentify)
	olds := srv.holders(shard, count)
	if len(olds) > 0 {
		again := c.moment(OnIdentifyAgain)
		wish.invalid, wish.old = cmp.Or(again.invalid, wish.invalid), again.old
		wish.delay += again.delay
	}
	if wish.invalid != nil {
		record("fault")
		c.mu.Lock()
		c.state = stateNew
		c.mu.Unlock()
		c.send(opNine(*wish.invalid))
		return
	}
	note.Session = newSessionID()
	record("ready")
	c.later(delay+wish.delay, func() {
		s := srv.newSession(note.Session, c, shard, count, intents, guilds)
		s.payload = payload
		if !c.ready(s, len(id.Shard) > 0) || wish.old == nil {
			return
		}
		for old, s := range olds {
			if wish.old.Kind == OldInvalid {
				old.invalidate(s, false)
			}
			old.yield(wish.old)
		}
	})
}

// parseShard reads [id, count]; absent means unsharded.
func parseShard(raw []json.RawMessage) (shard, count int, ok bool) {
	if len(raw) == 0 {
		return 0, 1, true
	}
	if len(raw) != 2 || json.Unmarshal(raw[0], &shard) != nil || json.Unmarshal(raw[1], &count) != nil {
		return 0, 1, false
	}
	return shard, count, shard >= 0 && shard < count
}

func parseIntents(n *json.Number) (wire.Intents, bool) {
	if n == nil {
		return 0, false
	}
	v, err := strconv.ParseUint(n.String(), 10, 64)
	return wire.Intents(v), err == nil && wire.Intents(v)&^knownIntents == 0
}

// opNine returns op 9.
func opNine(resumable bool) string {
	if resumable {
		return invalidResumable
	}
	return invalidMessage
}

// ready attaches a new session to c and sends READY. It reports false when the
// connection is over or about to be.
func (c *conn) ready(s *session, sharded bool) bool {
	s.mu.Lock()
	c.mu.Lock()
	if c.closing || c.over {
		c.mu.Unlock()
		s.mu.Unlock()
		return false
	}
	// Before the reader can see s: a heartbeat writes into its log.
	s.log = c.srv.ledger.newSession(SessionInfo{ID: s.id, Shard: s.shard, Count: s.count, Intents: s.intents, Created: time.Now()})
	c.sess, c.about, c.state = s, s, stateReady
	c.planFaultsLocked()
	c.mu.Unlock()
	c.srv.keepSession(s)
	s.attachLocked(c, nil)
	s.dispatchLocked("READY", s.appendReady(nil, c.version, sharded))
	s.startLocked()
	s.mu.Unlock()
	c.moment(AfterReady)
	return true
}

// appendReady appends d of READY.
func (s *session) appendReady(b []byte, version int, sharded bool) []byte {
	w := jsonWriter{b}
	w.open("", '{')
	w.int("v", int64(version))
	w.raw("user_settings", "{}")
	w.open("user", '{')
	w.raw("verified", "true")
	w.str("username", botName)
	w.raw("primary_guild", "null")
	w.raw("mfa_enabled", "true")
	w.id("id", botID)
	w.raw("global_name", "null")
	w.int("flags", 0)
	w.raw("email", "null")
	w.str("discriminator", botDiscriminator)
	w.raw("clan", "null")
	w.raw("bot", "true")
	w.raw("avatar", "null")
	w.end('}')
	if sharded {
		w.open("shard", '[')
		w.int("", int64(s.shard))
		w.int("", int64(s.count))
		w.end(']')
	}
	w.str("session_type", "normal")
	w.str("session_id", s.id)
	w.str("resume_gateway_url", s.srv.ResumeURL())
	w.raw("relationships", "[]")
	w.raw("private_channels", "[]")
	w.raw("presences", "[]")
	w.open("guilds", '[')
	if s.play == nil {
		for _, g := range s.guilds {
			w.open("", '{')
			w.raw("unavailable", "true")
			w.id("id", guildID(g))
			w.end('}')
		}
	}
	w.end(']')
	w.raw("guild_join_requests", "[]")
	w.raw("geo_ordered_rtc_regions", `["milan","rotterdam","madrid","bucharest","stockholm"]`)
	w.raw("game_relationships", "[]")
	w.raw("auth", "{}")
	w.open("application", '{')
	w.id("id", botID)
	w.int("flags", 41975808)
	w.end('}')
	w.raw("_trace", readyTrace)
	w.end('}')
	return w.b
}

const readyTrace = `["[\"gateway-prd-us-east1-c-7s4x\",{\"micros\":96871,\"calls\":[\"id_created\",{\"micros\":921,\"calls\":[]},` +
	`\"session_lookup_time\",{\"micros\":1203,\"calls\":[]},\"session_lookup_finished\",{\"micros\":14,\"calls\":[]},` +
	`\"discord-sessions-prd-2-101\",{\"micros\":93884,\"calls\":[\"start_session\",{\"micros\":58113,\"calls\":[]},` +
	`\"guilds_connect\",{\"micros\":3,\"calls\":[]},\"presence_connect\",{\"micros\":8722,\"calls\":[]}]}]}]"]`

// What became of an Identify's claim on its bucket and the budget.
type identifyClaim int

const (
	identifyOK identifyClaim = iota
	identifyBucket
	identifyBudget
)

// takeIdentify spends one Identify of the budget and takes its bucket.
func (srv *Server) takeIdentify(bucket int) identifyClaim {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	now := time.Now()
	srv.renewBudgetLocked(now)
	if srv.remaining <= 0 {
		return identifyBudget
	}
	srv.remaining--
	if last, ok := srv.buckets[bucket]; ok && now.Sub(last) < srv.opt.IdentifyWindow {
		return identifyBucket
	}
	srv.buckets[bucket] = now
	return identifyOK
}

// renewBudgetLocked starts a new window when the last one is over.
func (srv *Server) renewBudgetLocked(now time.Time) {
	if now.Sub(srv.windowStart) >= srv.opt.IdentifyReset {
		srv.windowStart, srv.remaining = now, srv.opt.IdentifyTotal
	}
}

// resetToken is what Discord does to a bot that overspends its Identifies: all
// sessions end and nobody has the new token.
func (srv *Server) resetToken() {
	srv.mu.Lock()
	srv.token = ""
	sessions := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		sessions = append(sessions, s)
	}
	conns := slices.Collect(maps.Keys(srv.conns))
	srv.mu.Unlock()
	for _, s := range sessions {
		s.end(EndToken)
	}
	for _, c := range conns {
		c.close(wire.CloseAuthenticationFailed, "Authentication failed.")
	}
}
