// This file makes the values of settings with names of Discord: events, intents, shards. It has the
// table of events.

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/engine"
	"sluice/sinks/redis"
	"sluice/wire"
)

// eventNames are names of events. One that is not documented may be right, for
// Discord adds events; one that cannot be an event's name is an error.
func eventNames(to *[]string) value {
	known := append(EventNames(), engine.GapEvent)
	return listOf(to, "list of names", "MESSAGE_CREATE", func(list []string, in input, name string) []string {
		switch {
		case slices.Contains(list, name):
			in.warnf("%s is named twice", name)
			return list
		case slices.Contains(known, name):
		case !isEventName(name):
			in.errorf("%.60q cannot be an event's name%s", name, nameHint(name, known, "; leave events unset to publish all"))
		default:
			in.warnf("%.60q is not an event that Discord documents%s", name, didYouMean(name, known))
		}
		return append(list, name)
	})
}

// intentNames are names of intents.
func intentNames(c *Config) value {
	show := func(i wire.Intents) string {
		if c.is("rawintents") {
			return ""
		}
		return showList(namesOf(i))
	}
	return valueOf("list of names", &c.Intents, show, func(in input) (sum wire.Intents) {
		if n, ok := in.value.(int64); ok {
			in.intentNumber(n)
			return 0
		}
		in.names("GUILDS", func(in input, name string) {
			bit, ok := wire.ParseIntent(name)
			n, err := strconv.ParseInt(name, 0, 64)
			switch {
			case slices.Contains(wire.IntentNames(), name):
			case ok:
				in.warnf("%s is the old name of %s", name, bit)
			case name == "GUILD":
				bit = wire.IntentGuilds
				in.warnf("GUILD is not an intent; it counts as GUILDS")
			case err == nil:
				in.intentNumber(n)
			default:
				in.errorf("unknown intent %.60q%s", name, nameHint(name, wire.IntentNames(), "; leave intents unset for all but the privileged"))
			}
			sum |= bit
		})
		return sum
	})
}

// intentNumber is for a number in the place of names.
func (in input) intentNumber(n int64) {
	names := strings.Join(namesOf(wire.Intents(n)), ",")
	if n <= 0 || n >= beyondIntents || names == "" {
		in.errorf("%d is a number; write names, such as GUILDS, or set rawintents (DISCORD_RAW_INTENTS) to the number", n)
		return
	}
	in.errorf("%d is a number; set rawintents (DISCORD_RAW_INTENTS) to it, or write its names: %s", n, names)
}

// nameHint returns what was probably meant by a name in a list that is none; all is what to do
// for all names.
func nameHint(name string, known []string, all string) string {
	switch {
	case strings.ContainsAny(name, " |;+"):
		return "; put commas between names"
	case name == "*" || strings.EqualFold(name, "all"):
		return all
	}
	return didYouMean(name, known)
}

// beyondIntents is the first bit above all intents that Discord has, for bots or others.
const beyondIntents = 1 << 29

// intentBits are the intents as a number.
func intentBits(c *Config) value {
	show := func(i wire.Intents) string {
		if !c.is("rawintents") {
			return ""
		}
		return strconv.FormatUint(uint64(i), 10)
	}
	return valueOf("number", &c.rawIntents, show, func(in input) wire.Intents {
		text, _ := in.value.(string)
		first, _, _ := strings.Cut(text, ",")
		if _, name := wire.ParseIntent(strings.TrimSpace(first)); name {
			in.errorf("%.60q is not a number; set intents (DISCORD_INTENTS) to names", text)
			return 0
		}
		i := wire.Intents(in.number(0, beyondIntents-1))
		if other := i &^ wire.AllIntents; other != 0 && i < beyondIntents {
			in.warnf("%s is no intent that Discord documents for bots; it may close the connection with 4013", other)
		}
		return i
	})
}

