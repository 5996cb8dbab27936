// This file answers what a bot may send once it is READY.

package sim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/wire"
)

// command handles ops 3, 4, 8, 31 and 43 of a client with a session.
func (c *conn) command(s *session, op wire.Opcode, d json.RawMessage) {
	var ok bool
	switch op {
	case wire.OpPresenceUpdate:
		ok = c.presence(d)
	case wire.OpVoiceStateUpdate:
		ok = s.voiceState(d)
	case wire.OpRequestGuildMembers:
		ok = s.requestMembers(d)
	case wire.OpRequestSoundboardSounds:
		ok = s.soundboard(d)
	case wire.OpRequestChannelInfo:
		ok = s.channelInfo(d)
	}
	if !ok {
		c.badCommand()
	}
}

// presence checks an op 3: all of since, activities and status have to be
// there. The sixth in 20 s is dropped without a word, and so are the others: a
// bot gets nothing about its own presence.
func (c *conn) presence(d json.RawMessage) bool {
	var p map[string]json.RawMessage
	if json.Unmarshal(d, &p) != nil {
		return false
	}
	var status string
	var activities []json.RawMessage
	if json.Unmarshal(p["status"], &status) != nil || p["since"] == nil || json.Unmarshal(p["activities"], &activities) != nil {
		return false
	}
	now := time.Now()
	c.presences = recent(c.presences, now, 20*time.Second)
	if len(c.presences) < 5 {
		c.presences = append(c.presences, now)
	} else {
		l := c.srv.ledger
		l.with(func() { l.droppedPresences++ })
	}
	return true
}

// snowflake reads an id, a string or (tolerated) a number.
func snowflake(raw json.RawMessage) (uint64, bool) {
	id, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 64)
	return id, err == nil
}

func (s *session) voiceState(d json.RawMessage) bool {
	var v struct {
		Guild   json.RawMessage `json:"guild_id"`
		Channel json.RawMessage `json:"channel_id"`
		Mute    bool            `json:"self_mute"`
		Deaf    bool            `json:"self_deaf"`
	}
	if json.Unmarshal(d, &v) != nil {
		return false
	}
	id, ok := snowflake(v.Guild)
	if !ok {
		return false
	}
	g, known := s.srv.guildOfID(id)
	if !known {
		return true // nothing happens
	}
	channel, in := snowflake(v.Channel)
	w := jsonWriter{}
	w.open("", '{')
	w.id("user_id", botID)
	w.raw("suppress", "false")
	w.str("session_id", s.id)
	w.raw("self_video", "false")
	w.bool("self_mute", v.Mute)
	w.bool("self_deaf", v.Deaf)
	w.raw("request_to_speak_timestamp", "null")
	w.raw("mute", "false")
	appendMember(&w, "member", g, 0, true)
	w.id("guild_id", id)
	w.raw("deaf", "false")
	if in {
		w.id("channel_id", channel)
	} else {
		w.raw("channel_id", "null")
	}
	w.end('}')
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.intents&wire.IntentGuildVoiceStates != 0 {
		s.dispatchLocked("VOICE_STATE_UPDATE", w.b)
	}
	if in {
		s.dispatchLocked("VOICE_SERVER_UPDATE", fmt.Appendf(nil,
			`{"token":"%08x","guild_id":"%d","endpoint":"milan%d.discord.media:443"}`, s.rng.Uint32(), id, g%9))
	}
	return true
}

// memberRequest is d of an op 8.
type memberRequest struct {
	Guild     json.RawMessage  `json:"guild_id"`
	Query     *string          `json:"query"`
	Limit     *int             `json:"limit"`
	Presences bool             `json:"presences"`
	UserIDs   *json.RawMessage `json:"user_ids"`
	Nonce     *string          `json:"nonce"`
}

// chunkSize is the number of members in a GUILD_MEMBERS_CHUNK.
const chunkSize = 1000

// allMembersWait lies between two requests for all members of a guild, by
// whatever session of the bot.
const allMembersWait = 30 * time.Second

// requestMembers answers an op 8.
func (s *session) requestMembers(d json.RawMessage) bool {
	var r memberRequest
	if json.Unmarshal(d, &r) != nil {
		return false
	}
	id, ok := snowflake(r.Guild)
	if !ok || r.UserIDs == nil && (r.Query == nil || r.Limit == nil || *r.Limit < 0) {
		return false
	}
	g, known := s.srv.guildOfID(id)
	if !known {
		return true
	}
	nonce := ""
	if r.Nonce != nil && len(*r.Nonce) <= 32 {
		nonce = *r.Nonce
	}
	var members []int
	var notFound []string
	switch total := s.srv.members(g); {
	case r.UserIDs != nil:
		var ok bool
		if members, notFound, ok = findMembers(*r.UserIDs, g, total); !ok {
			return false
		}
		notFound = append(make([]string, 0, 1), notFound...) // never absent
	case *r.Query == "" && *r.Limit == 0:
		if s.intents&wire.IntentGuildMembers == 0 {
			return false
		}
		if wait := s.srv.allMembers(g); wait > 0 {
			w := jsonWriter{}
			w.open("", '{')
			w.raw("retry_after", strconv.FormatFloat(wait.Seconds(), 'f', 3, 64))
			w.int("opcode", int64(wire.OpRequestGuildMembers))
			w.open("meta", '{')
			if nonce != "" {
				w.quoted("nonce", nonce)
			}
			w.id("guild_id", id)
			w.end('}')
			w.end('}')
			s.dispatch("RATE_LIMITED", w.b)
			return true
		}
		for i := range total {
			members = append(members, i)
		}
	default:
		limit := *r.Limit
		if limit == 0 || limit > 100 {
			limit = 100
		}
		for i := 0; i < total && len(members) < limit; i++ {
			if strings.HasPrefix(strings.ToLower(userName(g, i)), strings.ToLower(*r.Query)) {
				members = append(members, i)
			}
		}
	}
	presences := r.Presences && s.intents&wire.IntentGuildPresences != 0
	chunks := max(1, (len(members)+chunkSize-1)/chunkSize)
	for i := range chunks {
		part := members[i*chunkSize : min(len(members), (i+1)*chunkSize)]
		s.dispatch("GUILD_MEMBERS_CHUNK", appendChunk(nil, g, part, i, chunks, presences, notFound, nonce))
	}
	return true
}

