// This file is the guilds: which there are, what they look like, and the
// stream of them after READY.

package sim

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"sluice/wire"
)

// Ids are made, not kept: guild g of all guilds has the snowflake
// (guildBase+g)<<22 and a few low bits, and everything in it is derived from g.
const (
	guildBase = 210_000_000_000
	userBase  = 150_000_000_000
	botID     = 189_600_000_000<<22 | 1<<12
)

// The bot is the same user wherever it is seen: in READY, in guilds, in messages
// and at the REST API.
const (
	botName          = "Simulated"
	botDiscriminator = "8597"
)

func guildID(g int) uint64      { return (guildBase+uint64(g))<<22 | 7 }
func channelID(g, i int) uint64 { return (guildBase+uint64(g))<<22 | uint64(1000+i) }
func roleID(g, i int) uint64    { return (guildBase+uint64(g))<<22 | uint64(2000+i) }
func emojiID(g, i int) uint64   { return (guildBase+uint64(g))<<22 | uint64(100_000+i) }

// userID is member i of guild g. Member 0 is the bot.
func userID(g, i int) uint64 {
	if i == 0 {
		return botID
	}
	return (userBase+uint64(g)*131_071+uint64(i))<<22 | 1<<17
}

const (
	guildChannels = 6 // the last one is hidden from the bot
	guildRoles    = 4
)

// guildsOf returns the guilds of a shard of a count.
func (srv *Server) guildsOf(shard, count int) []int {
	var out []int
	total := srv.opt.Guilds * srv.opt.Shards
	first := (shard - guildBase%count + count) % count
	for g := first; g < total; g += count {
		out = append(out, g)
	}
	return out
}

// guildOfID returns the guild with a snowflake.
func (srv *Server) guildOfID(id uint64) (int, bool) {
	g := int(id>>22) - guildBase
	return g, g >= 0 && g < srv.opt.Guilds*srv.opt.Shards && guildID(g) == id
}

func (srv *Server) large(g int) bool {
	every := srv.opt.LargeEvery
	return every > 0 && g%every == 0
}

// members returns the number of members of a guild, the bot included.
func (srv *Server) members(g int) int {
	if srv.large(g) {
		return max(srv.opt.GuildMembers, 2500)
	}
	return max(srv.opt.GuildMembers, 1)
}

var joined = time.Date(2021, 3, 4, 5, 6, 7, 891_000_000, time.UTC)

var names = []string{"mira", "Ødegaard", "tom", "小林", "Zoë", "ivan\\_", "quote\"d", "😀 party", "لينا", "x"}

// userName is the name of member i of guild g.
func userName(g, i int) string {
	if i == 0 {
		return botName
	}
	return fmt.Sprintf("user%d.%d", g, i)
}

// appendUser writes member i of guild g as a user.
func appendUser(w *jsonWriter, key string, g, i int) { appendUserWith(w, key, g, i, false) }

// appendUserWith writes a user, with what makes it a member of the guild if asked
// for, as in the mentions of a message.
func appendUserWith(w *jsonWriter, key string, g, i int, member bool) {
	w.open(key, '{')
	w.str("username", userName(g, i))
	w.int("public_flags", 0)
	w.raw("primary_guild", "null")
	if member {
		appendMember(w, "member", g, i, false)
	}
	w.id("id", userID(g, i))
	if i == 0 {
		w.raw("global_name", "null")
		w.str("discriminator", botDiscriminator)
	} else {
		w.str("global_name", names[(g*7+i)%len(names)])
		w.str("discriminator", "0")
	}
	w.raw("clan", "null")
	w.bool("bot", i == 0)
	w.raw("avatar_decoration_data", "null")
	if i == 0 {
		w.raw("avatar", "null")
	} else {
		// A hash of the image, which has nothing in common with others.
		high, low := bits.Mul64(userID(g, i)*0x9e3779b97f4a7c15, 0xa0761d6478bd642f^userID(g, i))
		w.str("avatar", fmt.Sprintf("a_%016x%016x", high, low))
	}
	w.end('}')
}

// appendMember writes member i of guild g, with the user or without.
func appendMember(w *jsonWriter, key string, g, i int, user bool) {
	w.open(key, '{')
	if user {
		appendUser(w, "user", g, i)
	}
	appendMemberFields(w, g, i, memberOfGuild)
	w.end('}')
}

// memberForm is where a member stands, which decides what fields it has.
type memberForm int

const (
	memberOfGuild       memberForm = iota
	memberInEvent                  // with guild_id
	memberInInteraction            // with permissions
)

// allowed is every permission that a member has.
const allowed = "2248473465835073"

