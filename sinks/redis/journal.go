// This file keeps the cost of a batch from growing with the shards in it. A process that alone writes the positions does not
// have Redis compare and write those of all shards each time, but one mark, and one text.
//
// The hash of positions has two more fields then: "writer", which names the journal's writer, and "journal", a record for each of its
// shards: the shard, a checksum of the shard's own field, and the seq that has taken the place of the one in that field, 0 for none.
// A shard's position is that of its field, with the seq of the journal if there is one and the checksum is right.
//
// It is safe for these reasons:
//
//   - What a batch of the writer needs to know is that the positions are what it has left. It was the last to write them if the
//     offset is where it has left it, so that Redis has forgotten nothing, and if "writer" is its own name: all else that
//     writes a position, a batch of somebody else or a claim, finds another name there than it expects, and first folds the journal
//     into the fields and takes the name out, in the same step. The name is never used again.
//   - A shard comes into the journal with a batch that compares and writes its own field. So one of another process, which may
//     still be in flight, finds that field other than it expects, even if it is of a version that knows no journal.
//   - The field's session and all else but the seq change only with the field. If a version that knows no journal writes it, after
//     a crash, the checksum is wrong, and the field counts alone. Folding twice, or in part, does no harm for the same reason.
//   - Whatever is not answered as expected, the writer gives up its name. The next batch compares all fields again.
//
// In a fleet nothing is in a journal: members of a version that knows none claim shards by their fields.

package redis

