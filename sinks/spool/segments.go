// This file is the segments of a directory: the log that is written at one end and read at
// the other.

package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/failpoint"
	"sluice/internal/record"
	"sluice/sinks"
)

const (
	suffix       = ".spool"
	positionName = "position"
	positionSize = 20
	tailName     = "tail.bad" // what was cut off the end last
	// chunk is how much is read at a time.
	chunk = 1 << 20
)

// position is a place between two records.
type position struct {
	segment uint64
	offset  int64
}

// segment is a file.
type segment struct {
	number  uint64
	size    int64     // of its head and whole records, which are on the disk
	torn    bool      // more may be in its file
	left    bool      // by an earlier process,
	written time.Time // which wrote to it last then
}

// segments is the log. Its methods are called by one goroutine at a time, but for read.
type segments struct {
	disk  disk
	limit int64 // of a segment, after which the next begins
	log   *slog.Logger

	list     []segment // oldest first
	total    int64     // their bytes
	next     uint64    // number of the next one
	file     file      // the last one's; nil: the next event begins one
	position file      // of where to begin after a crash
	at       position  // what is before it is delivered
	buf      []byte
}

// openSegments looks at what is in a directory. The end of the last segment that is not a whole
// record is cut off, and logged. at is where to begin to read.
func openSegments(d disk, limit int64, log *slog.Logger) (l *segments, at position, err error) {
	l = &segments{disk: d, limit: limit, log: log}
	entries, err := d.entries()
	if err != nil {
		return nil, at, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(name, 16, 64)
		if err != nil {
			log.Warn("a file in the spool's directory is none of its segments; it is left alone", "file", e.Name())
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, at, err
		}
		l.list = append(l.list, segment{number: number, size: info.Size(), left: true, written: info.ModTime()})
		l.next = max(l.next, number+1)
	}
	slices.SortFunc(l.list, func(a, b segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	if err := l.cutTail(); err != nil {
		return nil, at, err
	}
	for _, s := range l.list {
		l.total += s.size
	}
	if l.position, err = d.edit(positionName); err != nil {
		return nil, at, err
	}
	at = l.loadPosition()
	l.next = max(l.next, at.segment+1) // a number is not used again
	l.at = at
	return l, at, nil
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, suffix) }

// cutTail cuts what follows the last whole record off the last segment: a crash has left it.
// What is in the middle of the log is looked at when it is read.
func (l *segments) cutTail() error {
	if len(l.list) == 0 {
		return nil
	}
	s := &l.list[len(l.list)-1]
	text, err := l.disk.read(segmentName(s.number))
	if err != nil {
		return err
	}
	whole := 0
	if number, ok := parseSegmentHead(text); ok && number == s.number {
		for whole = segmentHead; whole < len(text); {
			_, n, err := parseRecord(text[whole:])
			if err != nil {
				break
			}
			whole += n
		}
	}
	if whole == len(text) && whole > 0 {
		return nil
	}
	l.log.Warn("the last record of the spool is torn, as after a crash, and is cut off: Discord sends its events again",
		"segment", segmentName(s.number), "bytes", len(text)-whole, "kept_as", tailName)
	// In case it was something else than a crash.
	if err := l.disk.write(tailName, text[whole:]); err != nil {
		l.log.Warn("it could not be kept", "error", err)
	}
	s.size = int64(whole)
	if whole == 0 {
		l.list = l.list[:len(l.list)-1]
		return l.disk.remove(segmentName(s.number))
	}
	return l.trim(s)
}

// trim cuts off what is behind the whole records of a segment. It is synced: once another segment
// follows, it would be taken for damage.
func (l *segments) trim(s *segment) error {
	f, err := l.disk.edit(segmentName(s.number))
	if err != nil {
		return err
	}
	if err = f.Truncate(s.size); err == nil {
		err = f.Sync()
	}
	s.torn = err != nil
	return errors.Join(err, f.Close())
}

// loadPosition returns where to begin to read: at the oldest record that may not have been
// delivered.
func (l *segments) loadPosition() (at position) {
	if len(l.list) > 0 {
		at = position{l.list[0].number, int64(segmentHead)}
	}
	b := make([]byte, positionSize)
	if _, err := l.position.ReadAt(b, 0); err != nil || record.Sum(b[:16]) != binary.BigEndian.Uint32(b[16:]) {
		return at
	}
	known := position{binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))}
	l.next = max(l.next, known.segment+1)
	for _, s := range l.list {
		if s.number == known.segment && known.offset >= int64(segmentHead) && known.offset <= s.size {
			return known
		}
	}
	switch {
	case len(l.list) == 0:
		return position{known.segment, 0}
	case known.segment > l.list[len(l.list)-1].number:
		return l.end() // they could not be removed when they were delivered
	}
	return at
}

