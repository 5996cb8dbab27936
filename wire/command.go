// This file checks the payloads that bots ask to be sent, so that Discord does
// not close the connection over them.

package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fastjson"
)

// MaxSend is the size above which Discord closes the connection with 4002, in
// bytes.
const MaxSend = 4096

// Command is what has to be known of a payload to send it in its turn.
type Command struct {
	Op         Opcode
	Guild      uint64   // of op 4, 8 and 43
	Guilds     []uint64 // of op 31
	AllMembers bool     // op 8 for every member of Guild
	Leave      bool     // op 4 with no channel
}

// ParseCommand checks a payload that a bot wants to send: {"op":…,"d":{…}} with
// one of the opcodes 3, 4, 8, 31 and 43 and the fields without which Discord
// closes the connection (4001), in JSON that Discord can decode (4002; see
// CheckIJSON). The error says what is wrong and what would be right.
func ParseCommand(packet []byte) (Command, error) {
	if len(packet) > MaxSend {
		return Command{}, fmt.Errorf("the packet has %d bytes; Discord takes at most %d", len(packet), MaxSend)
	}
	if err := CheckIJSON(packet); err != nil { // fastjson takes more than JSON
		return Command{}, fmt.Errorf("the packet cannot be decoded by Discord: %w", err)
	}
	v, err := fastjson.ParseBytes(packet)
	if err != nil {
		return Command{}, fmt.Errorf("the packet is not JSON: %w", err)
	}
	if v.Type() != fastjson.TypeObject {
		return Command{}, fmt.Errorf(`the packet is a JSON %s; it must be an object {"op":…,"d":{…}}`, v.Type())
	}
	op, err := 0, errors.New("missing")
	if number := v.Get("op"); number != nil {
		op, err = number.Int()
	}
	if err != nil {
		return Command{}, errors.New("the packet's op is missing or not an integer; bots may send 3, 4, 8, 31 and 43")
	}
	d := v.Get("d")
	if d == nil || d.Type() != fastjson.TypeObject {
		return Command{}, errors.New("the packet's d is missing or not an object")
	}
	c := Command{Op: Opcode(op)}
	switch c.Op {
	case OpPresenceUpdate:
		if err = require(d, "since", "activities", "status", "afk"); err == nil {
			err = checkPresence(d)
		}
	case OpVoiceStateUpdate:
		if c.Guild, err = guildOf(d); err == nil {
			c.Leave, err = checkVoice(d)
		}
	case OpRequestGuildMembers:
		if c.Guild, err = guildOf(d); err == nil {
			c.AllMembers, err = allMembers(d)
		}
	case OpRequestSoundboardSounds:
		c.Guilds, err = snowflakes(d, "guild_ids")
	case OpRequestChannelInfo:
		if c.Guild, err = guildOf(d); err == nil {
			err = requireStrings(d, "fields")
		}
	default:
		err = errors.New("it is not for bots to send; they may send 3, 4, 8, 31 and 43")
	}
	if err != nil {
		return Command{}, fmt.Errorf("op %d: %w", op, err)
	}
	return c, nil
}

// require returns an error for the first key that d lacks.
func require(d *fastjson.Value, keys ...string) error {
	for _, key := range keys {
		if !d.Exists(key) {
			return fmt.Errorf("d lacks %q; required are %s", key, strings.Join(keys, ", "))
		}
	}
	return nil
}

// requireStrings returns an error unless d's key holds a list of strings.
func requireStrings(d *fastjson.Value, key string) error {
	list := d.Get(key)
	if list == nil || list.Type() != fastjson.TypeArray {
		return fmt.Errorf("d lacks %q, a list of strings", key)
	}
	for _, item := range list.GetArray() {
		if item.Type() != fastjson.TypeString {
			return fmt.Errorf("%q holds a %s; it must be a list of strings", key, item.Type())
		}
	}
	return nil
}

