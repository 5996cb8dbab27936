// This file encodes the records of the file.

package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sluice/internal/record"
	"sluice/resume"
	"sluice/wire"
)

// magic begins the file.
const magic = "sluice sessions 1\n"

// The records that follow it are those of package record, whose body is
//
//	1 byte    kind
//	…         fields: numbers as uvarints, strings with their length before them
//
// recordCheckpoint has all fields of a shard's checkpoint, and replaces it.
// recordAdvance has a new seq and time of it, recordRemoval just the shard.
// recordStarts has the count and the time of Starts, recordPlan the fields of a Plan.
const (
	recordCheckpoint = iota + 1
	recordAdvance
	recordRemoval
	recordStarts
	recordPlan
)

func appendCheckpoint(dst []byte, shard int, c resume.Checkpoint) []byte {
	start := len(dst)
	dst = append(record.Begin(dst), recordCheckpoint)
	for _, n := range [...]uint64{
		uint64(shard), uint64(c.Seq), uint64(c.Shards), uint64(c.Intents), c.Bot, resume.Millis(c.At),
		uint64(c.Gaps[0].Seq), uint64(c.Gaps[0].At), uint64(c.Gaps[1].Seq), uint64(c.Gaps[1].At),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, s := range [...]string{c.ID, c.ResumeURL, c.Gaps[0].Session, c.Gaps[0].Reason, c.Gaps[1].Session, c.Gaps[1].Reason} {
		dst = record.AppendText(dst, s)
	}
	if c.Skip != "" { // earlier versions know no such field
		dst = record.AppendText(dst, c.Skip)
	}
	return record.End(dst, start)
}

// appendAdvance appends a checkpoint that differs from the last of its shard in seq
// and time alone.
func appendAdvance(dst []byte, shard int, c resume.Checkpoint) []byte {
	return appendNumbers(dst, recordAdvance, uint64(shard), uint64(c.Seq), resume.Millis(c.At))
}

func appendRemoval(dst []byte, shard int) []byte {
	return appendNumbers(dst, recordRemoval, uint64(shard))
}

func appendStarts(dst []byte, s resume.Starts) []byte {
	return appendNumbers(dst, recordStarts, uint64(s.Count), resume.Millis(s.Until))
}

func appendPlan(dst []byte, p resume.Plan) []byte {
	return appendNumbers(dst, recordPlan, uint64(p.Shards), uint64(p.Instead), p.Bot)
}

func appendNumbers(dst []byte, kind byte, numbers ...uint64) []byte {
	start := len(dst)
	dst = append(record.Begin(dst), kind)
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, n)
	}
	return record.End(dst, start)
}

// damage is what could not be read of a file.
type damage struct {
	bytes  int     // that are in no record
	errs   []error // of the records that hold what is not stored; their shards have nothing
	inside bool    // there are records behind the bytes
}

func (d *damage) none() bool { return d.bytes == 0 && len(d.errs) == 0 }

// scanBudget bounds what is read to find the next record behind damage.
const scanBudget = 64 << 20

// parseFile returns what the records of a file without its magic come to, and what is no
// record. A record that holds what cannot be stored costs its shard alone. Behind bytes that
// were torn, or damaged later, the next record counts again; but for those that advance a
// session, since what began it may be lost.
func parseFile(b []byte) (s resume.State, d damage) {
	s.Checkpoints = make(map[int]resume.Checkpoint)
	var begun map[int]bool // by a record behind the damage; nil: there is none
	budget := scanBudget
	for len(b) > 0 {
		body, n, err := record.Next(b, len(b))
		if err != nil {
			skipped := nextRecord(b, &budget)
			b, d.bytes, d.inside = b[skipped:], d.bytes+skipped, skipped < len(b)
			begun = make(map[int]bool)
			continue
		}
		b = b[n:]
		r := newFields(body)
		shard := r.count() // but for Starts and a Plan
		if begun != nil && !r.Bad {
			if body[0] == recordAdvance && !begun[shard] {
				continue // it is at least as far as before
			}
			begun[shard] = begun[shard] || body[0] == recordCheckpoint
		}
		if err := parseRecord(&s, body); err != nil {
			if body[0] != recordStarts && body[0] != recordPlan {
				delete(s.Checkpoints, shard)
			}
			d.errs = append(d.errs, err)
		}
	}
	return s, d
}