// delivered stores that what is before at is delivered, and removes the segments of which all
// is. Not synced: after a power cut some of it is delivered again.
func (l *segments) delivered(at position) {
	l.at = at
	b := binary.BigEndian.AppendUint64(nil, at.segment)
	b = binary.BigEndian.AppendUint64(b, uint64(at.offset))
	b = binary.BigEndian.AppendUint32(b, record.Sum(b))
	l.position.WriteAt(b, 0) // if it fails, some of it is delivered again
	for len(l.list) > 0 && (l.list[0].number < at.segment || at == l.end()) {
		s := l.list[0]
		if len(l.list) == 1 && l.file != nil {
			l.file.Close()
			l.file = nil
		}
		if err := l.disk.remove(segmentName(s.number)); err != nil {
			l.log.Warn("a segment of the spool that is delivered cannot be removed", "error", err)
		}
		l.total -= s.size
		l.list = l.list[1:]
	}
}

// isLeft reports whether an earlier process has left a segment.
func (l *segments) isLeft(number uint64) bool {
	return slices.ContainsFunc(l.list, func(s segment) bool { return s.number == number && s.left })
}

// begun returns where what is not delivered begins.
func (l *segments) begun() position {
	if first := l.list[0].number; l.at.segment < first {
		return position{first, int64(segmentHead)}
	}
	return l.at
}

// end returns the position behind the last record.
func (l *segments) end() position {
	if len(l.list) == 0 {
		return position{l.next, int64(segmentHead)}
	}
	s := l.list[len(l.list)-1]
	return position{s.number, s.size}
}

// encode puts records of the events into l.buf and returns their size.
func (l *segments) encode(events []sinks.Event) int64 {
	l.buf = l.buf[:0]
	for i := range events {
		l.buf = appendRecord(l.buf, &events[i])
	}
	return int64(len(l.buf))
}

// append writes what was encoded, all or nothing. It is on the disk when it returns.
func (l *segments) append() error {
	if l.file != nil && l.list[len(l.list)-1].size >= l.limit {
		l.file.Close() // which is synced
		l.file = nil
	}
	if n := len(l.list); n > 0 && l.list[n-1].torn {
		if err := l.trim(&l.list[n-1]); err != nil {
			return err
		}
	}
	if l.file == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	s := &l.list[len(l.list)-1]
	half := len(l.buf) / 2
	_, err := l.file.Write(l.buf[:half])
	failpoint.Hit("spool")
	if err == nil {
		_, err = l.file.Write(l.buf[half:])
	}
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		// What is on the disk behind its whole records is not known: nothing is added to it.
		err = errors.Join(err, l.file.Close())
		l.file, s.torn = nil, true
		return errors.Join(err, l.trim(s))
	}
	s.size += int64(len(l.buf))
	l.total += int64(len(l.buf))
	if cap(l.buf) > 4<<20 {
		l.buf = nil
	}
	return nil
}

