// This file writes the bodies of live events.

package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/wire"
)

// generator makes events; it holds what one leaves for the next.
type generator struct {
	buf        []byte
	n          uint64 // events made, for ids that rise
	surrogates bool   // Options.LoneSurrogates
}

// event is an event of the mix. d is valid until the next.
type event struct {
	d      []byte
	always bool // sent whatever the intents: it is about the bot itself
	hidden bool // in a channel that the bot can't see
}

// texts are contents of messages, as JSON strings: plain, beyond ASCII, with
// escapes of every kind.
var texts = []string{
	`"hello there"`,
	`"ok"`,
	`"did you see \"that\"?\nsecond line\twith a tab and a back\\slash"`,
	`"日本語のメッセージ、長さは普通です。"`,
	`"😀😀 emoji 👨‍👩‍👧‍👦 and Ünïcödé"`,
	`"\u003cscript\u003e\u2028 \u0000 \u001f"`,
	`"</t\":\"FAKE\",\"s\":999,\"op\":7,\"d\":null}"`,
	`"العربية من اليمين إلى اليسار"`,
	`"a longer message that goes on and on, as some people's messages do, about nothing in particular, with a link to https://example.com/path?query=1&other=2 in it and <@189600000000> mentions, and **markdown** and ` + "```code```" + `"`,
}

// loneSurrogates is one more text: the halves of a pair, each alone.
const loneSurrogates = `"lone \ud83d surrogate and \udc00 the other half"`

// text returns one of the texts.
func (gen *generator) text(rng *rand.Rand) string {
	if gen.surrogates && rng.IntN(len(texts)+1) == 0 {
		return loneSurrogates
	}
	return texts[rng.IntN(len(texts))]
}

func (gen *generator) id(now time.Time) uint64 {
	gen.n++
	return uint64(now.UnixMilli()-1420070400000)<<22 | gen.n&0x3fffff
}

// next makes an event of a type in guild g, or in a direct message.
func (gen *generator) next(rng *rand.Rand, typ string, g int, dm bool, intents wire.Intents) event {
	w := jsonWriter{gen.buf[:0]}
	now := time.Now()
	i := 1 + rng.IntN(40)
	ch := rng.IntN(guildChannels - 2)
	e := event{hidden: !dm && rng.IntN(64) == 0}
	if e.hidden {
		ch = guildChannels - 1
	}
	channel := channelID(g, ch)
	if dm {
		channel = 77<<40 | uint64(i)
	}
	guild := func() {
		if !dm {
			w.id("guild_id", guildID(g))
		}
	}
	w.open("", '{')
	switch typ {
	case "MESSAGE_CREATE", "MESSAGE_UPDATE":
		gen.message(&w, rng, g, i, channel, dm, typ == "MESSAGE_UPDATE", intents, now)
	case "TYPING_START":
		w.id("user_id", userID(g, i))
		w.int("timestamp", now.Unix())
		if !dm {
			appendMember(&w, "member", g, i, true)
		}
		guild()
		w.id("channel_id", channel)
	case "VOICE_STATE_UPDATE":
		e.hidden = false
		appendVoiceState(&w, g, i, channelID(g, guildChannels-2), rng.IntN(3) > 0)
	case "GUILD_MEMBER_UPDATE":
		e.hidden = false
		if rng.IntN(40) == 0 {
			i, e.always = 0, true
		}
		appendUser(&w, "user", g, i)
		appendMemberFields(&w, g, i, memberInEvent)
	case "GUILD_MEMBER_ADD":
		e.hidden = false
		appendUser(&w, "user", g, i)
		appendMemberFields(&w, g, i, memberInEvent)
	case "GUILD_MEMBER_REMOVE", "GUILD_BAN_ADD":
		e.hidden = false
		appendUser(&w, "user", g, i)
		w.id("guild_id", guildID(g))
	case "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE":
		w.id("user_id", userID(g, i))
		w.int("type", 0)
		w.id("message_id", gen.id(now))
		if typ == "MESSAGE_REACTION_ADD" {
			w.id("message_author_id", userID(g, i+1))
			if !dm {
				appendMember(&w, "member", g, i, true)
			}
		}
		guild()
		w.raw("emoji", `{"name":"👍","id":null}`)
		w.id("channel_id", channel)
		w.raw("burst", "false")
	case "MESSAGE_DELETE":
		w.id("id", gen.id(now))
		guild()
		w.id("channel_id", channel)
	case "INTERACTION_CREATE":
		e.hidden = false
		gen.interaction(&w, rng, g, i, channel, now)
	case "PRESENCE_UPDATE":
		e.hidden = false
		w.open("user", '{')
		w.id("id", userID(g, i))
		w.end('}')
		w.str("status", [...]string{"online", "idle", "dnd", "offline"}[rng.IntN(4)])
		w.id("guild_id", guildID(g))
		w.raw("client_status", `{"vr":"online","mobile":"online"}`)
		w.open("activities", '[')
		w.raw("", fmt.Sprintf(`{"type":0,"timestamps":{"start":%d},"name":"A Game","id":"ec0b28a579ecb4bd","created_at":%d}`,
			now.UnixMilli()-5000, now.UnixMilli()))
		w.end(']')
	case "CHANNEL_UPDATE":
		w.end('}')
		w.b = w.b[:0]
		appendChannel(&w, "", g, ch, true)
		gen.buf, e.d = w.b, w.b
		return e
	case "GUILD_ROLE_UPDATE":
		e.hidden = false
		appendRole(&w, "role", g, 1)
		w.id("guild_id", guildID(g))
	case "WEBHOOKS_UPDATE":
		w.id("guild_id", guildID(g))
		w.id("channel_id", channel)
	case "INVITE_DELETE":
		w.id("guild_id", guildID(g))
		w.str("code", fmt.Sprintf("inv%x", rng.Uint32()))
		w.id("channel_id", channel)
	case "MESSAGE_POLL_VOTE_ADD":
		w.id("user_id", userID(g, i))
		w.id("message_id", gen.id(now))
		guild()
		w.id("channel_id", channel)
		w.int("answer_id", 1)
	case "PRESENCES_REPLACE":
		e.hidden = false
		w.b = append(w.b[:0], "[]"...)
		gen.buf, e.d = w.b, w.b
		return e
	default:
		e.hidden = false
		w.raw("sequence", "9007199254740993") // beyond what a double holds
		w.id("guild_id", guildID(g))
		w.id("big", 1<<64-1)
	}
	w.end('}')
	gen.buf, e.d = w.b, w.b
	return e
}