// nextRecord returns how many bytes come before the next record.
func nextRecord(b []byte, budget *int) int {
	for i := 1; i < len(b); i++ {
		if rest := b[i:]; len(rest) > record.Head && rest[0] == 0 && rest[1] == 0 && rest[record.Head] >= recordCheckpoint && rest[record.Head] <= recordPlan {
			if *budget -= min(int(binary.BigEndian.Uint32(rest)), resume.MaxSize); *budget < 0 {
				break
			}
			if _, _, err := record.Next(rest, resume.MaxSize); err == nil {
				return i
			}
		}
	}
	return len(b)
}

// parseRecord applies a record to s. The error says why it is none that could be written.
func parseRecord(s *resume.State, body []byte) error {
	r := newFields(body)
	switch body[0] {
	case recordCheckpoint:
		shard := r.count()
		c := resume.Checkpoint{Session: resume.Session{Seq: r.seq(), Shards: r.count()}, Intents: wire.Intents(r.Number()), Bot: r.Number(), At: r.time()}
		for i := range c.Gaps {
			c.Gaps[i].Seq, c.Gaps[i].At = r.seq(), r.seq()
		}
		c.ID, c.ResumeURL = r.text(), r.text()
		for i := range c.Gaps {
			c.Gaps[i].Session, c.Gaps[i].Reason = r.text(), r.text()
		}
		if len(r.Rest) > 0 {
			c.Skip = r.text()
		}
		if !r.done() {
			return fmt.Errorf("a field of the record of shard %d is damaged", shard)
		}
		c, err := resume.Check(shard, c)
		if err != nil {
			return fmt.Errorf("shard %d: %w", shard, err)
		}
		if c.Empty() {
			return fmt.Errorf("shard %d has a record of nothing", shard)
		}
		s.Checkpoints[shard] = c
	case recordAdvance:
		shard, seq, at := r.count(), r.seq(), r.time()
		if !r.done() {
			return fmt.Errorf("a field of the record of shard %d is damaged", shard)
		}
		if c, ok := s.Checkpoints[shard]; ok {
			c.Seq, c.At = seq, at
			c, err := resume.Check(shard, c)
			if err != nil {
				return fmt.Errorf("shard %d: %w", shard, err)
			}
			s.Checkpoints[shard] = c
		} // or its session could not be stored
	case recordRemoval:
		shard := r.count()
		if !r.done() {
			return fmt.Errorf("a field of the record of shard %d is damaged", shard)
		}
		delete(s.Checkpoints, shard)
	case recordStarts:
		starts := resume.Starts{Count: r.count(), Until: r.time()}
		if !r.done() {
			return errors.New("the count of session starts is damaged")
		}
		if err := starts.Check(); err != nil {
			return err
		}
		s.Starts = starts
	case recordPlan:
		plan := resume.Plan{Shards: r.count(), Instead: r.count(), Bot: r.Number()}
		if !r.done() {
			return errors.New("the shard count that the bot was resharded to is damaged")
		}
		if err := plan.Check(); err != nil {
			return err
		}
		s.Plan = plan
	default:
		return fmt.Errorf("a record of a kind that is not known, %d", body[0])
	}
	return nil
}

// fields reads the fields of a record.
type fields struct{ record.Fields }

func newFields(body []byte) fields { return fields{record.Fields{Rest: body[1:]}} }

// count returns a number of something that there can't be so many of.
func (f *fields) count() int {
	n := f.Number()
	f.Bad = f.Bad || n > 1<<31-1
	return int(n)
}

func (f *fields) seq() int64 {
	n := f.Number()
	f.Bad = f.Bad || n > 1<<63-1
	return int64(n)
}

func (f *fields) time() time.Time {
	n := f.Number()
	f.Bad = f.Bad || n > 1<<62
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n))
}

func (f *fields) text() string { return string(f.Text()) }

// done reports whether all fields were there, and no more.
func (f *fields) done() bool { return !f.Bad && len(f.Rest) == 0 }
