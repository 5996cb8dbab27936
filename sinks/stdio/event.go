// This file makes a command of an event as the old gateway's brokers carry it.

package stdio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sluice/sinks"
	"strconv"
)

// DiscordjsCommands is the event under which RedisGateway of @discordjs/brokers sends
// commands: {"shardId":3,"payload":{"op":…,"d":…}}.
const DiscordjsCommands = "gateway_send"

// ParseEvent makes a command of an event that came from a broker: named SEND, or by
// the number of a shard, or DiscordjsCommands. Its value is one MessagePack value: a
// string that holds JSON, or a map. JSON text as it is will do too. The command's
// packet is a copy. The error says what is wrong and what would be right.
func ParseEvent(name string, value []byte) (sinks.Command, error) {
	if len(value) > maxItem {
		return sinks.Command{}, tooLong(len(value))
	}
	var item []byte
	if len(value) > 0 && value[0] == '{' {
		if !json.Valid(value) {
			return sinks.Command{}, errors.New("the value is not JSON")
		}
		item = value
	} else {
		head := append([]byte("\x81\xa4"), "data"...)
		r := &reader{br: bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), bytes.NewReader(value)), 512)}
		bad, err := r.readMap()
		if err != nil {
			return sinks.Command{}, errors.New("the value ends too soon for MessagePack")
		}
		if bad != nil {
			return sinks.Command{}, bad
		}
		if r.size != len(head)+len(value) {
			return sinks.Command{}, errors.New("something follows the MessagePack value")
		}
		text, err := appendJSONOf(nil, r.item)
		if err != nil {
			return sinks.Command{}, err
		}
		item = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte(`{"data":`)), []byte("}"))
	}
	if name == DiscordjsCommands {
		return parseDiscordjs(item)
	}
	quoted := strconv.AppendQuoteToASCII(nil, name)
	return parseCommand(fmt.Appendf(nil, `{"event":%s,"data":%s}`, quoted, item))
}

// parseDiscordjs makes a command of what RedisGateway sends.
func parseDiscordjs(item []byte) (c sinks.Command, err error) {
	fields, err := parseObject("the value", item)
	if err != nil {
		return c, err
	}
	if _, ok := fields["payload"]; !ok {
		return c, errors.New(`payload is missing; a command is {"shardId":0,"payload":{…}}`)
	}
	routes := map[string]json.RawMessage{"packet": fields["payload"]}
	if shard, ok := fields["shardId"]; ok {
		routes["shard"] = shard
	}
	return routed(routes)
}
