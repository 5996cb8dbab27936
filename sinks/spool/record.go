// This file puts events into bytes on the disk, and back.

package spool

import (
	"encoding/binary"
	"math"

	"sluice/internal/record"
	"sluice/sinks"
)

// A segment begins with magic and its number in 8 bytes, big-endian. Records follow, as package
// record has them, whose body is
//
//	1 byte    flags: 1 the event is a gap, 2 it says when its session began
//	…         shard and seq as uvarints, with flag 2 followed by when the session began;
//	          session and name with their length as a uvarint before them; what is left is
//	          the data
const (
	magic       = "sluice spool 1\n"
	segmentHead = len(magic) + 8
	flagGap     = 1
	flagBegan   = 2
	// maxRecord bounds a record: max_message may be 1 GiB.
	maxRecord = 1<<30 + 1<<20
)

func appendSegmentHead(dst []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, magic...), number)
}

// parseSegmentHead returns the number of a segment that begins with b.
func parseSegmentHead(b []byte) (number uint64, ok bool) {
	if len(b) < segmentHead || string(b[:len(magic)]) != magic {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[len(magic):]), true
}

// appendRecord appends an event's record.
func appendRecord(dst []byte, ev *sinks.Event) []byte {
	start := len(dst)
	flags := byte(0)
	if ev.Gap {
		flags |= flagGap
	}
	if ev.Began != 0 {
		flags |= flagBegan
	}
	dst = append(record.Begin(dst), flags)
	dst = binary.AppendUvarint(dst, uint64(ev.Shard))
	dst = binary.AppendUvarint(dst, uint64(ev.Seq))
	if ev.Began != 0 {
		dst = binary.AppendUvarint(dst, uint64(ev.Began))
	}
	dst = record.AppendText(dst, ev.Session)
	dst = record.AppendText(dst, ev.Type)
	return record.End(append(dst, ev.Data...), start)
}

// parseRecord returns the event of the record that b begins with, whose Type and Data are
// slices of b, and the record's size, as record.Next does.
func parseRecord(b []byte) (ev sinks.Event, size int, err error) {
	body, size, err := record.Next(b, maxRecord)
	if err != nil {
		return ev, size, err
	}
	f := record.Fields{Rest: body[1:]}
	shard, seq, began := f.Number(), f.Number(), uint64(0)
	if body[0]&flagBegan != 0 {
		began = f.Number()
	}
	ev = sinks.Event{Gap: body[0]&flagGap != 0, Shard: int(shard), Seq: int64(seq), Began: int64(began), Session: string(f.Text()), Type: f.Text()}
	ev.Data = f.Rest
	if body[0] > flagGap|flagBegan || f.Bad || shard > math.MaxInt32 || seq > math.MaxInt64 || began > math.MaxInt64 {
		return ev, 0, record.ErrDamaged
	}
	return ev, size, nil
}