// begin begins a segment.
func (l *segments) begin() error {
	name := segmentName(l.next)
	f, err := l.disk.create(name)
	if errors.Is(err, fs.ErrExist) { // an earlier try could neither begin it nor remove it
		if err = l.disk.remove(name); err == nil {
			f, err = l.disk.create(name)
		}
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(appendSegmentHead(nil, l.next)); err == nil {
		err = l.disk.sync()
	}
	if err != nil {
		return errors.Join(err, f.Close(), l.disk.remove(name))
	}
	l.file = f
	l.list = append(l.list, segment{number: l.next, size: int64(segmentHead)})
	l.total += int64(segmentHead)
	l.next++
	return nil
}

func (l *segments) close() error {
	err := l.position.Close()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return err
}

// cursor reads the log. It belongs to one goroutine.
type cursor struct {
	l      *segments
	at     position
	opened file   // the segment at
	number uint64 // of opened

	damaged int64 // segments
}

// read reads records into b until there are max of them, or chunk bytes of them. from is
// where they begin in which segments, as they were when the log was last looked at. It
// returns false if there are none.
func (c *cursor) read(b *batch, list []segment, max int) (bool, error) {
	for {
		i := slices.IndexFunc(list, func(s segment) bool { return s.number >= c.at.segment })
		if i < 0 {
			return false, nil
		}
		s := list[i]
		if s.number > c.at.segment {
			c.at = position{s.number, int64(segmentHead)}
		}
		if s.size < int64(segmentHead) && c.at.offset == int64(segmentHead) {
			c.setAside(s, record.ErrDamaged)
		}
		if c.at.offset >= s.size {
			if i == len(list)-1 {
				return false, nil
			}
			c.at = position{list[i+1].number, int64(segmentHead)}
			continue
		}
		done, err := c.fill(b, s, max)
		if err != nil && !errors.Is(err, record.ErrDamaged) {
			return false, err
		}
		if err != nil {
			c.setAside(s, err)
		}
		if done {
			return true, nil
		}
	}
}

// fill reads records of one segment.
func (c *cursor) fill(b *batch, s segment, max int) (bool, error) {
	if c.opened == nil || c.number != s.number {
		c.close()
		f, err := c.l.disk.open(segmentName(s.number))
		if err != nil {
			return false, err
		}
		c.opened, c.number = f, s.number
		head := make([]byte, segmentHead)
		if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
			return false, err
		}
		if number, ok := parseSegmentHead(head); !ok || number != s.number {
			return false, record.ErrDamaged
		}
	}
	want := min(chunk, s.size-c.at.offset)
	for {
		b.text = slices.Grow(b.text[:0], int(want))[:want]
		n, err := c.opened.ReadAt(b.text, c.at.offset)
		if int64(n) < want {
			if err == io.EOF {
				err = record.ErrDamaged // it is shorter than it was
			}
			return false, err
		}
		offset := 0
		for len(b.events) < max {
			ev, size, err := parseRecord(b.text[offset:])
			if err == record.ErrShort && len(b.events) == 0 && int64(size) > want && int64(size) <= s.size-c.at.offset {
				want = int64(size) // one that is larger than a chunk
				break
			}
			if err == record.ErrShort && (len(b.events) > 0 && c.at.offset+want < s.size || offset == len(b.text)) {
				break // the rest next time
			}
			if err != nil {
				c.at.offset += int64(offset)
				return len(b.events) > 0, record.ErrDamaged
			}
			b.events = append(b.events, ev)
			offset += size
		}
		if len(b.events) > 0 {
			c.at.offset += int64(offset)
			return true, nil
		}
	}
}

// setAside keeps what is left of a damaged segment, and goes on behind it.
func (c *cursor) setAside(s segment, err error) {
	c.damaged++
	name := segmentName(s.number)
	c.l.log.Error("a segment of the spool is damaged: what follows in it is lost to the consumers; it is kept",
		"segment", name, "offset", c.at.offset, "bytes", s.size-c.at.offset, "kept_as", name+".bad", "error", err)
	if text, err := c.l.disk.read(name); err != nil {
		c.l.log.Warn("it could not be kept", "error", err)
	} else if err := c.l.disk.write(name+".bad", text); err != nil {
		c.l.log.Warn("it could not be kept", "error", err)
	}
	c.at = position{s.number, max(s.size, int64(segmentHead)+1)}
}

func (c *cursor) close() {
	if c.opened != nil {
		c.opened.Close()
		c.opened = nil
	}
}
