// This file keeps an event from being written again by the process that follows one which
// was killed: Discord sends it again, as nobody has said that it arrived.

package redis

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"sluice/sinks"
)

// position is the last event of a shard that is written behind an offset. The zero value is that
// of a shard of which nothing is known.
type position struct {
	session string
	seq     int64  // endOfSession: nothing of the session follows
	before  string // the last sessions whose gap was reported before this one, with commas; all of them is written
	began   int64  // Event.Began of the session, or of the last one before it that has one
	tag     tag    // who may write what follows; zero: a process that is in no fleet
	raw     string // what is stored, if it is no position: it covers nothing, and is replaced
}

// tag is whose a shard is, in a fleet: an event is written under its own tag alone. Since the script demands that
// the position before is what it was thought to be, that costs it nothing.
type tag struct {
	epoch int64  // Event.Epoch
	owner string // Options.Owner
}

// excludes reports whether an event of an owner may not be written any more: the shard is another's by
// now. A lower tag excludes nobody: nobody above it has claimed the shard, or Redis has forgotten that, as a
// failover may, and the event's owner was claimed above it.
func (t tag) excludes(ev *sinks.Event, owner string) bool {
	return t.epoch > ev.Epoch && ev.Epoch > 0 || t.epoch == ev.Epoch && t.epoch > 0 && t.owner != owner
}

// keptBefore is how many: a process that was killed may have had as many gaps in flight.
const keptBefore = 3

const (
	// endOfSession is the seq of a gap, which comes after all of its session.
	endOfSession = math.MaxInt64
	// maxSeq bounds the seq of a position, which the script has as a float64.
	maxSeq = 1 << 53
	// maxPosition bounds what is read as a position. Discord's session ids have 32 bytes.
	maxPosition = 64 << 10
)

// positionSeq returns the seq of the position that an event leaves; ok: it leaves one.
func positionSeq(ev *sinks.Event) (seq int64, ok bool) {
	if ev.Gap {
		return endOfSession, true
	}
	return ev.Seq, ev.Seq > 0 && ev.Seq <= maxSeq
}

// next returns the position after an event with that seq, of an owner.
func (m position) next(ev *sinks.Event, seq int64, owner string) position {
	n := position{session: ev.Session, seq: seq, before: m.before, began: cmp.Or(ev.Began, m.began)}
	if ev.Epoch > 0 {
		n.tag = tag{ev.Epoch, owner}
	}
	if m.seq == endOfSession && !m.same(ev) {
		n.before = escape(m.session)
		if m.before != "" {
			n.before = m.before + "," + n.before
			if strings.Count(n.before, ",") == keptBefore {
				_, n.before, _ = strings.Cut(n.before, ",")
			}
		}
	}
	return n
}

// tagged returns the position with another tag.
func (m position) tagged(epoch int64, owner string) position {
	m.tag, m.raw = tag{epoch, owner}, "" // which covers nothing, and is replaced
	return m
}

// same reports whether an event is of the position's session. A server may give the same id to
// two, which began at different times then.
func (m position) same(ev *sinks.Event) bool {
	return ev.Session == m.session && (ev.Began == 0 || ev.Began == m.began)
}

// covers reports whether the event is written, by what the position says. Nothing is of a session
// that began after all that is written, whatever its id.
func (m position) covers(ev *sinks.Event) bool {
	seq, ok := positionSeq(ev)
	switch {
	case !ok || ev.Began > m.began:
		return false
	case ev.Epoch > 0 && ev.Began > 0 && ev.Began < m.began: // of an older session: it would come behind a newer one's
		return true
	case ev.Session != m.session:
		return m.before != "" && contains(m.before, escape(ev.Session))
	case seq <= m.seq || !m.same(ev):
		return true
	}
	// The gap before a session with the id of the one that has ended.
	return ev.Gap && ev.Began == 0 && contains(m.before, escape(ev.Session))
}

// contains reports whether session is in a list with commas.
func contains(list, session string) bool {
	for more := list != ""; more; {
		var first string
		if first, list, more = strings.Cut(list, ","); first == session {
			return true
		}
	}
	return false
}

// Session ids are escaped in positions, of which they must not end a part; Discord's are of
// hexadecimal digits.
var (
	escaper   = strings.NewReplacer("%", "%25", ":", "%3A", ",", "%2C")
	unescaper = strings.NewReplacer("%25", "%", "%3A", ":", "%2C", ",")
)

