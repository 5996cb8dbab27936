// This file puts events into bytes on the disk, and back.

package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"sluice/sinks"
)

// A segment begins with magic and its number in 8 bytes, big-endian. Records follow:
//
//	4 bytes   length of the rest, big-endian
//	4 bytes   CRC-32C of the rest
//	1 byte    flags: 1 the event is a gap, 2 it says when its session began
//	…         shard and seq as uvarints, with flag 2 followed by when the session began;
//	          session and name with their length as a uvarint before them; what is left is
//	          the data
const (
	magic       = "sluice spool 1\n"
	segmentHead = len(magic) + 8
	recordHead  = 8
	flagGap     = 1
	flagBegan   = 2
	// maxRecord bounds a record: max_message may be 1 GiB.
	maxRecord = 1<<30 + 1<<20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, flags)
	dst = binary.AppendUvarint(dst, uint64(ev.Shard))
	dst = binary.AppendUvarint(dst, uint64(ev.Seq))
	if ev.Began != 0 {
		dst = binary.AppendUvarint(dst, uint64(ev.Began))
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(ev.Session))), ev.Session...)
	dst = append(binary.AppendUvarint(dst, uint64(len(ev.Type))), ev.Type...)
	dst = append(dst, ev.Data...)
	body := dst[start+recordHead:]
	binary.BigEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(body, castagnoli))
	return dst
}

var (
	// errShort is of a record that goes on behind the bytes at hand.
	errShort = errors.New("the record is not whole")
	// errDamaged is of one that is not what was written.
	errDamaged = errors.New("the record is damaged")
)

// parseRecord returns the event of the record that b begins with, whose Type and Data are
// slices of b, and the record's size. The size is set with errShort, too, once its
// head is there: so many bytes are needed.
func parseRecord(b []byte) (ev sinks.Event, size int, err error) {
	if len(b) < recordHead {
		return ev, 0, errShort
	}
	n := int(binary.BigEndian.Uint32(b))
	if n < 1 || n > maxRecord {
		return ev, 0, errDamaged
	}
	size = recordHead + n
	if len(b) < size {
		return ev, size, errShort
	}
	body := b[recordHead:size]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[4:]) || body[0] > flagGap|flagBegan {
		return ev, 0, errDamaged
	}
	f := fields{rest: body[1:]}
	shard, seq, began := f.number(), f.number(), uint64(0)
	if body[0]&flagBegan != 0 {
		began = f.number()
	}
	ev = sinks.Event{Gap: body[0]&flagGap != 0, Shard: int(shard), Seq: int64(seq), Began: int64(began), Session: string(f.text()), Type: f.text()}
	ev.Data = f.rest
	if f.bad || shard > math.MaxInt32 || seq > math.MaxInt64 || began > math.MaxInt64 {
		return ev, 0, errDamaged
	}
	return ev, size, nil
}

// fields reads the fields of a record. After one that is broken bad is set.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.rest)
	if size <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[size:]
	return n
}

func (f *fields) text() []byte {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad = true
		return nil
	}
	text := f.rest[:n:n]
	f.rest = f.rest[n:]
	return text
}