// appendMemberFields writes a member's own fields.
func appendMemberFields(w *jsonWriter, g, i int, form memberForm) {
	w.open("roles", '[')
	w.id("", roleID(g, 1+i%(guildRoles-1)))
	w.end(']')
	w.raw("premium_since", "null")
	if form == memberInInteraction {
		w.str("permissions", allowed)
	}
	w.raw("pending", "false")
	if i%5 == 0 {
		w.str("nick", "nick "+names[(g+i)%len(names)])
	} else {
		w.raw("nick", "null")
	}
	w.raw("mute", "false")
	w.time("joined_at", joined.Add(time.Duration(g%977+i)*time.Minute))
	if form == memberInEvent {
		w.id("guild_id", guildID(g))
	}
	w.int("flags", 0)
	w.raw("deaf", "false")
	w.raw("communication_disabled_until", "null")
	w.raw("banner", "null")
	w.raw("avatar", "null")
}

func appendRole(w *jsonWriter, key string, g, i int) {
	w.open(key, '{')
	w.int("version", 1693000000000+int64(g))
	w.raw("unicode_emoji", "null")
	w.raw("tags", "{}")
	w.int("position", int64(i))
	w.str("permissions", allowed)
	w.str("name", [...]string{"@everyone", "Mods", "Rôle \"A\"", "四"}[i%guildRoles])
	w.raw("mentionable", "false")
	w.raw("managed", "false")
	if i == 0 {
		w.id("id", guildID(g))
	} else {
		w.id("id", roleID(g, i))
	}
	w.raw("icon", "null")
	w.raw("hoist", "false")
	w.int("flags", 0)
	w.raw("colors", `{"tertiary_color":null,"secondary_color":null,"primary_color":0}`)
	w.int("color", 0)
	w.end('}')
}

func appendChannel(w *jsonWriter, key string, g, i int, withGuild bool) {
	w.open(key, '{')
	w.int("version", 1693000000000+int64(g))
	if i == guildChannels-2 {
		w.int("user_limit", 0)
		w.int("type", 2)
		w.raw("rtc_region", "null")
		w.int("rate_limit_per_user", 0)
		w.int("position", int64(i))
		w.raw("permission_overwrites", "[]")
		w.raw("parent_id", "null")
		w.str("name", "Voice")
		w.raw("last_message_id", "null")
		w.id("id", channelID(g, i))
		if withGuild {
			w.id("guild_id", guildID(g))
		}
		w.int("flags", 0)
		w.int("bitrate", 64000)
		w.end('}')
		return
	}
	w.int("type", 0)
	w.str("topic", "About \"everything\" — "+names[(g+i)%len(names)])
	w.int("rate_limit_per_user", 0)
	w.int("position", int64(i))
	w.raw("permission_overwrites", `[{"type":0,"id":"`+fmt.Sprint(guildID(g))+`","deny":"1024","allow":"0"}]`)
	w.raw("parent_id", "null")
	w.str("name", fmt.Sprintf("channel-%d", i))
	w.raw("last_message_id", "null")
	w.id("id", channelID(g, i))
	if withGuild {
		w.id("guild_id", guildID(g))
	}
	w.int("flags", 0)
	w.end('}')
}

func appendEmoji(w *jsonWriter, g, i int) {
	w.open("", '{')
	w.int("version", 0)
	w.raw("roles", "[]")
	w.raw("require_colons", "true")
	w.str("name", fmt.Sprintf("emoji_%d", i))
	w.raw("managed", "false")
	w.id("id", emojiID(g, i))
	w.raw("available", "true")
	w.bool("animated", i%3 == 0)
	w.end('}')
}