// findMembers looks up the members of a user_ids, one or at most 100.
func findMembers(raw json.RawMessage, g, total int) (members []int, notFound []string, ok bool) {
	var ids []json.RawMessage
	if json.Unmarshal(raw, &ids) != nil {
		ids = []json.RawMessage{raw}
	}
	byID := make(map[uint64]int, total)
	for i := range total {
		byID[userID(g, i)] = i
	}
	for _, id := range ids[:min(len(ids), 100)] {
		n, fine := snowflake(id)
		if !fine {
			return nil, nil, false
		}
		if i, found := byID[n]; found {
			members = append(members, i)
		} else if n < 1<<22 {
			notFound = append(notFound, strconv.FormatUint(n, 10)) // no snowflake: echoed as a number
		} else {
			notFound = append(notFound, strconv.Quote(strconv.FormatUint(n, 10)))
		}
	}
	return members, notFound, true
}

// appendChunk appends d of a GUILD_MEMBERS_CHUNK. not_found is left out when nil.
func appendChunk(b []byte, g int, members []int, index, count int, presences bool, notFound []string, nonce string) []byte {
	w := jsonWriter{b}
	w.open("", '{')
	if presences {
		w.open("presences", '[')
		for _, i := range members {
			w.open("", '{')
			w.open("user", '{')
			w.id("id", userID(g, i))
			w.end('}')
			w.str("status", "online")
			w.id("guild_id", guildID(g))
			w.raw("client_status", `{"desktop":"online"}`)
			w.raw("activities", "[]")
			w.end('}')
		}
		w.end(']')
	}
	if notFound != nil {
		w.open("not_found", '[')
		for _, id := range notFound {
			w.raw("", id)
		}
		w.end(']')
	}
	if nonce != "" {
		w.quoted("nonce", nonce)
	}
	w.open("members", '[')
	for _, i := range members {
		appendMember(&w, "", g, i, true)
	}
	w.end(']')
	w.id("guild_id", guildID(g))
	w.int("chunk_index", int64(index))
	w.int("chunk_count", int64(count))
	w.end('}')
	return w.b
}

// allMembers takes the turn of a guild, or says how long it is until the next.
func (srv *Server) allMembers(g int) time.Duration {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	now := time.Now()
	if last, ok := srv.memberAsks[g]; ok && now.Sub(last) < allMembersWait {
		return last.Add(allMembersWait).Sub(now)
	}
	srv.memberAsks[g] = now
	return 0
}

func (s *session) soundboard(d json.RawMessage) bool {
	var r struct {
		Guilds []json.RawMessage `json:"guild_ids"`
	}
	if json.Unmarshal(d, &r) != nil || r.Guilds == nil {
		return false
	}
	for _, raw := range r.Guilds {
		id, ok := snowflake(raw)
		if !ok {
			return false
		}
		if _, known := s.srv.guildOfID(id); known {
			s.dispatch("SOUNDBOARD_SOUNDS", fmt.Appendf(nil,
				`{"soundboard_sounds":[{"volume":1.0,"sound_id":"%d","name":"quack","guild_id":"%d","emoji_name":"🦆","emoji_id":null,"available":true}],"guild_id":"%d"}`,
				id+1, id, id))
		}
	}
	return true
}

func (s *session) channelInfo(d json.RawMessage) bool {
	var r struct {
		Guild  json.RawMessage `json:"guild_id"`
		Fields []string        `json:"fields"`
	}
	if json.Unmarshal(d, &r) != nil || r.Fields == nil {
		return false
	}
	id, ok := snowflake(r.Guild)
	if !ok {
		return false
	}
	g, known := s.srv.guildOfID(id)
	if !known {
		return true
	}
	var start, status bool
	for _, f := range r.Fields {
		start = start || f == "voice_start_time"
		status = status || f == "status"
	}
	w := jsonWriter{}
	w.open("", '{')
	w.id("guild_id", id)
	w.open("channels", '[')
	if start || status {
		w.open("", '{')
		if start {
			w.int("voice_start_time", time.Now().Unix()-60)
		}
		if status {
			w.str("status", "über voice")
		}
		w.id("id", channelID(g, guildChannels-2))
		w.end('}')
	}
	w.end(']')
	w.end('}')
	s.dispatch("CHANNEL_INFO", w.b)
	return true
}