func escape(session string) string {
	if strings.ContainsAny(session, "%:,") {
		return escaper.Replace(session)
	}
	return session
}

// append appends the position as it is stored: the session, a colon, the seq or "gap", and, if
// there are some, a colon and the sessions before, a colon and when the session began, a colon and the
// tag. A shard that was claimed before anything of it was written has a tag alone, and 0 for the seq.
func (m position) append(dst []byte) []byte {
	if m == (position{raw: m.raw}) {
		return append(dst, m.raw...)
	}
	dst = append(append(dst, escape(m.session)...), ':')
	if m.seq == endOfSession {
		dst = append(dst, "gap"...)
	} else {
		dst = strconv.AppendInt(dst, m.seq, 10)
	}
	tagged := m.tag != tag{}
	if m.before != "" || m.began != 0 || tagged {
		dst = append(append(dst, ':'), m.before...)
	}
	if m.began != 0 || tagged {
		dst = strconv.AppendInt(append(dst, ':'), m.began, 36)
	}
	if tagged {
		dst = m.tag.append(append(dst, ':'))
	}
	return dst
}

// append appends the tag as it is stored: the epoch, a dot, the owner.
func (t tag) append(dst []byte) []byte {
	return append(append(strconv.AppendInt(dst, t.epoch, 10), '.'), t.owner...)
}

func parseTag(text string) (t tag) {
	epoch, owner, _ := strings.Cut(text, ".")
	t.epoch, _ = strconv.ParseInt(epoch, 10, 64)
	t.owner = owner
	return t
}

// parsePosition returns what is stored. What no position would be stored as is raw.
func parsePosition(text string) (m position) {
	session, rest, _ := strings.Cut(text, ":")
	seq, rest, _ := strings.Cut(rest, ":")
	before, rest, _ := strings.Cut(rest, ":")
	began, tagged, _ := strings.Cut(rest, ":")
	m = position{session: unescaper.Replace(session), before: before, seq: endOfSession}
	if seq != "gap" {
		m.seq, _ = strconv.ParseInt(seq, 10, 64)
	}
	m.began, _ = strconv.ParseInt(cmp.Or(began, "0"), 36, 64)
	m.tag = parseTag(tagged)
	least := int64(1)
	if m.session == "" && m.tag.epoch > 0 {
		least = 0
	}
	if m.seq < least || m.seq > maxSeq && m.seq != endOfSession || m.began < 0 || m.tag.epoch < 1 && m.tag != (tag{}) || m.tag.epoch > maxSeq || string(m.append(nil)) != text {
		return position{raw: text}
	}
	return m
}

// shardPositions are those of a shard behind an offset. They belong to the writer.
type shardPositions struct {
	stored position // as Redis has it, as far as is known
	ahead  position // as it is when the commands of this round are done
	round  int      // of ahead
	// The command, and where in its list of shards.
	command, index int
	// The journal that the shard is in, by number, its record there, and what its field has then, which is stored but for the seq.
	journal, slot int
	field         position
}

// unsure reports whether an event must wait for the answer to those before it in this round: they are of a
// former ownership, so that they may be refused, and then do not cover this one.
func (s *shardPositions) unsure(ev *sinks.Event) bool {
	return s.ahead != s.stored && s.ahead.tag.epoch < ev.Epoch
}

// listed is a shard in a command's list.
type listed struct {
	shard         int
	positions     *shardPositions
	before, after position
}

// orderSize is the size of what the script gets of each entry, should it fail in the
// middle: the place of its shard in the list from 1 on, 0 for an event without seq, in 2
// bytes, and the seq as a float64, -1 for a gap.
const orderSize = 10

// list makes the list of shards of a command for entries of a group, at most n, and returns
// how many of them the command may have: a shard has one session in each. Those that are
// written already it takes out of the group. from is where the list begins in w.listed.
func (w *writer) list(g *group, n int) (count, from int) {
	from, order := len(w.listed), len(w.order)
	for {
		count, fresh := w.addShards(g, min(n, len(g.keys)), from)
		if fresh {
			for i := range w.listed[from:] {
				m := &w.listed[from+i]
				m.positions.ahead = m.after
			}
			return count, from
		}
		for _, m := range w.listed[from:] {
			m.positions.command = -1
		}
		w.listed, w.order = w.listed[:from], w.order[:order]
		w.leaveOut(g)
	}
}

