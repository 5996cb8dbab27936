// This file makes a command of a JSON object.

package stdio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"sluice/sinks"
	"sluice/wire"
)

// parseCommand makes a command of text, a JSON object. The command's packet may
// be a part of text. A guild_id is a string: as a number in JSON it has been through
// JavaScript's or another language's floating point. One in MessagePack has all its
// digits, and has been made a string by appendJSONOf.
//
// The errors say what is wrong and what would be right.
func parseCommand(text []byte) (sinks.Command, error) {
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
	if data[0] == '"' {
		var inner string
		if err := json.Unmarshal(data, &inner); err != nil {
			return sinks.Command{}, fmt.Errorf("data: %w", err)
		}
		data = json.RawMessage(inner)
	}
	if event == "SEND" {
		fields, err := parseObject("data", data)
		if err != nil {
			return sinks.Command{}, err
		}
		return routed(fields)
	}
	shard, err := strconv.ParseUint(event, 10, 31)
	if err != nil {
		return sinks.Command{}, fmt.Errorf(`event %.40q is no command; it must be "SEND" or a shard's number, such as "3"`, event)
	}
	if _, err := parseObject("data", data); err != nil {
		return sinks.Command{}, err
	}
	return sinks.Command{Shard: int(shard), Packet: data}, nil
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
