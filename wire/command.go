// This file checks the payloads that bots ask to be sent, so that Discord does
// not close the connection over them.

package wire

import (
	"fmt"
	"strconv"

	"github.com/valyala/fastjson"
)

// MaxSend is the size above which Discord closes the connection with 4002, in
// bytes.
const MaxSend = 4096

// Command is what has to be known of a payload to send it in its turn.
type Command struct {
	Op         Opcode
	Guild      string // of op 4, 8 and 43: a snowflake
	AllMembers bool   // op 8 for every member of Guild
}

// ParseCommand checks a payload that a bot wants to send: {"op":…,"d":{…}} with
// one of the opcodes 3, 4, 8, 31 and 43 and the fields without which Discord
// closes the connection (4001). The error says what is wrong and what would be
// right.
func ParseCommand(packet []byte) (Command, error) {
	if len(packet) > MaxSend {
		return Command{}, fmt.Errorf("the packet has %d bytes; Discord takes at most %d", len(packet), MaxSend)
	}
	v, err := fastjson.ParseBytes(packet)
	if err != nil {
		return Command{}, fmt.Errorf("the packet is not JSON: %w", err)
	}
	if v.Type() != fastjson.TypeObject {
		return Command{}, fmt.Errorf(`the packet is a JSON %s; it must be an object {"op":…,"d":{…}}`, v.Type())
	}
	op, err := 0, fmt.Errorf("missing")
	if number := v.Get("op"); number != nil {
		op, err = number.Int()
	}
	if err != nil {
		return Command{}, fmt.Errorf("the packet's op is missing or not an integer; bots may send 3, 4, 8, 31 and 43")
	}
	d := v.Get("d")
	if d == nil || d.Type() != fastjson.TypeObject {
		return Command{}, fmt.Errorf("the packet's d is missing or not an object")
	}
	c := Command{Op: Opcode(op)}
	switch c.Op {
	case OpPresenceUpdate:
		for _, key := range []string{"since", "activities", "status", "afk"} {
			if !d.Exists(key) {
				return c, fmt.Errorf("d of op 3 lacks %q; since, activities, status and afk are all required", key)
			}
		}
	case OpVoiceStateUpdate, OpRequestChannelInfo:
		c.Guild, err = guildOf(d)
	case OpRequestGuildMembers:
		c.Guild, err = guildOf(d)
		if err == nil {
			c.AllMembers, err = allMembers(d)
		}
	case OpRequestSoundboardSounds:
		if d.Get("guild_ids") == nil || d.Get("guild_ids").Type() != fastjson.TypeArray {
			err = fmt.Errorf("d of op 31 lacks guild_ids, a list of snowflakes")
		}
	default:
		err = fmt.Errorf("op %d is not for bots to send; they may send 3, 4, 8, 31 and 43", op)
	}
	return c, err
}

// guildOf returns guild_id, which must be a snowflake in a string.
func guildOf(d *fastjson.Value) (string, error) {
	id := string(d.GetStringBytes("guild_id"))
	if _, err := ParseSnowflake(id); err != nil {
		return "", fmt.Errorf("guild_id is missing or not a snowflake in a string")
	}
	return id, nil
}

// allMembers reports whether d of op 8 asks for every member.
func allMembers(d *fastjson.Value) (bool, error) {
	if d.Exists("user_ids") {
		return false, nil
	}
	if query := d.Get("query"); query == nil || query.Type() != fastjson.TypeString {
		return false, fmt.Errorf("d of op 8 has neither query, a string, nor user_ids")
	}
	if limit := d.Get("limit"); limit == nil || limit.Type() != fastjson.TypeNumber {
		return false, fmt.Errorf("d of op 8 has a query and no limit, a number")
	}
	return len(d.GetStringBytes("query")) == 0 && d.GetInt("limit") == 0, nil
}

// ParseSnowflake returns the number of a Discord id.
func ParseSnowflake(id string) (uint64, error) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.40q is not a snowflake, a decimal number of up to 64 bits", id)
	}
	return n, nil
}

// ShardOf returns the shard that serves a guild.
// https://docs.discord.com/developers/events/gateway#sharding
func ShardOf(guild uint64, shards int) int {
	return int((guild >> 22) % uint64(shards))
}