func appendVoiceState(w *jsonWriter, g, i int, channel uint64, in bool) {
	w.id("user_id", userID(g, i))
	w.raw("suppress", "false")
	w.str("session_id", fmt.Sprintf("%032x", userID(g, i)))
	w.raw("self_video", "false")
	w.raw("self_mute", "false")
	w.raw("self_deaf", "false")
	w.raw("request_to_speak_timestamp", "null")
	w.raw("mute", "false")
	appendMember(w, "member", g, i, true)
	w.id("guild_id", guildID(g))
	w.raw("deaf", "false")
	if in {
		w.id("channel_id", channel)
	} else {
		w.raw("channel_id", "null")
	}
}

// message writes the fields of a message. Without MESSAGE_CONTENT its content
// is empty, unless it is the bot's own, a direct one or mentions the bot.
func (gen *generator) message(w *jsonWriter, rng *rand.Rand, g, i int, channel uint64, dm, edited bool, intents wire.Intents, now time.Time) {
	own := rng.IntN(33) == 0
	mention := !own && rng.IntN(33) == 0
	if own {
		i = 0
	}
	open := dm || own || mention || intents&wire.IntentMessageContent != 0
	w.int("type", 0)
	w.raw("tts", "false")
	w.time("timestamp", now)
	w.raw("pinned", "false")
	if rng.IntN(8) == 0 {
		w.id("nonce", rng.Uint64())
	}
	w.open("mentions", '[')
	if mention {
		appendUserWith(w, "", g, 0, !dm)
	}
	w.end(']')
	w.raw("mention_roles", "[]")
	w.raw("mention_everyone", "false")
	if !dm {
		appendMember(w, "member", g, i, false)
	}
	w.id("id", gen.id(now))
	if !dm {
		w.id("guild_id", guildID(g))
	}
	w.int("flags", 0)
	w.open("embeds", '[')
	if open && rng.IntN(6) == 0 {
		w.raw("", `{"url":"https://example.com/a","type":"rich","title":"An \"embed\"","fields":[{"value":"värde","name":"naïve","inline":true}],`+
			`"description":"`+lorem[:rng.IntN(len(lorem))]+`","color":5814783}`)
	}
	w.end(']')
	if edited {
		w.time("edited_timestamp", now)
	} else {
		w.raw("edited_timestamp", "null")
	}
	if open {
		w.raw("content", gen.text(rng))
	} else {
		w.raw("content", `""`)
	}
	w.raw("components", "[]")
	if dm {
		w.int("channel_type", 1)
	} else {
		w.int("channel_type", 0)
	}
	w.id("channel_id", channel)
	appendUser(w, "author", g, i)
	w.raw("attachments", "[]")
}

const lorem = "lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna " +
	"aliqua; ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat; duis aute " +
	"irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur; excepteur sint occaecat cupidatat " +
	"non proident, sunt in culpa qui officia deserunt mollit anim id est laborum; and once more from the beginning for good measure"

func (gen *generator) interaction(w *jsonWriter, rng *rand.Rand, g, i int, channel uint64, now time.Time) {
	w.int("version", 1)
	w.int("type", 2)
	w.str("token", fmt.Sprintf("aW50ZXJhY3Rpb246%032x%032x%032x", rng.Uint64(), rng.Uint64(), rng.Uint64()))
	w.open("member", '{')
	appendUser(w, "user", g, i)
	appendMemberFields(w, g, i, memberInInteraction)
	w.end('}')
	w.str("locale", "en-US")
	w.id("id", gen.id(now))
	w.str("guild_locale", "en-US")
	w.id("guild_id", guildID(g))
	w.open("guild", '{')
	w.str("locale", "en-US")
	w.id("id", guildID(g))
	w.raw("features", "[]")
	w.end('}')
	w.raw("entitlements", "[]")
	w.open("data", '{')
	w.int("type", 1)
	w.open("options", '[')
	w.raw("", `{"value":`+gen.text(rng)+`,"type":3,"name":"text"}`)
	w.end(']')
	w.str("name", "command")
	w.id("id", 1<<60+uint64(g))
	w.end('}')
	w.int("context", 0)
	w.id("channel_id", channel)
	appendChannel(w, "channel", g, 0, true)
	w.raw("authorizing_integration_owners", `{"0":"`+fmt.Sprint(guildID(g))+`"}`)
	w.int("attachment_size_limit", 10485760)
	w.id("application_id", botID)
	w.str("app_permissions", allowed)
}