// namesOf returns the names of the documented ones of the intents.
func namesOf(i wire.Intents) []string {
	return slices.DeleteFunc(wire.IntentNames(), func(name string) bool {
		bit, _ := wire.ParseIntent(name)
		return i&bit == 0
	})
}

// shardIDs is a list of numbers and ranges, or a text of them.
func shardIDs(to *[]int) value {
	return valueOf("list with ranges", to, func(ids []int) string { return show(FormatShardIDs(ids)) }, func(in input) []int {
		text, ok := in.value.(string)
		before := in.r.errors
		if !ok {
			var parts []string
			for _, v := range in.list(`[0, 1] or "0-15,20"`) {
				part, before := fmt.Sprint(v.value), in.r.errors
				if kindOf(v.value) != kindText {
					want[int64](v, `0, or a range such as "0-15"`)
				}
				if _, err := ParseShardIDs(part); err != nil && in.r.errors == before {
					v.errorf("%s", err)
				}
				parts = append(parts, part)
			}
			text = strings.Join(parts, ",")
		}
		ids, err := ParseShardIDs(text)
		switch {
		case in.r.errors > before:
		case text == "":
			in.errorf("names no shard; remove it to run all")
		case err != nil:
			in.errorf("%s", err)
		}
		return ids
	})
}

// fields are the fields of an entry in Redis.
func fields(to *[]redis.Field) value {
	return listOf(to, "list of names", "shard", func(list []redis.Field, in input, name string) []redis.Field {
		f, ok := redis.ParseField(name)
		if !ok {
			in.errorf("%.60q is none of event, shard, session, seq%s", name, didYouMean(name, []string{"event", "shard", "session", "seq"}))
		} else if slices.Contains(list, f) {
			in.errorf("%s is in the list twice", f)
		}
		return append(list, f)
	})
}

// The events of direct messages come with another intent than those of guilds.
const (
	messages  = wire.IntentGuildMessages | wire.IntentDirectMessages
	reactions = wire.IntentGuildMessageReactions | wire.IntentDirectMessageReactions
	typing    = wire.IntentGuildMessageTyping | wire.IntentDirectMessageTyping
	polls     = wire.IntentGuildMessagePolls | wire.IntentDirectMessagePolls
)

