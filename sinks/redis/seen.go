// This file keeps an event from being written again by the process that follows one which
// was killed: Discord sends it again, as nobody has said that it arrived.

package redis

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"sluice/engine"
)

// mark is the last event of a shard that is written behind a fence. The zero value is that
// of a shard of which nothing is known.
type mark struct {
	session string
	seq     int64  // endOfSession: nothing of the session follows
	before  string // the last sessions whose end was told of before this one, with commas; all of them is written
}

// keptBefore is how many: a process that was killed may have had as many gaps on their way.
const keptBefore = 3

// endOfSession is the seq of a gap, which comes after all of its session.
const endOfSession = math.MaxInt64

// markSeq returns the seq of the mark that an event leaves; ok: it leaves one.
func markSeq(ev *engine.Event) (seq int64, ok bool) {
	if ev.Gap {
		return endOfSession, true
	}
	return ev.Seq, ev.Seq > 0
}

// next returns the mark after an event of that seq.
func (m mark) next(session string, seq int64) mark {
	switch {
	case session == m.session:
		return mark{session, seq, m.before}
	case m.seq == endOfSession:
		before := m.session
		if m.before != "" {
			before = m.before + "," + before
			if strings.Count(before, ",") == keptBefore {
				_, before, _ = strings.Cut(before, ",")
			}
		}
		return mark{session, seq, before}
	}
	return mark{session, seq, m.before}
}

// covers reports whether the event is written, by what the mark says.
func (m mark) covers(ev *engine.Event) bool {
	seq, ok := markSeq(ev)
	return ok && (ev.Session == m.session && seq <= m.seq || m.before != "" && contains(m.before, ev.Session))
}

// contains reports whether session is in a list with commas.
func contains(list, session string) bool {
	for more := true; more; {
		var first string
		if first, list, more = strings.Cut(list, ","); first == session {
			return true
		}
	}
	return false
}

// append appends the mark as it is stored: the session, a colon, the seq or "gap", and, if
// there are some, a colon and the sessions before.
func (m mark) append(dst []byte) []byte {
	if m == (mark{}) {
		return dst
	}
	dst = append(append(dst, m.session...), ':')
	if m.seq == endOfSession {
		dst = append(dst, "gap"...)
	} else {
		dst = strconv.AppendInt(dst, m.seq, 10)
	}
	if m.before != "" {
		dst = append(append(dst, ':'), m.before...)
	}
	return dst
}

// parseMark returns what is stored. What is no mark is one that covers nothing.
func parseMark(text string) (m mark) {
	m.session, text, _ = strings.Cut(text, ":")
	text, m.before, _ = strings.Cut(text, ":")
	if text == "gap" {
		m.seq = endOfSession
	} else {
		m.seq, _ = strconv.ParseInt(text, 10, 64)
	}
	return m
}

// shardMarks are those of a shard behind a fence. They belong to the writer.
type shardMarks struct {
	stored mark // as Redis has it, as far as is known
	ahead  mark // as it is when the commands of this round are done
	round  int  // of ahead
	// The command, and where in its list of shards.
	command, index int
}

// marked is a shard in a command's list.
type marked struct {
	shard         int
	marks         *shardMarks
	before, after mark
}

// orderSize is the size of what the script is told of each entry, should it fail in the
// middle: the place of its shard in the list from 1 on, 0 for an event without seq, in 2
// bytes, and the seq as a float64, -1 for a gap.
const orderSize = 10

// list makes the list of shards of a command for entries of a group, at most n, and returns
// how many of them the command may have: a shard has one session in each. Those that are
// written already it takes out of the group. from is where the list begins in w.marked.
func (w *writer) list(g *group, n int) (count, from int) {
	from, order := len(w.marked), len(w.order)
	for {
		count, fresh := w.mark(g, min(n, len(g.keys)), from)
		if fresh {
			for i := range w.marked[from:] {
				m := &w.marked[from+i]
				m.marks.ahead = m.after
			}
			return count, from
		}
		for _, m := range w.marked[from:] {
			m.marks.command = -1
		}
		w.marked, w.order = w.marked[:from], w.order[:order]
		w.leaveOut(g)
	}
}

