// This file makes commands of what bots write.

package commands

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"sluice/sinks"
	"sluice/sinks/msgpack"
	"sluice/wire"
)

// MaxSize bounds a command in bytes. Discord takes packets of 4 kB.
const MaxSize = 1 << 20

// TooLong is the refusal of a command of size bytes where it may have most.
func TooLong(size, most int) error { return &tooLongError{size, most} }

type tooLongError struct{ size, most int }

func (e *tooLongError) Error() string {
	return fmt.Sprintf("a command of %d bytes is too long; it may have up to %d", e.size, e.most)
}

const (
	// Send is the name of commands that say themselves where they go.
	Send = "SEND"
	// Discordjs is the name under which RedisGateway of @discordjs/brokers sends
	// commands: {"shardId":3,"payload":{"op":…,"d":…}}.
	Discordjs = "gateway_send"
)

// Parse makes a command of a value that came from a broker under a name: Send,
// the number of a shard, or Discordjs. The value is one MessagePack value: a
// string that holds JSON, or a map. A JSON object as it is will do too.
//
// The packet may be a part of value, which is not written to. The errors say what is wrong and
// what would be right.
func Parse(name string, value []byte) (sinks.Command, error) {
	text, err := toJSON(value)
	if err != nil {
		return sinks.Command{}, err
	}
	if name == Discordjs {
		return parseDiscordjs(text)
	}
	return parseNamed(name, text)
}

// ParseItem makes a command of an item that has no name but what it holds: a JSON object, or a
// MessagePack map, with packet beside shard or guild_id, or with the name in event and the value in
// data. The packet and the errors are as those of Parse.
func ParseItem(item []byte) (sinks.Command, error) {
	text, err := toJSON(item)
	if err != nil {
		return sinks.Command{}, err
	}
	fields, err := parseObject("a command", text)
	if err != nil {
		return sinks.Command{}, err
	}
	rawEvent, isEvent := fields["event"]
	if !isEvent {
		return routed(fields)
	}
	var event string
	if rawEvent[0] != '"' || json.Unmarshal(rawEvent, &event) != nil {
		return sinks.Command{}, errors.New(`event is not a string; it must be "SEND" or a shard's number, such as "3"`)
	}
	data, ok := fields["data"]
	if !ok {
		return sinks.Command{}, errors.New("data is missing beside event")
	}
	return parseNamed(event, data)
}

// toJSON returns value, which is JSON if it begins an object, and otherwise becomes it.
func toJSON(value []byte) ([]byte, error) {
	switch {
	case len(value) > MaxSize:
		return nil, TooLong(len(value), MaxSize)
	case len(value) > 0 && value[0] == '{':
		return value, nil
	}
	text, rest, err := msgpack.AppendJSON(nil, value, holdsSnowflakes)
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows the MessagePack value")
	}
	return text, err
}

// holdsSnowflakes reports whether the value of a key is a snowflake or a list of them in every
// command. As numbers in MessagePack they have all their digits; in JSON they have been through
// JavaScript's or another language's floating point, and are refused.
func holdsSnowflakes(key []byte) bool {
	switch string(key) {
	case "guild_id", "channel_id", "guild_ids", "user_ids":
		return true
	}
	return false
}

// parseNamed makes a command of data, JSON or a JSON string that holds it.
func parseNamed(name string, data []byte) (sinks.Command, error) {
	if len(data) > 0 && data[0] == '"' {
		var inner string
		if err := json.Unmarshal(data, &inner); err != nil {
			return sinks.Command{}, fmt.Errorf("data: %w", err)
		}
		data = []byte(inner)
	}
	if name == Send {
		fields, err := parseObject("data", data)
		if err != nil {
			return sinks.Command{}, err
		}
		return routed(fields)
	}
	shard, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return sinks.Command{}, fmt.Errorf(`event %.40q is no command; it must be "SEND" or a shard's number, such as "3"`, name)
	}
	if _, err := parseObject("data", data); err != nil {
		return sinks.Command{}, err
	}
	return sinks.Command{Shard: int(shard), Packet: bytes.TrimSpace(data)}, nil
}

// parseDiscordjs makes a command of what RedisGateway sends.
func parseDiscordjs(text []byte) (sinks.Command, error) {
	fields, err := parseObject("the value", text)
	if err != nil {
		return sinks.Command{}, err
	}
	if _, ok := fields["payload"]; !ok {
		return sinks.Command{}, errors.New(`payload is missing; a command is {"shardId":0,"payload":{…}}`)
	}
	routes := map[string]json.RawMessage{"packet": fields["payload"]}
	if shard, ok := fields["shardId"]; ok {
		routes["shard"] = shard
	}
	return routed(routes)
}

// routed makes a command of an object with packet and either shard or guild_id.
func routed(fields map[string]json.RawMessage) (c sinks.Command, err error) {
	packet, ok := fields["packet"]
	if !ok {
		return c, errors.New(`packet is missing; a command is {"shard":0,"packet":{…}}, {"guild_id":"…","packet":{…}} or {"event":"SEND","data":{…}}`)
	}
	if _, err := parseObject("packet", packet); err != nil {
		return c, err
	}
	c.Packet = packet
	guild, hasGuild := fields["guild_id"]
	shard, hasShard := fields["shard"]
	switch {
	case hasGuild && hasShard:
		return c, errors.New("guild_id and shard are both given; one of them decides where the packet goes")
	case hasGuild:
		c.Guild, err = parseGuild(guild)
	case hasShard:
		var n uint64
		if n, err = strconv.ParseUint(string(shard), 10, 31); err != nil {
			err = fmt.Errorf("shard is %.40s; it must be a shard's number, such as 3", shard)
		}
		c.Shard = int(n)
	default:
		err = errors.New(`guild_id is missing; it must be a snowflake in a string, such as "81384788765712384" (or give shard, a number)`)
	}
	return c, err
}

// parseGuild returns the snowflake in raw, a JSON value.
func parseGuild(raw json.RawMessage) (uint64, error) {
	var digits string
	switch {
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &digits); err != nil {
			return 0, fmt.Errorf("guild_id: %w", err)
		}
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		return 0, fmt.Errorf("guild_id is the number %.40s, which may have lost digits; send it as a string", raw)
	}
	guild, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || guild == 0 {
		return 0, fmt.Errorf(`guild_id is %.40s; it must be a snowflake in a string, such as "81384788765712384"`, raw)
	}
	return guild, nil
}

// parseObject returns the fields of text, which must be a JSON object that every
// decoder reads alike (wire.CheckIJSON) and is called name in errors. The values have no
// white space around.
func parseObject(name string, text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s is not UTF-8, in which JSON is written", name)
	}
	var fields map[string]json.RawMessage
	err := json.Unmarshal(text, &fields)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("%s is not JSON: %w, at byte %d", name, err, syntax.Offset)
	case err != nil || fields == nil: // another type, or null
		return nil, fmt.Errorf("%s is not a JSON object {…}", name)
	}
	if err := wire.CheckIJSON(text); err != nil {
		return nil, fmt.Errorf("%s is refused: %w", name, err)
	}
	return fields, nil
}
