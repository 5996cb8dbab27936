// This file holds the commands that wait for a shard: bounded, in order, those that
// make an earlier one obsolete in its place, equal ones once, and paced where Discord
// drops or refuses what comes too fast.

package engine

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sinks"
	"sluice/wire"
)

const (
	// Presence updates beyond 5 in 20 s are dropped by Discord in silence. A
	// second more, here and below: the later one may travel faster.
	presenceLimit  = 5
	presenceWindow = 21 * time.Second
	// Requests for all members of a guild are answered once in 30 s.
	allMembersPause = 31 * time.Second

	// The pending commands of all shards have commandMemory bytes, shared equally. A
	// shard has minCommandMemory at least.
	commandMemory    = 128 << 20
	minCommandMemory = 256 << 10
	// commandOverhead is what a pending command costs beside its packet.
	commandOverhead = 192
)

// commandShare returns the bytes that the commands of one of so many shards may take.
func commandShare(shards int) int64 {
	return int64(max(commandMemory/max(shards, 1), minCommandMemory))
}

// waitingCommand is a command in the queue.
type waitingCommand struct {
	wire.Command
	added  time.Time
	packet []byte // owned by the queue, then by the caller of next
	sent   []fate // of it and of those that were equal to it
}

// fate is who wants to know what becomes of a command: its Sent and Dropped, of which one at least is set.
type fate struct{ sent, dropped func() }

// known reports whether anybody does.
func (f fate) known() bool { return f.sent != nil || f.dropped != nil }

// then returns a fate after which f is called as well.
func (t fate) then(f func()) fate {
	also := func(g func()) func() {
		return func() {
			if g != nil {
				g()
			}
			f()
		}
	}
	return fate{also(t.sent), also(t.dropped)}
}

// done says that the command is sent, or obsolete.
func (w *waitingCommand) done() {
	for _, f := range w.sent {
		if f.sent != nil {
			f.sent()
		}
	}
}

// drop gives the command back: it is not sent.
func (w *waitingCommand) drop() {
	for _, f := range w.sent {
		if f.dropped != nil {
			f.dropped()
		}
	}
}

// commandQueue is a shard's waiting commands. Any goroutine may add; the
// reader takes.
type commandQueue struct {
	mu    sync.Mutex
	limit int           // of commands, those counted that were merged and have Sent
	share *atomic.Int64 // bytes that it may take; nil: no bound
	// replaced counts commands that are obsolete, or equal to one that waits; nil: nobody counts them.
	replaced *atomic.Int64
	waiting  []waitingCommand
	merged   int
	bytes    int
	closed   error // why none is added any more; nil: they are
	// idle is until when none of waiting may be sent; zero: it is not known.
	idle time.Time

	// What was sent lately, for pacing. A reconnect does not reset it: the
	// limits are Discord's for the bot, or end up with the same session.
	presences []time.Time          // at most presenceLimit, oldest first
	requested map[uint64]time.Time // at most what is sent in allMembersPause
}

// add appends a command, or merges it with one that waits:
//
//   - A presence replaces the pending one (last write wins).
//   - A voice state replaces the last pending one of its guild if that is a join: a
//     join or a leave makes it obsolete. A leave is never dropped: Discord ignores a join of the
//     channel in which the bot is.
//   - Any command but a presence that is equal to a pending one, byte for byte, is sent
//     once with it; a voice state only to the last one of its guild.
//
// It keeps packet.
func (q *commandQueue) add(c wire.Command, packet []byte, sent fate) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	w := waitingCommand{Command: c, added: time.Now(), packet: packet}
	if sent.known() {
		w.sent = []fate{sent}
	}
	replaced := -1
	switch c.Op {
	case wire.OpPresenceUpdate:
		replaced = slices.IndexFunc(q.waiting, func(o waitingCommand) bool { return o.Op == c.Op })
	case wire.OpVoiceStateUpdate:
		last := q.lastVoice(c.Guild, len(q.waiting))
		if last >= 0 && bytes.Equal(q.waiting[last].packet, packet) {
			return q.merge(last, sent)
		}
		if last >= 0 && !q.waiting[last].Leave {
			replaced = last
			before := q.lastVoice(c.Guild, last)
			if c.Leave && before >= 0 && bytes.Equal(q.waiting[before].packet, packet) {
				// Leave, join, leave: the second leave is the first.
				if err := q.merge(before, sent); err != nil {
					return err
				}
				q.remove(last).done()
				q.countReplaced()
				return nil
			}
		}
	default:
		same := slices.IndexFunc(q.waiting, func(o waitingCommand) bool {
			return o.Op == c.Op && bytes.Equal(o.packet, packet)
		})
		if same >= 0 {
			return q.merge(same, sent)
		}
	}
	count, size := len(q.waiting)+q.merged, len(packet)+commandOverhead
	if replaced >= 0 {
		old := &q.waiting[replaced]
		count -= max(len(old.sent), 1)
		size -= len(old.packet) + commandOverhead
	}
	if count >= q.limit || q.share != nil && size > 0 && q.bytes+size > int(q.share.Load()) {
		return fmt.Errorf("%w: %d commands of %d bytes wait", sinks.ErrQueueFull, len(q.waiting)+q.merged, q.bytes)
	}
	q.bytes += size
	q.idle = time.Time{}
	if replaced < 0 {
		q.waiting = append(q.waiting, w)
		return nil
	}
	q.merged -= max(len(q.waiting[replaced].sent)-1, 0)
	q.waiting[replaced].done()
	q.waiting[replaced] = w
	q.countReplaced()
	return nil
}

