// This file holds the commands that wait for a shard: bounded, in order, the
// newest presence and voice state in place of the older, and paced where
// Discord drops or refuses what comes too fast.

package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/wire"
)

// ErrQueueFull is returned by Send when a shard's command queue is full.
var ErrQueueFull = errors.New("the shard's command queue is full")

const (
	// Presence updates beyond 5 in 20 s are dropped by Discord in silence. A
	// second more, here and below: the later one may travel faster.
	presenceLimit  = 5
	presenceWindow = 21 * time.Second
	// Requests for all members of a guild are answered once in 30 s.
	allMembersPause = 31 * time.Second
)

// waitingCommand is a command in the queue.
type waitingCommand struct {
	wire.Command
	packet []byte // owned by the queue, then by the caller of next
	sent   func() // Command.Sent, or nil
}

// commandQueue is a shard's waiting commands. Any goroutine may add; the
// reader takes.
type commandQueue struct {
	mu      sync.Mutex
	limit   int
	waiting []waitingCommand

	// What was sent lately, for pacing. A reconnect does not reset it: the
	// limits are Discord's for the bot, or end up with the same session.
	presences []time.Time // at most presenceLimit, oldest first
	requested map[string]time.Time
}

// add appends a command, or puts it in the place of a waiting one that it makes
// obsolete. It keeps packet.
func (q *commandQueue) add(c wire.Command, packet []byte, sent func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.Op == wire.OpPresenceUpdate || c.Op == wire.OpVoiceStateUpdate {
		for i := range q.waiting {
			if w := &q.waiting[i]; w.Op == c.Op && w.Guild == c.Guild {
				if w.sent != nil {
					w.sent()
				}
				w.packet, w.sent = packet, sent
				return nil
			}
		}
	}
	if len(q.waiting) >= q.limit {
		return fmt.Errorf("%w: %d commands wait", ErrQueueFull, len(q.waiting))
	}
	q.waiting = append(q.waiting, waitingCommand{c, packet, sent})
	return nil
}

// next removes and returns the first command that may be sent now, and what to call
// when it is. Without one it returns nil and when to ask again; the zero time
// means not before another add.
func (q *commandQueue) next(now time.Time) (packet []byte, sent func(), again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
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
		packet, sent = w.packet, w.sent
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return packet, sent, time.Time{}
	}
	return nil, nil, again
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
			q.requested = make(map[string]time.Time)
		}
		q.requested[w.Guild] = now
	}
}
