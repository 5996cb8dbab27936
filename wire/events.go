// This file names the events and the intents they come with.

package wire

import (
	"slices"
	"strings"
)

// The events of direct messages come with another intent than those of guilds.
const (
	messageIntents  = IntentGuildMessages | IntentDirectMessages
	reactionIntents = IntentGuildMessageReactions | IntentDirectMessageReactions
	typingIntents   = IntentGuildMessageTyping | IntentDirectMessageTyping
	pollIntents     = IntentGuildMessagePolls | IntentDirectMessagePolls
)

// eventIntents are the dispatch events that Discord documents, in its order, with the intents of
// which one has to be asked for to get them; 0: they need none.
// https://docs.discord.com/developers/events/gateway-events#receive-events
var eventIntents = []struct {
	intents Intents
	names   string
}{
	{0, "READY RESUMED RATE_LIMITED APPLICATION_COMMAND_PERMISSIONS_UPDATE"},
	{IntentAutoModerationConfiguration, "AUTO_MODERATION_RULE_CREATE AUTO_MODERATION_RULE_UPDATE AUTO_MODERATION_RULE_DELETE"},
	{IntentAutoModerationExecution, "AUTO_MODERATION_ACTION_EXECUTION"},
	{IntentGuilds, "CHANNEL_CREATE CHANNEL_UPDATE CHANNEL_DELETE"},
	{0, "CHANNEL_INFO"},
	{IntentGuilds | IntentDirectMessages, "CHANNEL_PINS_UPDATE"},
	{IntentGuilds, "THREAD_CREATE THREAD_UPDATE THREAD_DELETE THREAD_LIST_SYNC THREAD_MEMBER_UPDATE"},
	{IntentGuilds | IntentGuildMembers, "THREAD_MEMBERS_UPDATE"},
	{0, "ENTITLEMENT_CREATE ENTITLEMENT_UPDATE ENTITLEMENT_DELETE"},
	{IntentGuilds, "GUILD_CREATE GUILD_UPDATE GUILD_DELETE"},
	{IntentGuildModeration, "GUILD_AUDIT_LOG_ENTRY_CREATE GUILD_BAN_ADD GUILD_BAN_REMOVE"},
	{IntentGuildExpressions, "GUILD_EMOJIS_UPDATE GUILD_STICKERS_UPDATE GUILD_SOUNDBOARD_SOUND_CREATE GUILD_SOUNDBOARD_SOUND_UPDATE"},
	{IntentGuildExpressions, "GUILD_SOUNDBOARD_SOUND_DELETE GUILD_SOUNDBOARD_SOUNDS_UPDATE"},
	{0, "SOUNDBOARD_SOUNDS"},
	{IntentGuildIntegrations, "GUILD_INTEGRATIONS_UPDATE INTEGRATION_CREATE INTEGRATION_UPDATE INTEGRATION_DELETE"},
	{IntentGuildMembers, "GUILD_MEMBER_ADD"},
	{0, "GUILD_MEMBER_UPDATE"}, // of the bot itself, without GUILD_MEMBERS too
	{IntentGuildMembers, "GUILD_MEMBER_REMOVE"},
	{0, "GUILD_MEMBERS_CHUNK"},
	{IntentGuilds, "GUILD_ROLE_CREATE GUILD_ROLE_UPDATE GUILD_ROLE_DELETE"},
	{IntentGuildScheduledEvents, "GUILD_SCHEDULED_EVENT_CREATE GUILD_SCHEDULED_EVENT_UPDATE GUILD_SCHEDULED_EVENT_DELETE GUILD_SCHEDULED_EVENT_USER_ADD"},
	{IntentGuildScheduledEvents, "GUILD_SCHEDULED_EVENT_USER_REMOVE"},
	{0, "INTERACTION_CREATE"},
	{IntentGuildInvites, "INVITE_CREATE INVITE_DELETE"},
	{messageIntents, "MESSAGE_CREATE MESSAGE_UPDATE MESSAGE_DELETE"},
	{IntentGuildMessages, "MESSAGE_DELETE_BULK"},
	{reactionIntents, "MESSAGE_REACTION_ADD MESSAGE_REACTION_REMOVE MESSAGE_REACTION_REMOVE_ALL MESSAGE_REACTION_REMOVE_EMOJI"},
	{pollIntents, "MESSAGE_POLL_VOTE_ADD MESSAGE_POLL_VOTE_REMOVE"},
	{IntentGuildPresences, "PRESENCE_UPDATE"},
	{IntentGuilds, "STAGE_INSTANCE_CREATE STAGE_INSTANCE_UPDATE STAGE_INSTANCE_DELETE"},
	{0, "SUBSCRIPTION_CREATE SUBSCRIPTION_UPDATE SUBSCRIPTION_DELETE"},
	{typingIntents, "TYPING_START"},
	{0, "USER_UPDATE"},
	{IntentGuildVoiceStates, "VOICE_CHANNEL_EFFECT_SEND"},
	{IntentGuilds, "VOICE_CHANNEL_STATUS_UPDATE VOICE_CHANNEL_START_TIME_UPDATE"},
	{IntentGuildVoiceStates, "VOICE_STATE_UPDATE"},
	{0, "VOICE_SERVER_UPDATE"},
	{IntentGuildWebhooks, "WEBHOOKS_UPDATE"},
}

// EventNames returns the names of the events that Discord documents for bots.
func EventNames() (names []string) {
	for _, e := range eventIntents {
		names = append(names, strings.Fields(e.names)...)
	}
	return names
}

// EventIntents returns the intents of which one has to be asked for to get the
// event; 0 if it needs none or is not known.
func EventIntents(name string) Intents {
	for _, e := range eventIntents {
		if slices.Contains(strings.Fields(e.names), name) {
			return e.intents
		}
	}
	return 0
}