// mark adds the shards of the first n entries to the list that begins at from. It returns how
// many of them have one session for each shard, and false when it comes to one that
// is written already.
func (w *writer) mark(g *group, n, from int) (count int, fresh bool) {
	command := len(w.commands)
	last, s := -1, (*shardMarks)(nil)
	for i := range n {
		ev := &g.batch.events[g.entries[i]]
		seq, ok := markSeq(ev)
		if !ok {
			w.order = append(w.order, make([]byte, orderSize)...)
			continue
		}
		if ev.Shard != last {
			last, s = ev.Shard, g.fence.marks[ev.Shard]
			if s == nil {
				s = new(shardMarks)
				g.fence.marks[ev.Shard] = s
			}
			if s.round != w.round {
				s.round, s.ahead, s.command = w.round, s.stored, -1
			}
			if s.command != command {
				s.command, s.index = command, len(w.marked)-from
				w.marked = append(w.marked, marked{ev.Shard, s, s.ahead, s.ahead.next(ev.Session, seq)})
			}
		}
		at := &w.marked[from+s.index]
		if at.before.covers(ev) {
			return 0, false
		}
		if ev.Session != at.after.session {
			return i, true
		}
		at.after.seq = seq
		if seq == endOfSession {
			seq = -1
		}
		w.order = binary.LittleEndian.AppendUint16(w.order, uint16(s.index+1))
		w.order = binary.LittleEndian.AppendUint64(w.order, math.Float64bits(float64(seq)))
	}
	return n, true
}

// arguments returns what the script takes about the shards of the list from from on: their
// number, their ids, the marks before, and those after.
func (w *writer) arguments(from int) []string {
	list := w.marked[from:]
	args := w.args[:0]
	text := func(start int) string { return rueidis.BinaryString(w.arena[start:]) }
	number := func(n int) {
		start := len(w.arena)
		w.arena = strconv.AppendInt(w.arena, int64(n), 10)
		args = append(args, text(start))
	}
	number(len(list))
	for i := range list {
		number(list[i].shard)
	}
	for i := range list {
		start := len(w.arena)
		w.arena = list[i].before.append(w.arena)
		args = append(args, text(start))
	}
	for i := range list {
		start := len(w.arena)
		w.arena = list[i].after.append(w.arena)
		args = append(args, text(start))
	}
	w.args = args
	return args
}

// done notes that the first n of the sent entries are written.
func (w *writer) done(sent sentGroup, n int) {
	if sent.from == sent.to {
		return
	}
	if n == sent.n {
		for _, m := range w.marked[sent.from:sent.to] {
			m.marks.stored = m.after
		}
		return
	}
	for i := range n {
		ev := &sent.g.batch.events[sent.g.entries[i]]
		if seq, ok := markSeq(ev); ok {
			s := sent.g.fence.marks[ev.Shard]
			s.stored = s.stored.next(ev.Session, seq)
		}
	}
}

// learn takes the marks that Redis has.
func (w *writer) learn(f *fence, has []rueidis.RedisMessage) error {
	for _, s := range f.marks {
		s.stored = mark{}
	}
	for i := 0; i+1 < len(has); i += 2 {
		field, err := has[i].ToString()
		if err != nil {
			return err
		}
		value, err := has[i+1].ToString()
		if err != nil {
			return err
		}
		shard, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("the field %.20q is no shard", field)
		}
		if f.marks[shard] == nil {
			f.marks[shard] = new(shardMarks)
		}
		f.marks[shard].stored = parseMark(value)
	}
	return nil
}

// leaveOut takes the entries out of a group that are written already.
func (w *writer) leaveOut(g *group) {
	n := w.filter(g, func(ev *engine.Event, _ string) bool {
		s := g.fence.marks[ev.Shard]
		if s == nil {
			return true
		}
		if s.round != w.round {
			return !s.stored.covers(ev)
		}
		return !s.ahead.covers(ev)
	})
	w.s.repeated.Add(int64(n))
	w.alone = max(w.alone-n, 0)
}