// addShards adds the shards of the first n entries to the list that begins at from. It returns how
// many of them have one session for each shard, and false when it comes to one that
// is written already.
func (w *writer) addShards(g *group, n, from int) (count int, fresh bool) {
	command := len(w.commands)
	last, s := -1, (*shardPositions)(nil)
	for i := range n {
		ev := &g.batch.events[g.entries[i]]
		seq, ok := positionSeq(ev)
		if !ok && ev.Epoch == 0 {
			w.order = append(w.order, make([]byte, orderSize)...)
			continue
		}
		if ev.Shard != last {
			last, s = ev.Shard, g.offset.positions[ev.Shard]
			if s == nil {
				s = new(shardPositions)
				g.offset.positions[ev.Shard] = s
			}
			if s.round != w.round {
				s.round, s.ahead, s.command = w.round, s.stored, -1
			}
			if s.command != command {
				if s.unsure(ev) {
					return i, true
				}
				s.command, s.index = command, len(w.listed)-from
				after := s.ahead.next(ev, seq, w.s.o.Owner)
				if !ok {
					after = s.ahead.tagged(ev.Epoch, w.s.o.Owner)
				}
				w.listed = append(w.listed, listed{ev.Shard, s, s.ahead, after})
			}
		}
		at := &w.listed[from+s.index]
		if at.after.tag.epoch < ev.Epoch { // what is before it in this command may be refused
			return i, true
		}
		if at.before.covers(ev) || at.before.tag.excludes(ev, w.s.o.Owner) {
			return 0, false
		}
		if ok && !at.after.same(ev) || at.after.tag.epoch != ev.Epoch {
			return i, true
		}
		if !ok { // it leaves no position, but is its owner's to write
			w.order = append(w.order, make([]byte, orderSize)...)
			continue
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

// done notes that the first n of the sent entries are written.
func (w *writer) done(sent *sentGroup, n int) {
	if sent.from == sent.to {
		return
	}
	if n == sent.n {
		for _, m := range w.listed[sent.from:sent.to] {
			m.positions.stored = m.after
		}
		return
	}
	for i := range n {
		ev := &sent.g.batch.events[sent.g.entries[i]]
		if seq, ok := positionSeq(ev); ok {
			s := sent.g.offset.positions[ev.Shard]
			s.stored = s.stored.next(ev, seq, w.s.o.Owner)
		}
	}
}

// adopt takes the positions that Redis has of a command's shards. What is no position is logged; the next
// event of its shard replaces it.
func (w *writer) adopt(f *offset, shards []listed, has []rueidis.RedisMessage) {
	bad, example := 0, ""
	for i, s := range shards {
		value, err := has[i].ToString() // null: there is none
		if err != nil {
			value = ""
		}
		m := parsePosition(value)
		if m.raw != "" {
			bad, example = bad+1, strconv.Itoa(s.shard)+": "+value
		}
		s.positions.stored = m
	}
	if bad > 0 && w.repairs.allow() {
		w.s.o.Log.Error("Redis: what is no dedup position is in the hash of them; it is not trusted, and replaced with the next event",
			"key", f.positionsKey, "fields", bad, "example", fmt.Sprintf("%.80q", example))
	}
}

// leaveOut takes the entries out of a group that are written already, and those of shards that are another
// owner's by now.
func (w *writer) leaveOut(g *group) {
	excluded := 0
	n := w.filter(g, func(ev *sinks.Event, _ string) bool {
		s := g.offset.positions[ev.Shard]
		if s == nil {
			return true
		}
		at := &s.stored
		if s.round == w.round {
			at = &s.ahead
		}
		if at.tag.excludes(ev, w.s.o.Owner) {
			excluded++
			if w.s.o.Deposed != nil {
				w.s.o.Deposed(ev.Shard, ev.Epoch)
			}
			return false
		}
		return s.round == w.round && s.unsure(ev) || !at.covers(ev)
	})
	if n == 0 {
		return
	}
	w.progress()
	w.alone = max(w.alone-n, 0)
	if all := w.s.excluded.Add(int64(excluded)); excluded > 0 && w.excluded.allow() {
		w.s.o.Log.Warn("events are not written: their shards are another process's by now", "so_far", all)
	}
	if n == excluded {
		return
	}
	if all := w.s.repeated.Add(int64(n - excluded)); w.duplicates.allow() {
		w.s.o.Log.Info("duplicate events are left out: Redis has them already", "so_far", all)
	}
}
