// This file puts one event into bytes.

package stdio

import (
	"bytes"
	"strconv"

	"sluice/sinks"
	"sluice/sinks/broker"
	"sluice/sinks/msgpack"
)

// headroom is more than appendHead and appendTail add to an event with a plain
// name and session besides these; fleetroom what they add in a fleet besides, and its owner.
const (
	headroom  = 96
	fleetroom = 64
)

// appendHead appends what stands before the event's data, which is size bytes
// long. owner is Sink.Owner.
func (f Format) appendHead(dst []byte, ev *sinks.Event, owner string, size int) []byte {
	if f == MsgPack && ev.Epoch > 0 {
		return appendFleetMap(dst, ev, owner, size)
	}
	if f == MsgPack {
		dst = append(dst, "\x82\xa5event"...)
		dst = msgpack.AppendRaw(dst, ev.Type)
		dst = append(dst, "\xa4data"...)
		return msgpack.AppendRawHeader(dst, size)
	}
	session, seq := ev.Identity()
	dst = append(dst, `{"event":`...)
	dst = broker.AppendName(dst, ev.Type)
	dst = append(dst, `,"shard":`...)
	dst = strconv.AppendInt(dst, int64(ev.Shard), 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, `,"session":`...)
	dst = broker.AppendName(dst, session)
	if ev.Epoch > 0 {
		dst = append(dst, `,"epoch":`...)
		dst = strconv.AppendInt(dst, ev.Epoch, 10)
		dst = append(dst, `,"owner":`...)
		dst = broker.AppendName(dst, owner)
	}
	return append(dst, `,"data":`...)
}

// appendFleetMap is appendHead for MsgPack in a fleet: who follows epochs needs the event's shard and
// identity, too.
func appendFleetMap(dst []byte, ev *sinks.Event, owner string, size int) []byte {
	session, seq := ev.Identity()
	dst = append(dst, "\x87\xa5event"...)
	dst = msgpack.AppendRaw(dst, ev.Type)
	dst = append(dst, "\xa5shard"...)
	dst = msgpack.AppendUint(dst, uint64(ev.Shard))
	dst = append(dst, "\xa3seq"...)
	dst = msgpack.AppendUint(dst, uint64(seq))
	dst = append(dst, "\xa7session"...)
	dst = append(msgpack.AppendRawHeader(dst, len(session)), session...)
	dst = append(dst, "\xa5epoch"...)
	dst = msgpack.AppendUint(dst, uint64(ev.Epoch))
	dst = append(dst, "\xa5owner"...)
	dst = append(msgpack.AppendRawHeader(dst, len(owner)), owner...)
	dst = append(dst, "\xa4data"...)
	return msgpack.AppendRawHeader(dst, size)
}

// appendTail appends what stands behind the event's data.
func (f Format) appendTail(dst []byte) []byte {
	if f == MsgPack {
		return dst
	}
	return append(dst, "}\n"...)
}

// isMultiline reports whether text holds a byte that ends a line for a reader of
// lines.
func isMultiline(text []byte) bool {
	return bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0
}

// joinLines makes valid JSON, or any part of it, one line: the line feeds and
// carriage returns in it can only stand between tokens, where a space means the
// same.
func joinLines(text []byte) {
	for i, c := range text {
		if c == '\n' || c == '\r' {
			text[i] = ' '
		}
	}
}