import (
	"crypto/sha1" // of which Redis has a function, too
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// foldFunction is Lua: fold(key) writes what the journal of a hash of positions says into the fields of the shards, and takes the
// journal, and its writer's name, out.
const foldFunction = `
local function fold(key)
  local journal = redis.call('HMGET', key, 'journal')[1] or ''
  for p = 1, math.min(#journal, 16 * 65536) - 15, 16 do
    local shard, sum, seq = struct.unpack('<I4I4d', journal, p)
    if seq > 0 and seq <= 9007199254740992 and seq % 1 == 0 then
      local field = string.format('%.0f', shard)
      local at = redis.call('HMGET', key, field)[1]
      if at and tonumber(string.sub(redis.sha1hex(at), 1, 8), 16) == sum then
        local session, rest = string.match(at, '^([^:]*:)%d+(.*)$')
        if session then redis.call('HSET', key, field, session .. string.format('%.0f', seq) .. rest) end
      end
    end
  end
  redis.call('HSET', key, 'writer', '', 'journal', '')
end
`

const (
	// journalFrom is how many shards a batch must have for a journal to be begun: the fields of fewer cost little.
	journalFrom = 16
	// maxJournal is how many shards a journal may have, which is written with each batch: for more, their fields cost less.
	maxJournal = 2048
	// recordSize is the size of a record: 4 bytes of the shard, 4 of the checksum, and the seq as a float64.
	recordSize = 16
	// journalPause is how long none is begun after one was lost to others.
	journalPause = 10 * time.Second
)

// journal is that of an offset's positions. The zero value is one that is not begun. It belongs to the writer, and is as it
// will be when the commands of this round are done.
type journal struct {
	writer  string // "": not begun
	begun   int    // how many were
	records []byte
	until   time.Time // when one may be begun again
}

// forget gives the journal up, so that the next one is another writer's.
func (j *journal) forget() {
	j.writer, j.records = "", j.records[:0]
}

// lose gives it up since others write positions as well, such as a process that runs other shards of the bot. If both had a journal,
// each would have the other's folded all the time.
func (j *journal) lose() {
	j.forget()
	j.until = time.Now().Add(journalPause)
}

// has reports whether a shard is in the journal.
func (j *journal) has(s *shardPositions) bool { return j.writer != "" && s.journal == j.begun }

// seq returns the seq of a record.
func (j *journal) seq(slot int) []byte { return j.records[slot*recordSize+8:][:8] }

// setSeq sets it.
func (j *journal) setSeq(slot int, seq int64) {
	binary.LittleEndian.PutUint64(j.seq(slot), math.Float64bits(float64(seq)))
}

// enter notes that the field of a shard has this text.
func (j *journal) enter(shard int, s *shardPositions, text []byte) {
	if !j.has(s) {
		s.journal, s.slot = j.begun, len(j.records)/recordSize
		j.records = binary.LittleEndian.AppendUint32(j.records, uint32(shard))
		j.records = append(j.records, make([]byte, recordSize-4)...)
	}
	sum := sha1.Sum(text)
	binary.LittleEndian.PutUint32(j.records[s.slot*recordSize+4:], binary.BigEndian.Uint32(sum[:4]))
	j.setSeq(s.slot, 0)
}

// moves reports whether the list's shards are all in the journal, and nothing but their seqs changes.
func (j *journal) moves(list []listed) bool {
	if j.writer == "" || len(list) == 0 {
		return false
	}
	for i := range list {
		m := &list[i]
		moved := m.before
		moved.seq = m.after.seq
		if !j.has(m.positions) || m.before.seq == endOfSession || m.after.seq == endOfSession || m.after != moved {
			return false
		}
	}
	return true
}

// arguments returns what the script takes about the shards of the list from from on, and the entries' order: the journal's writer before
// and after, the journal, how to undo its change, the order, the number of shards, their ids, the positions before, and those after. moves: only
// the journal's seqs change, and the script knows nothing of the list.
func (w *writer) arguments(f *offset, from int, order []byte) (all []string, moves bool) {
	list, j := w.listed[from:], &f.journal
	args := w.args[:0]
	take := func(start int) string { return rueidis.BinaryString(w.arena[start:]) }
	copied := func(text []byte) string {
		w.arena = append(w.arena, text...)
		return take(len(w.arena) - len(text))
	}
	number := func(n int) {
		start := len(w.arena)
		w.arena = strconv.AppendInt(w.arena, int64(n), 10)
		args = append(args, take(start))
	}
	if j.moves(list) {
		start := len(w.arena)
		for i := range list {
			s := list[i].positions
			w.arena = append(binary.LittleEndian.AppendUint16(w.arena, uint16(s.slot)), j.seq(s.slot)...)
			j.setSeq(s.slot, list[i].after.seq)
		}
		undo := take(start)
		w.args = append(args, j.writer, j.writer, copied(j.records), undo, rueidis.BinaryString(order), "0")
		return w.args, true
	}
	was, before := j.writer, ""
	switch {
	case len(list) == 0:
		w.args = append(args, "", "", "", "", rueidis.BinaryString(order), "0")
		return w.args, false
	case len(f.positions) > maxJournal || w.s.o.Owner != "":
		// Without it: Redis folds one that there is.
		j.forget()
		was = ""
	case j.writer != "":
		before = copied(j.records)
	case len(list) >= journalFrom && time.Now().After(j.until):
		j.begun++
		j.writer = w.s.id + "." + strconv.Itoa(j.begun)
	}
	args = append(args, was, j.writer, "", before, rueidis.BinaryString(order))
	number(len(list))
	for i := range list {
		number(list[i].shard)
	}
	for i := range list {
		start, s := len(w.arena), list[i].positions
		if m := &list[i].before; j.has(s) {
			w.arena = s.field.append(w.arena)
		} else {
			w.arena = m.append(w.arena)
		}
		args = append(args, take(start))
	}
	for i := range list {
		start, s := len(w.arena), list[i].positions
		w.arena = list[i].after.append(w.arena)
		args = append(args, take(start))
		if j.writer != "" {
			j.enter(list[i].shard, s, w.arena[start:])
			s.field = list[i].after
		}
	}
	if j.writer != "" {
		args[2] = copied(j.records)
	}
	w.args = args
	return args, false
}