func (q *commandQueue) countReplaced() {
	if q.replaced != nil {
		q.replaced.Add(1)
	}
}

// pending returns how many commands wait, those not counted that are sent with an equal one.
func (q *commandQueue) pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// close has every command refused that is added from now on, and returns those that wait, which it drops.
func (q *commandQueue) close(reason error) (dropped []waitingCommand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dropped = q.waiting
	q.closed, q.waiting, q.merged, q.bytes = reason, nil, 0, 0
	return dropped
}

// lastVoice returns the last voice state of a guild among the first n, or -1.
func (q *commandQueue) lastVoice(guild uint64, n int) int {
	for i := n - 1; i >= 0; i-- {
		if w := &q.waiting[i]; w.Op == wire.OpVoiceStateUpdate && w.Guild == guild {
			return i
		}
	}
	return -1
}

// merge has sent called with what the command at i has.
func (q *commandQueue) merge(i int, sent fate) error {
	if !sent.known() {
		q.countReplaced()
		return nil
	}
	w := &q.waiting[i]
	if len(w.sent) > 0 {
		if len(q.waiting)+q.merged >= q.limit {
			return fmt.Errorf("%w: %d commands wait, %d of them for equal ones", sinks.ErrQueueFull, len(q.waiting)+q.merged, q.merged)
		}
		q.merged++
	}
	w.sent = append(w.sent, sent)
	q.countReplaced()
	return nil
}

// remove takes the command at i out of the queue.
func (q *commandQueue) remove(i int) *waitingCommand {
	w := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.bytes -= len(w.packet) + commandOverhead
	q.merged -= max(len(w.sent)-1, 0)
	if len(q.waiting) == 0 {
		q.waiting = nil // a flood's memory is given back
	}
	return &w
}

// putBack takes commands again that next has returned and that were not written: they
// go before the others.
func (q *commandQueue) putBack(unwritten []*waitingCommand) {
	if len(unwritten) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := make([]waitingCommand, 0, len(unwritten)+len(q.waiting))
	for _, w := range unwritten {
		waiting = append(waiting, *w)
		q.bytes += len(w.packet) + commandOverhead
		q.merged += max(len(w.sent)-1, 0)
	}
	q.waiting = append(waiting, q.waiting...)
	q.idle = time.Time{}
}

// next removes and returns the first command that may be sent now, to be followed by
// done when it is. Without one it returns nil and when to ask again; the zero time
// means not before another add.
func (q *commandQueue) next(now time.Time) (w *waitingCommand, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.idle) {
		return nil, q.idle
	}
	for i := range q.waiting {
		w := &q.waiting[i]
		at := q.notBefore(w, now)
		if at.After(now) {
			if again.IsZero() || at.Before(again) {
				again = at
			}
			continue
		}
		q.note(w, now)
		return q.remove(i), time.Time{}
	}
	q.idle = again
	return nil, again
}

// notBefore returns the earliest moment for w by its own pacing.
func (q *commandQueue) notBefore(w *waitingCommand, now time.Time) time.Time {
	switch {
	case w.Op == wire.OpPresenceUpdate && len(q.presences) == presenceLimit:
		return q.presences[0].Add(presenceWindow)
	case w.AllMembers:
		if last, ok := q.requested[w.Guild]; ok {
			return last.Add(allMembersPause)
		}
	}
	return now
}

// note remembers that w is sent.
func (q *commandQueue) note(w *waitingCommand, now time.Time) {
	switch {
	case w.Op == wire.OpPresenceUpdate:
		if len(q.presences) == presenceLimit {
			q.presences = slices.Delete(q.presences, 0, 1)
		}
		q.presences = append(q.presences, now)
	case w.AllMembers:
		for guild, last := range q.requested {
			if now.Sub(last) >= allMembersPause {
				delete(q.requested, guild)
			}
		}
		if q.requested == nil {
			q.requested = make(map[uint64]time.Time)
		}
		q.requested[w.Guild] = now
	}
}

// shard returns which shard of so many sends a command that was one's: that of its guild, or one of the same id.
func (w *waitingCommand) shard(id, shards int) int {
	guild := w.Guild
	if guild == 0 && len(w.Guilds) > 0 {
		guild = w.Guilds[0]
	}
	if guild == 0 {
		return id % shards
	}
	return wire.ShardOf(guild, shards)
}