// snowflakes returns what d's key holds, which must be a list of snowflakes in
// strings.
func snowflakes(d *fastjson.Value, key string) ([]uint64, error) {
	if err := requireStrings(d, key); err != nil {
		return nil, err
	}
	var ids []uint64
	for _, item := range d.GetArray(key) {
		id, err := ParseSnowflake(string(item.GetStringBytes()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// optional returns an error if d has the key with a value of none of the types.
func optional(d *fastjson.Value, key string, types ...fastjson.Type) error {
	v := d.Get(key)
	if v == nil || slices.Contains(types, v.Type()) {
		return nil
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return fmt.Errorf("%s is a %s; it must be %s", key, v.Type(), strings.Join(names, " or "))
}

// checkPresence checks the types of op 3: Discord closes with 4001 over a wrong
// one, and ends the session.
func checkPresence(d *fastjson.Value) error {
	err := optional(d, "since", fastjson.TypeNull, fastjson.TypeNumber)
	if err == nil {
		err = optional(d, "afk", fastjson.TypeTrue, fastjson.TypeFalse)
	}
	if err == nil {
		err = optional(d, "activities", fastjson.TypeArray)
	}
	if err != nil {
		return err
	}
	switch status := string(d.GetStringBytes("status")); status {
	case "online", "dnd", "idle", "invisible", "offline":
	default:
		return fmt.Errorf("status %.40q is none of online, dnd, idle, invisible, offline", status)
	}
	for _, a := range d.GetArray("activities") {
		if a.Type() != fastjson.TypeObject || !a.Exists("name") || !a.Exists("type") ||
			optional(a, "name", fastjson.TypeString) != nil || optional(a, "type", fastjson.TypeNumber) != nil {
			return errors.New("activities must be objects with a name, a string, and a type, a number")
		}
	}
	return nil
}

// checkVoice checks the types of op 4, and reports whether it leaves.
func checkVoice(d *fastjson.Value) (leave bool, err error) {
	if err := require(d, "channel_id"); err != nil {
		return false, err
	}
	channel := d.Get("channel_id")
	leave = channel.Type() == fastjson.TypeNull
	if !leave {
		if _, err := ParseSnowflake(string(channel.GetStringBytes())); err != nil {
			return false, errors.New("channel_id is neither null nor a snowflake in a string")
		}
	}
	if err := optional(d, "self_mute", fastjson.TypeTrue, fastjson.TypeFalse); err != nil {
		return false, err
	}
	return leave, optional(d, "self_deaf", fastjson.TypeTrue, fastjson.TypeFalse)
}

// guildOf returns guild_id, which must be a snowflake in a string.
func guildOf(d *fastjson.Value) (uint64, error) {
	id, err := ParseSnowflake(string(d.GetStringBytes("guild_id")))
	if err != nil {
		return 0, errors.New("guild_id is missing or not a snowflake in a string")
	}
	return id, nil
}

// allMembers reports whether d of op 8 asks for every member.
func allMembers(d *fastjson.Value) (bool, error) {
	if err := optional(d, "presences", fastjson.TypeTrue, fastjson.TypeFalse); err != nil {
		return false, err
	}
	if err := optional(d, "nonce", fastjson.TypeString); err != nil {
		return false, err
	}
	if nonce := d.GetStringBytes("nonce"); len(nonce) > 32 {
		return false, fmt.Errorf("nonce has %d bytes; Discord ignores one of more than 32", len(nonce))
	}
	if users := d.Get("user_ids"); users != nil {
		switch users.Type() {
		case fastjson.TypeString:
			_, err := ParseSnowflake(string(users.GetStringBytes()))
			return false, err
		case fastjson.TypeArray:
			if n := len(users.GetArray()); n > 100 {
				return false, fmt.Errorf("user_ids holds %d ids; Discord takes at most 100", n)
			}
			_, err := snowflakes(d, "user_ids")
			return false, err
		}
		return false, errors.New("user_ids must be a snowflake or a list of them")
	}
	if query := d.Get("query"); query == nil || query.Type() != fastjson.TypeString {
		return false, errors.New("d has neither query, a string, nor user_ids")
	}
	limit := d.Get("limit")
	if limit == nil {
		return false, errors.New("d has a query and no limit; 0 is for all")
	}
	n, err := limit.Int()
	if err != nil || n < 0 {
		return false, errors.New("limit must be an integer, 0 for all")
	}
	return len(d.GetStringBytes("query")) == 0 && n == 0, nil
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
