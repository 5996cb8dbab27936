// This file names the events and the intents they come with.

package config

import (
	"slices"

	"sluice/wire"
)

// event is a dispatch event that Discord documents, with the intents of which
// one has to be asked for to get it; 0: it needs none.
type event struct {
	name    string
	intents wire.Intents
}

// The events of direct messages come with another intent than those of guilds.
const (
	messages  = wire.IntentGuildMessages | wire.IntentDirectMessages
	reactions = wire.IntentGuildMessageReactions | wire.IntentDirectMessageReactions
	typing    = wire.IntentGuildMessageTyping | wire.IntentDirectMessageTyping
	polls     = wire.IntentGuildMessagePolls | wire.IntentDirectMessagePolls
)

// https://docs.discord.com/developers/events/gateway-events#receive-events
var events = []event{
	{"READY", 0},
	{"RESUMED", 0},
	{"RATE_LIMITED", 0},
	{"APPLICATION_COMMAND_PERMISSIONS_UPDATE", 0},
	{"AUTO_MODERATION_RULE_CREATE", wire.IntentAutoModerationConfiguration},
	{"AUTO_MODERATION_RULE_UPDATE", wire.IntentAutoModerationConfiguration},
	{"AUTO_MODERATION_RULE_DELETE", wire.IntentAutoModerationConfiguration},
	{"AUTO_MODERATION_ACTION_EXECUTION", wire.IntentAutoModerationExecution},
	{"CHANNEL_CREATE", wire.IntentGuilds},
	{"CHANNEL_UPDATE", wire.IntentGuilds},
	{"CHANNEL_DELETE", wire.IntentGuilds},
	{"CHANNEL_INFO", 0},
	{"CHANNEL_PINS_UPDATE", wire.IntentGuilds | wire.IntentDirectMessages},
	{"THREAD_CREATE", wire.IntentGuilds},
	{"THREAD_UPDATE", wire.IntentGuilds},
	{"THREAD_DELETE", wire.IntentGuilds},
	{"THREAD_LIST_SYNC", wire.IntentGuilds},
	{"THREAD_MEMBER_UPDATE", wire.IntentGuilds},
	{"THREAD_MEMBERS_UPDATE", wire.IntentGuilds | wire.IntentGuildMembers},
	{"ENTITLEMENT_CREATE", 0},
	{"ENTITLEMENT_UPDATE", 0},
	{"ENTITLEMENT_DELETE", 0},
	{"GUILD_CREATE", wire.IntentGuilds},
	{"GUILD_UPDATE", wire.IntentGuilds},
	{"GUILD_DELETE", wire.IntentGuilds},
	{"GUILD_AUDIT_LOG_ENTRY_CREATE", wire.IntentGuildModeration},
	{"GUILD_BAN_ADD", wire.IntentGuildModeration},
	{"GUILD_BAN_REMOVE", wire.IntentGuildModeration},
	{"GUILD_EMOJIS_UPDATE", wire.IntentGuildExpressions},
	{"GUILD_STICKERS_UPDATE", wire.IntentGuildExpressions},
	{"GUILD_SOUNDBOARD_SOUND_CREATE", wire.IntentGuildExpressions},
	{"GUILD_SOUNDBOARD_SOUND_UPDATE", wire.IntentGuildExpressions},
	{"GUILD_SOUNDBOARD_SOUND_DELETE", wire.IntentGuildExpressions},
	{"GUILD_SOUNDBOARD_SOUNDS_UPDATE", wire.IntentGuildExpressions},
	{"SOUNDBOARD_SOUNDS", 0},
	{"GUILD_INTEGRATIONS_UPDATE", wire.IntentGuildIntegrations},
	{"INTEGRATION_CREATE", wire.IntentGuildIntegrations},
	{"INTEGRATION_UPDATE", wire.IntentGuildIntegrations},
	{"INTEGRATION_DELETE", wire.IntentGuildIntegrations},
	{"GUILD_MEMBER_ADD", wire.IntentGuildMembers},
	{"GUILD_MEMBER_UPDATE", 0}, // of the bot itself, without GUILD_MEMBERS too
	{"GUILD_MEMBER_REMOVE", wire.IntentGuildMembers},
	{"GUILD_MEMBERS_CHUNK", 0},
	{"GUILD_ROLE_CREATE", wire.IntentGuilds},
	{"GUILD_ROLE_UPDATE", wire.IntentGuilds},
	{"GUILD_ROLE_DELETE", wire.IntentGuilds},
	{"GUILD_SCHEDULED_EVENT_CREATE", wire.IntentGuildScheduledEvents},
	{"GUILD_SCHEDULED_EVENT_UPDATE", wire.IntentGuildScheduledEvents},
	{"GUILD_SCHEDULED_EVENT_DELETE", wire.IntentGuildScheduledEvents},
	{"GUILD_SCHEDULED_EVENT_USER_ADD", wire.IntentGuildScheduledEvents},
	{"GUILD_SCHEDULED_EVENT_USER_REMOVE", wire.IntentGuildScheduledEvents},
	{"INTERACTION_CREATE", 0},
	{"INVITE_CREATE", wire.IntentGuildInvites},
	{"INVITE_DELETE", wire.IntentGuildInvites},
	{"MESSAGE_CREATE", messages},
	{"MESSAGE_UPDATE", messages},
	{"MESSAGE_DELETE", messages},
	{"MESSAGE_DELETE_BULK", wire.IntentGuildMessages},
	{"MESSAGE_REACTION_ADD", reactions},
	{"MESSAGE_REACTION_REMOVE", reactions},
	{"MESSAGE_REACTION_REMOVE_ALL", reactions},
	{"MESSAGE_REACTION_REMOVE_EMOJI", reactions},
	{"MESSAGE_POLL_VOTE_ADD", polls},
	{"MESSAGE_POLL_VOTE_REMOVE", polls},
	{"PRESENCE_UPDATE", wire.IntentGuildPresences},
	{"STAGE_INSTANCE_CREATE", wire.IntentGuilds},
	{"STAGE_INSTANCE_UPDATE", wire.IntentGuilds},
	{"STAGE_INSTANCE_DELETE", wire.IntentGuilds},
	{"SUBSCRIPTION_CREATE", 0},
	{"SUBSCRIPTION_UPDATE", 0},
	{"SUBSCRIPTION_DELETE", 0},
	{"TYPING_START", typing},
	{"USER_UPDATE", 0},
	{"VOICE_CHANNEL_EFFECT_SEND", wire.IntentGuildVoiceStates},
	{"VOICE_CHANNEL_STATUS_UPDATE", wire.IntentGuilds},
	{"VOICE_CHANNEL_START_TIME_UPDATE", wire.IntentGuilds},
	{"VOICE_STATE_UPDATE", wire.IntentGuildVoiceStates},
	{"VOICE_SERVER_UPDATE", 0},
	{"WEBHOOKS_UPDATE", wire.IntentGuildWebhooks},
}

// EventNames returns the names of the events that Discord documents for bots.
func EventNames() []string {
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = e.name
	}
	return names
}

// EventIntents returns the intents of which one has to be asked for to get the
// event; 0 if it needs none or is not known.
func EventIntents(name string) wire.Intents {
	if i := slices.IndexFunc(events, func(e event) bool { return e.name == name }); i >= 0 {
		return events[i].intents
	}
	return 0
}

// isEventName reports whether the name has the form of an event's name.
func isEventName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return name != ""
}
