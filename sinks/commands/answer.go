// This file has what is written about commands: to the bot that waits for a reply, and to
// another process.

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

// AppendPacket appends the value that has a packet sent by the shard under whose number it
// comes, as the old gateway wrote it.
func AppendPacket(dst, packet []byte) []byte {
	return append(msgpack.AppendRawHeader(dst, len(packet)), packet...)
}
