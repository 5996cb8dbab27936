// This file names the gateway intents.

package wire

import (
	"strconv"
	"strings"
)

// Intents is the bit set of an Identify that says which events are wanted.
// https://docs.discord.com/developers/events/gateway#gateway-intents
type Intents uint64

const (
	IntentGuilds                      Intents = 1 << 0
	IntentGuildMembers                Intents = 1 << 1 // privileged
	IntentGuildModeration             Intents = 1 << 2
	IntentGuildExpressions            Intents = 1 << 3
	IntentGuildIntegrations           Intents = 1 << 4
	IntentGuildWebhooks               Intents = 1 << 5
	IntentGuildInvites                Intents = 1 << 6
	IntentGuildVoiceStates            Intents = 1 << 7
	IntentGuildPresences              Intents = 1 << 8 // privileged
	IntentGuildMessages               Intents = 1 << 9
	IntentGuildMessageReactions       Intents = 1 << 10
	IntentGuildMessageTyping          Intents = 1 << 11
	IntentDirectMessages              Intents = 1 << 12
	IntentDirectMessageReactions      Intents = 1 << 13
	IntentDirectMessageTyping         Intents = 1 << 14
	IntentMessageContent              Intents = 1 << 15 // privileged
	IntentGuildScheduledEvents        Intents = 1 << 16
	IntentAutoModerationConfiguration Intents = 1 << 20
	IntentAutoModerationExecution     Intents = 1 << 21
	IntentGuildMessagePolls           Intents = 1 << 24
	IntentDirectMessagePolls          Intents = 1 << 25
)

const (
	// PrivilegedIntents have to be switched on for the bot in Discord's
	// developer portal; asking for one that is not closes with 4014.
	PrivilegedIntents = IntentGuildMembers | IntentGuildPresences | IntentMessageContent
	// AllIntents are all that Discord documents for bots.
	AllIntents Intents = 53_608_447
	// UnprivilegedIntents are those that any bot may ask for.
	UnprivilegedIntents = AllIntents &^ PrivilegedIntents
)

// intentNames lists the documented intents in the order of their bits.
var intentNames = [...]struct {
	name string
	bit  Intents
}{
	{"GUILDS", IntentGuilds},
	{"GUILD_MEMBERS", IntentGuildMembers},
	{"GUILD_MODERATION", IntentGuildModeration},
	{"GUILD_EXPRESSIONS", IntentGuildExpressions},
	{"GUILD_INTEGRATIONS", IntentGuildIntegrations},
	{"GUILD_WEBHOOKS", IntentGuildWebhooks},
	{"GUILD_INVITES", IntentGuildInvites},
	{"GUILD_VOICE_STATES", IntentGuildVoiceStates},
	{"GUILD_PRESENCES", IntentGuildPresences},
	{"GUILD_MESSAGES", IntentGuildMessages},
	{"GUILD_MESSAGE_REACTIONS", IntentGuildMessageReactions},
	{"GUILD_MESSAGE_TYPING", IntentGuildMessageTyping},
	{"DIRECT_MESSAGES", IntentDirectMessages},
	{"DIRECT_MESSAGE_REACTIONS", IntentDirectMessageReactions},
	{"DIRECT_MESSAGE_TYPING", IntentDirectMessageTyping},
	{"MESSAGE_CONTENT", IntentMessageContent},
	{"GUILD_SCHEDULED_EVENTS", IntentGuildScheduledEvents},
	{"AUTO_MODERATION_CONFIGURATION", IntentAutoModerationConfiguration},
	{"AUTO_MODERATION_EXECUTION", IntentAutoModerationExecution},
	{"GUILD_MESSAGE_POLLS", IntentGuildMessagePolls},
	{"DIRECT_MESSAGE_POLLS", IntentDirectMessagePolls},
}

// ParseIntent returns the intent of a documented name, or of a name that
// Discord documented in the past.
func ParseIntent(name string) (Intents, bool) {
	for _, n := range intentNames {
		if n.name == name {
			return n.bit, true
		}
	}
	switch name {
	case "GUILD_BANS":
		return IntentGuildModeration, true
	case "GUILD_EMOJIS", "GUILD_EMOJIS_AND_STICKERS":
		return IntentGuildExpressions, true
	}
	return 0, false
}

// IntentNames returns the documented names in the order of their bits.
func IntentNames() []string {
	names := make([]string, len(intentNames))
	for i, n := range intentNames {
		names[i] = n.name
	}
	return names
}

// Privileged returns the privileged ones of the intents.
func (i Intents) Privileged() Intents { return i & PrivilegedIntents }

// String joins the intents' names by "|"; a bit without a name is written 1<<n,
// no intents at all are "0".
func (i Intents) String() string {
	if i == 0 {
		return "0"
	}
	var parts []string
	for bit := range 64 {
		b := Intents(1) << bit
		if i&b != 0 {
			parts = append(parts, bitName(b, bit))
		}
	}
	return strings.Join(parts, "|")
}

func bitName(b Intents, bit int) string {
	for _, n := range intentNames {
		if n.bit == b {
			return n.name
		}
	}
	return "1<<" + strconv.Itoa(bit)
}