// events are the dispatch events that Discord documents, in its order, with the intents of
// which one has to be asked for to get them; 0: they need none.
// https://docs.discord.com/developers/events/gateway-events#receive-events
var events = []struct {
	intents wire.Intents
	names   string
}{
	{0, "READY RESUMED RATE_LIMITED APPLICATION_COMMAND_PERMISSIONS_UPDATE"},
	{wire.IntentAutoModerationConfiguration, "AUTO_MODERATION_RULE_CREATE AUTO_MODERATION_RULE_UPDATE AUTO_MODERATION_RULE_DELETE"},
	{wire.IntentAutoModerationExecution, "AUTO_MODERATION_ACTION_EXECUTION"},
	{wire.IntentGuilds, "CHANNEL_CREATE CHANNEL_UPDATE CHANNEL_DELETE"},
	{0, "CHANNEL_INFO"},
	{wire.IntentGuilds | wire.IntentDirectMessages, "CHANNEL_PINS_UPDATE"},
	{wire.IntentGuilds, "THREAD_CREATE THREAD_UPDATE THREAD_DELETE THREAD_LIST_SYNC THREAD_MEMBER_UPDATE"},
	{wire.IntentGuilds | wire.IntentGuildMembers, "THREAD_MEMBERS_UPDATE"},
	{0, "ENTITLEMENT_CREATE ENTITLEMENT_UPDATE ENTITLEMENT_DELETE"},
	{wire.IntentGuilds, "GUILD_CREATE GUILD_UPDATE GUILD_DELETE"},
	{wire.IntentGuildModeration, "GUILD_AUDIT_LOG_ENTRY_CREATE GUILD_BAN_ADD GUILD_BAN_REMOVE"},
	{wire.IntentGuildExpressions, "GUILD_EMOJIS_UPDATE GUILD_STICKERS_UPDATE GUILD_SOUNDBOARD_SOUND_CREATE GUILD_SOUNDBOARD_SOUND_UPDATE"},
	{wire.IntentGuildExpressions, "GUILD_SOUNDBOARD_SOUND_DELETE GUILD_SOUNDBOARD_SOUNDS_UPDATE"},
	{0, "SOUNDBOARD_SOUNDS"},
	{wire.IntentGuildIntegrations, "GUILD_INTEGRATIONS_UPDATE INTEGRATION_CREATE INTEGRATION_UPDATE INTEGRATION_DELETE"},
	{wire.IntentGuildMembers, "GUILD_MEMBER_ADD"},
	{0, "GUILD_MEMBER_UPDATE"}, // of the bot itself, without GUILD_MEMBERS too
	{wire.IntentGuildMembers, "GUILD_MEMBER_REMOVE"},
	{0, "GUILD_MEMBERS_CHUNK"},
	{wire.IntentGuilds, "GUILD_ROLE_CREATE GUILD_ROLE_UPDATE GUILD_ROLE_DELETE"},
	{wire.IntentGuildScheduledEvents, "GUILD_SCHEDULED_EVENT_CREATE GUILD_SCHEDULED_EVENT_UPDATE GUILD_SCHEDULED_EVENT_DELETE GUILD_SCHEDULED_EVENT_USER_ADD"},
	{wire.IntentGuildScheduledEvents, "GUILD_SCHEDULED_EVENT_USER_REMOVE"},
	{0, "INTERACTION_CREATE"},
	{wire.IntentGuildInvites, "INVITE_CREATE INVITE_DELETE"},
	{messages, "MESSAGE_CREATE MESSAGE_UPDATE MESSAGE_DELETE"},
	{wire.IntentGuildMessages, "MESSAGE_DELETE_BULK"},
	{reactions, "MESSAGE_REACTION_ADD MESSAGE_REACTION_REMOVE MESSAGE_REACTION_REMOVE_ALL MESSAGE_REACTION_REMOVE_EMOJI"},
	{polls, "MESSAGE_POLL_VOTE_ADD MESSAGE_POLL_VOTE_REMOVE"},
	{wire.IntentGuildPresences, "PRESENCE_UPDATE"},
	{wire.IntentGuilds, "STAGE_INSTANCE_CREATE STAGE_INSTANCE_UPDATE STAGE_INSTANCE_DELETE"},
	{0, "SUBSCRIPTION_CREATE SUBSCRIPTION_UPDATE SUBSCRIPTION_DELETE"},
	{typing, "TYPING_START"},
	{0, "USER_UPDATE"},
	{wire.IntentGuildVoiceStates, "VOICE_CHANNEL_EFFECT_SEND"},
	{wire.IntentGuilds, "VOICE_CHANNEL_STATUS_UPDATE VOICE_CHANNEL_START_TIME_UPDATE"},
	{wire.IntentGuildVoiceStates, "VOICE_STATE_UPDATE"},
	{0, "VOICE_SERVER_UPDATE"},
	{wire.IntentGuildWebhooks, "WEBHOOKS_UPDATE"},
}

// EventNames returns the names of the events that Discord documents for bots.
func EventNames() (names []string) {
	for _, e := range events {
		names = append(names, strings.Fields(e.names)...)
	}
	return names
}

// EventIntents returns the intents of which one has to be asked for to get the
// event; 0 if it needs none or is not known.
func EventIntents(name string) wire.Intents {
	for _, e := range events {
		if slices.Contains(strings.Fields(e.names), name) {
			return e.intents
		}
	}
	return 0
}

// eventName is the form of an event's name.
var eventName = regexp.MustCompile(`^[A-Z0-9_]+$`)

func isEventName(name string) bool { return eventName.MatchString(name) }