// appendGuild writes d of GUILD_CREATE: more than 32 keys, so that Discord's
// order is not the alphabetical one, and at least size bytes.
func (srv *Server) appendGuild(b []byte, g int, intents wire.Intents, size int) []byte {
	begin := len(b)
	w := jsonWriter{b}
	n := srv.members(g)
	everyone := intents&wire.IntentGuildPresences != 0 && n <= 75_000
	w.open("", '{')
	w.raw("threads", "[]")
	w.int("member_count", int64(n))
	w.str("name", fmt.Sprintf("Guild %d — %s", g, names[g%len(names)]))
	w.raw("region", `"deprecated"`)
	w.id("id", guildID(g))
	w.int("afk_timeout", 300)
	w.raw("incidents_data", "null")
	w.open("roles", '[')
	for i := range guildRoles {
		appendRole(&w, "", g, i)
	}
	w.end(']')
	w.raw("unavailable", "false")
	w.raw("guild_scheduled_events", "[]")
	w.raw("stickers", "[]")
	w.int("verification_level", 1)
	w.raw("stage_instances", "[]")
	w.id("owner_id", userID(g, 1))
	w.raw("splash", "null")
	w.bool("large", n > 50)
	w.raw("features", `["COMMUNITY","NEWS"]`)
	w.open("voice_states", '[')
	w.end(']')
	w.time("joined_at", joined)
	w.int("max_video_channel_users", 25)
	w.raw("lazy", "true")
	w.raw("soundboard_sounds", "[]")
	w.raw("discovery_splash", "null")
	w.open("presences", '[')
	if everyone {
		for i := 1; i < n; i++ {
			w.open("", '{')
			w.open("user", '{')
			w.id("id", userID(g, i))
			w.end('}')
			w.str("status", "online")
			w.raw("client_status", `{"desktop":"online"}`)
			w.raw("activities", "[]")
			w.end('}')
		}
	}
	w.end(']')
	w.raw("vanity_url_code", "null")
	w.int("nsfw_level", 0)
	w.int("premium_tier", 0)
	w.raw("icon", "null")
	w.open("channels", '[')
	for i := range guildChannels {
		appendChannel(&w, "", g, i, false)
	}
	w.end(']')
	w.raw("application_id", "null")
	w.int("mfa_level", 0)
	w.raw("hub_type", "null")
	w.raw("rules_channel_id", "null")
	w.str("preferred_locale", "en-US")
	w.raw("version", "1693000000000")
	if srv.opt.LoneSurrogates {
		w.raw("description", `"A \"quoted\" description, \u00fcber alles \ud83d cut"`)
	} else {
		w.raw("description", `"A \"quoted\" description, \u00fcber alles"`)
	}
	w.raw("embedded_activities", "[]")
	w.int("explicit_content_filter", 0)
	w.raw("banner", "null")
	w.int("default_message_notifications", 1)
	w.raw("system_channel_id", "null")
	w.raw("nsfw", "false")
	w.open("members", '[')
	last := 1
	if everyone {
		last = n
	}
	for i := range last {
		appendMember(&w, "", g, i, true)
	}
	w.end(']')
	w.raw("public_updates_channel_id", "null")
	w.raw("inventory_settings", "null")
	w.raw("application_command_counts", `{"1":3}`)
	w.raw("safety_alerts_channel_id", "null")
	w.int("max_members", 500000)
	w.raw("afk_channel_id", "null")
	w.int("system_channel_flags", 0)
	w.raw("premium_progress_bar_enabled", "false")
	w.int("premium_subscription_count", 0)
	w.open("emojis", '[')
	for i := 0; i < 3 || len(w.b)-begin < size-2; i++ {
		appendEmoji(&w, g, i)
	}
	w.end(']')
	w.end('}')
	return w.b
}

// startLocked begins what follows READY: the guild stream and live traffic.
func (s *session) startLocked() {
	if s.play != nil {
		s.startTrafficLocked()
		return
	}
	order := s.rng.Perm(len(s.guilds))
	if len(order) > 1 && isSorted(order) {
		order[0], order[1] = order[1], order[0] // never the order of READY
	}
	if s.intents&wire.IntentGuilds != 0 {
		s.streamLocked(order)
	} else {
		s.loaded = s.guilds
	}
	s.startTrafficLocked()
}

func isSorted(order []int) bool {
	for i, v := range order {
		if i != v {
			return false
		}
	}
	return true
}

// streamLocked sends the first of the guilds in order, and the others later.
func (s *session) streamLocked(order []int) {
	silent := s.srv.isSilent()
	for len(order) > 0 {
		g := s.guilds[order[0]]
		order = order[1:]
		if every := s.srv.opt.UnavailableEvery; every > 0 && s.rng.IntN(every) == 0 && !silent {
			if s.away == nil {
				s.away = make(map[int]bool)
			}
			s.away[g] = true
			s.dispatchLocked("GUILD_DELETE", fmt.Appendf(nil, `{"unavailable":true,"id":"%d"}`, guildID(g)))
			time.AfterFunc(5*time.Second, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				if !s.ended && s.away[g] {
					delete(s.away, g)
					s.guildLocked(g)
				}
			})
		} else {
			s.guildLocked(g)
		}
		if interval := s.srv.opt.GuildInterval; interval > 0 && len(order) > 0 && !silent {
			s.rest = order
			s.stream = time.AfterFunc(interval, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				if rest := s.rest; !s.ended && rest != nil {
					s.rest = nil
					s.streamLocked(rest)
				}
			})
			return
		}
	}
}

// settleLocked sends the guilds at once that would come by themselves.
func (s *session) settleLocked() {
	rest := s.rest
	s.rest = nil
	s.streamLocked(rest)
	for _, g := range slices.Sorted(maps.Keys(s.away)) {
		delete(s.away, g)
		s.guildLocked(g)
	}
}

func (s *session) guildLocked(g int) {
	size := 0
	if s.srv.large(g) {
		size = s.srv.opt.LargeBytes
	}
	s.dispatchLocked("GUILD_CREATE", s.srv.appendGuild(nil, g, s.intents, size))
	s.loaded = append(s.loaded, g)
}
