// This file answers the bot that waits for a reply to its command.

package commands

import "sluice/sinks/msgpack"

// AppendReply appends what a bot reads about its command, in MessagePack: {"ok":true},
// or {"ok":false,"error":"…"}.
func AppendReply(dst []byte, err error) []byte {
	if err == nil {
		return append(dst, "\x81\xa2ok\xc3"...)
	}
	return msgpack.AppendString(append(dst, "\x82\xa2ok\xc2\xa5error"...), []byte(err.Error()))
}
