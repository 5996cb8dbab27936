// This file encodes the records of the file.

package resume

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"sluice/engine"
	"sluice/wire"
)

// magic begins the file.
const magic = "sluice sessions 1\n"

// A record is
//
//	4 bytes   length of the rest, big-endian
//	4 bytes   CRC-32C of the rest
//	1 byte    kind
//	…         fields: numbers as uvarints, strings with their length before them
//
// recordCheckpoint has all fields of a shard's checkpoint, and replaces it.
// recordAdvance has a new seq and time of it, recordRemoval just the shard.
// recordStarts has the count and the time of Starts.
const (
	recordCheckpoint = iota + 1
	recordAdvance
	recordRemoval
	recordStarts
)

const (
	recordHead = 8
	// maxRecord bounds a record: a session id has 32 bytes, an address less than 100.
	maxRecord = 4 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// endRecord completes the record that begins at start.
func endRecord(dst []byte, start int) []byte {
	body := dst[start+recordHead:]
	binary.BigEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(body, castagnoli))
	return dst
}

func beginRecord(dst []byte, kind byte) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, kind)
}

func appendCheckpoint(dst []byte, shard int, c Checkpoint) []byte {
	start := len(dst)
	dst = beginRecord(dst, recordCheckpoint)
	for _, n := range [...]uint64{
		uint64(shard), uint64(c.Seq), uint64(c.Shards), uint64(c.Intents), c.Bot, uint64(c.At.UnixMilli()),
		uint64(c.Gaps[0].Seq), uint64(c.Gaps[0].At), uint64(c.Gaps[1].Seq), uint64(c.Gaps[1].At),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, s := range [...]string{c.ID, c.ResumeURL, c.Gaps[0].Session, c.Gaps[0].Reason, c.Gaps[1].Session, c.Gaps[1].Reason} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return endRecord(dst, start)
}

// appendAdvance appends a checkpoint that differs from the last of its shard in seq
// and time alone.
func appendAdvance(dst []byte, shard int, c Checkpoint) []byte {
	return appendNumbers(dst, recordAdvance, uint64(shard), uint64(c.Seq), uint64(c.At.UnixMilli()))
}

func appendRemoval(dst []byte, shard int) []byte {
	return appendNumbers(dst, recordRemoval, uint64(shard))
}

func appendStarts(dst []byte, s engine.Starts) []byte {
	return appendNumbers(dst, recordStarts, uint64(s.Count), uint64(s.Until.UnixMilli()))
}

func appendNumbers(dst []byte, kind byte, numbers ...uint64) []byte {
	start := len(dst)
	dst = beginRecord(dst, kind)
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, n)
	}
	return endRecord(dst, start)
}

// parseFile returns what the records of a file without its magic come to, and how many of
// its bytes are whole records. What follows those was torn, or damaged later.
func parseFile(b []byte) (s State, whole int) {
	s.Checkpoints = make(map[int]Checkpoint)
	for {
		rest := b[whole:]
		if len(rest) < recordHead {
			return s, whole
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n < 1 || n > maxRecord || n > len(rest)-recordHead {
			return s, whole
		}
		body := rest[recordHead : recordHead+n]
		if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(rest[4:]) || !parseRecord(&s, body) {
			return s, whole
		}
		whole += recordHead + n
	}
}

// parseRecord applies a record to s. It reports whether it is one.
func parseRecord(s *State, body []byte) bool {
	r := fields{rest: body[1:]}
	switch body[0] {
	case recordCheckpoint:
		shard := r.count()
		c := Checkpoint{Session: engine.Session{Seq: r.seq(), Shards: r.count()}, Intents: wire.Intents(r.number()), Bot: r.number(), At: r.time()}
		for i := range c.Gaps {
			c.Gaps[i].Seq, c.Gaps[i].At = r.seq(), r.seq()
		}
		c.ID, c.ResumeURL = r.text(), r.text()
		for i := range c.Gaps {
			c.Gaps[i].Session, c.Gaps[i].Reason = r.text(), r.text()
		}
		if r.done() && !c.empty() {
			s.Checkpoints[shard] = c
			return true
		}
	case recordAdvance:
		shard, seq, at := r.count(), r.seq(), r.time()
		if c, ok := s.Checkpoints[shard]; ok && r.done() {
			c.Seq, c.At = seq, at
			s.Checkpoints[shard] = c
			return true
		}
	case recordRemoval:
		if shard := r.count(); r.done() {
			delete(s.Checkpoints, shard)
			return true
		}
	case recordStarts:
		if starts := (engine.Starts{Count: r.count(), Until: r.time()}); r.done() {
			s.Starts = starts
			return true
		}
	}
	return false
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

// count returns a number of something that there can't be so many of.
func (f *fields) count() int {
	n := f.number()
	f.bad = f.bad || n > 1<<31-1
	return int(n)
}

func (f *fields) seq() int64 {
	n := f.number()
	f.bad = f.bad || n > 1<<63-1
	return int64(n)
}

func (f *fields) time() time.Time {
	n := f.number()
	f.bad = f.bad || n > 1<<62
	return time.UnixMilli(int64(n))
}

func (f *fields) text() string {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad = true
		return ""
	}
	s := string(f.rest[:n])
	f.rest = f.rest[n:]
	return s
}

// done reports whether all fields were there, and no more.
func (f *fields) done() bool { return !f.bad && len(f.rest) == 0 }
