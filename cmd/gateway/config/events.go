// This file names the events and the intents they come with.

package config

import (
	"regexp"
	"slices"
	"strings"

	"sluice/wire"
)

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
