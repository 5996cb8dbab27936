// This file holds the errors that end the engine, each with what to do.

package engine

import (
	"errors"
	"fmt"

	"sluice/wire"
)

// ErrDrain is returned by Run when the sink had not taken every event within
// Options.ShutdownTimeout. The sessions are kept at what it had taken.
var ErrDrain = errors.New("engine: the sink did not take every event in time")

// FatalError is an answer of Discord that trying again cannot mend.
type FatalError struct {
	Shard  int            // the shard it came to; -1 for the REST request
	Code   wire.CloseCode // close code, or 0
	Status int            // HTTP status of GET /gateway/bot, or 0
	Remedy string         // what to do, in one sentence
}

func (e *FatalError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("Discord answered GET /gateway/bot with %d: %s", e.Status, e.Remedy)
	}
	return fmt.Sprintf("Discord closed shard %d with %d (%s): %s", e.Shard, uint16(e.Code), e.Code, e.Remedy)
}

// ExitCode is the process's exit code for the error, distinct for each cause:
// the last two digits of the close code (4 for 4004, 10 for 4010 …), and 4 and
// 3 for the REST answers 401 and 403.
func (e *FatalError) ExitCode() int {
	switch {
	case e.Code != 0:
		return int(e.Code) % 100
	case e.Status == 401:
		return 4
	}
	return 3
}

// ShardIDError is returned by Run for one of Options.IDs that does not exist.
type ShardIDError struct{ ID, Shards int }

func (e *ShardIDError) Error() string {
	return fmt.Sprintf("shard %d does not exist with a shard count of %d; ids run from 0 to %d", e.ID, e.Shards, e.Shards-1)
}

// fatalClose explains a close code after which Discord wants no reconnect.
func fatalClose(shard, shards int, code wire.CloseCode, intents wire.Intents) *FatalError {
	e := &FatalError{Shard: shard, Code: code}
	switch code {
	case wire.CloseAuthenticationFailed:
		e.Remedy = "the token is wrong or was reset; set DISCORD_TOKEN to the bot's current token"
	case wire.CloseInvalidShard:
		e.Remedy = fmt.Sprintf("Discord does not accept shard id %d of %d for this bot; remove shards.count to use its recommendation, or set a multiple of it", shard, shards)
	case wire.CloseShardingRequired:
		e.Remedy = fmt.Sprintf("a shard would serve more than 2,500 guilds with a shard count of %d; raise shards.count, or remove it to use Discord's recommendation", shards)
	case wire.CloseInvalidVersion:
		e.Remedy = "the gateway version is not served; remove gateway_version or set it to 10"
	case wire.CloseInvalidIntents:
		e.Remedy = fmt.Sprintf("the intents %s hold a bit that Discord does not know; correct intents or rawintents", intents)
	case wire.CloseDisallowedIntents:
		const where = "https://discord.com/developers/applications under Bot, Privileged Gateway Intents"
		if asked := intents.Privileged(); asked != 0 {
			e.Remedy = fmt.Sprintf("the privileged intents %s are not all switched on for this bot; switch them on at %s, or remove them from intents", asked, where)
		} else {
			e.Remedy = fmt.Sprintf("one of the intents %s must be switched on for this bot, at %s, although none of them is known to need it", intents, where)
		}
	}
	return e
}

// fatalStatus explains a REST answer that trying again cannot mend.
func fatalStatus(status int) *FatalError {
	e := &FatalError{Shard: -1, Status: status}
	if status == 401 {
		e.Remedy = "the token is wrong or was reset; set DISCORD_TOKEN to the bot's current token"
	} else {
		e.Remedy = "Discord refuses this bot; look at it at https://discord.com/developers/applications"
	}
	return e
}
