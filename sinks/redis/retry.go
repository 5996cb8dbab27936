// This file is what the writer does after a failure, before it sends again what is pending.

package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/sinks"
)

// recover does what a failure asks for before what is pending is sent again.
func (w *writer) recover(ctx context.Context, f failure, err error) {
	if f != cut {
		w.cuts = 0
	}
	switch f {
	case unknown:
		if e := w.load(ctx); e != nil {
			pause(ctx, w.outage.Failed(explain(e)))
			return
		}
		w.again(ctx, &Error{ScriptUnknown, err})
	case behind: // a batch overtook one that failed, or what Redis has is known now
		w.again(ctx, err)
	case broken:
		w.again(ctx, &Error{KeysChanged, err})
	case replica:
		w.disconnect() // the address may lead to another server now
		pause(ctx, w.outage.Failed(&Error{NotMaster, err}))
	case cut:
		var dial *net.OpError
		var bad *ReplyError
		if errors.As(err, &bad) { // of what Redis has, or of a server that is none: no fault of an event
			w.cuts = 0
			pause(ctx, w.outage.Failed(err))
			break
		}
		if !(errors.As(err, &dial) && dial.Op == "dial") && w.runs(ctx) {
			w.cuts++
			if w.cuts >= suspicion || w.alone > 0 {
				w.suspect(err)
			}
		}
		pause(ctx, w.outage.Failed(explain(err)))
	case odd:
		w.disconnect() // the answers may be out of step
		pause(ctx, w.outage.Failed(&Error{NoScripts, err}))
	case refused:
		pause(ctx, w.outage.Failed(explain(err)))
	case entry:
		w.refusedEntry(ctx, err)
	}
	if w.fruitless%reconnectAfter == reconnectAfter-1 {
		w.disconnect() // what it has found out of the server may be wrong
	}
	w.fruitless++
}

// runs reports whether the server that the oldest group goes to runs the script, without entries:
// that it does not is no fault of an entry.
func (w *writer) runs(ctx context.Context) bool {
	g := w.first()
	if g == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	at := strconv.FormatInt(g.offset.written, 10)
	parts, err := w.client.Do(ctx, w.client.B().Arbitrary("EVALSHA", w.sha, "2").Keys(g.offset.key, g.offset.positionsKey).
		Args(at, at, "0", "", "", strconv.FormatInt(max(g.offset.written, g.offset.sent), 10), "", "", "", "", "", "0").Build()).ToArray()
	if err != nil {
		return false
	}
	_, _, _, ok := parseAnswer(&sentGroup{start: g.offset.written}, parts)
	return ok
}

// leastLimit is the least that an entry can be too large for: that of proto-max-bulk-len, and
// of client-query-buffer-limit.
const leastLimit = 1 << 20

// suspect has the entries sent one at a time, after connections have ended over
// them, and dead-letters the one over which they end then. What is small enough for any Redis is no
// reason for one to end a connection, so that it waits.
func (w *writer) suspect(err error) {
	if w.alone == 0 {
		for _, b := range w.pending {
			w.alone += len(b.events)
		}
		w.cuts = 0
		return
	}
	if w.tries++; w.tries < maxTries {
		return
	}
	g, size := w.first(), 0
	for _, arg := range g.args[:1+len(w.s.o.Fields)] {
		size += len(arg)
	}
	switch {
	case size >= leastLimit:
		w.giveUp(tooLarge, fmt.Errorf("the connection ends when it is sent: %w", err))
	case w.suspects.allow():
		ev := &g.batch.events[g.entries[0]]
		w.s.o.Log.Error("Redis closes the connection when this event is sent; retrying, as it is no larger than Redis takes",
			"event", string(ev.Type), "shard", ev.Shard, "seq", ev.Seq, "bytes", size, "error", err)
	}
}

// refusedEntry waits a moment for an entry that Redis refuses, and sets it aside
// when it has been tried often enough, and the key is indeed no stream. When that has happened to the
// stream before, what else is pending for it is dead-lettered with it: trying each of them would
// hold up all others.
func (w *writer) refusedEntry(ctx context.Context, err error) {
	w.alone = max(w.alone, 1) // the first of what is pending need not be the one
	name := w.first().keys[0]
	if time.Since(w.wrong[name]) < wrongFor {
		w.giveUpStream(name, err)
		return
	}
	if w.tries++; w.tries < maxTries {
		pause(ctx, 20*time.Millisecond<<w.tries)
		return
	}
	if strings.HasPrefix(err.Error(), wrongType) {
		switch typ, e := w.client.Do(ctx, w.client.B().Type().Key(name).Build()).ToString(); {
		case e != nil:
			pause(ctx, w.outage.Failed(explain(fmt.Errorf("redis: TYPE of stream %s: %w", name, e))))
			return
		case !slices.Contains(types, typ):
			pause(ctx, w.outage.Failed(err)) // it is a stream now, or something that refuses for other reasons
			return
		}
		w.wrong[name] = time.Now()
	}
	w.giveUp(reasonOfEntry(err.Error()), err)
}

// first returns the oldest group that is not written; nil: there is none.
func (w *writer) first() *group {
	for _, b := range w.pending {
		for i := range b.groups[:b.used] {
			if g := &b.groups[i]; len(g.keys) > 0 {
				return g
			}
		}
	}
	return nil
}

// giveUpStream dead-letters what is pending for a stream.
func (w *writer) giveUpStream(name string, err error) {
	for _, b := range w.pending {
		for i := range b.groups[:b.used] {
			w.filter(&b.groups[i], func(ev *sinks.Event, key string) bool {
				if key == name {
					w.s.deadLetter(ev, reasonOfEntry(err.Error()), fmt.Errorf("stream %s: %w", name, err))
				}
				return key != name
			})
		}
	}
	w.tries, w.alone = 0, 0
	w.progress()
	w.acknowledge()
}

// filter takes the entries out of a group that keep, which is given the event and the stream
// of each, does not want, and returns how many.
func (w *writer) filter(g *group, keep func(ev *sinks.Event, key string) bool) int {
	width := 1 + len(w.s.o.Fields)
	kept, tried := 0, g.tried
	for j, key := range g.keys {
		if !keep(&g.batch.events[g.entries[j]], key) {
			if j < tried {
				g.tried--
			}
			continue
		}
		g.keys[kept], g.entries[kept] = key, g.entries[j]
		copy(g.args[kept*width:], g.args[j*width:(j+1)*width])
		kept++
	}
	n := len(g.keys) - kept
	g.keys, g.entries, g.args = g.keys[:kept], g.entries[:kept], g.args[:kept*width]
	return n
}

// giveUp dead-letters the first entry that is pending.
func (w *writer) giveUp(reason string, err error) {
	w.tries, w.cuts = 0, 0
	w.progress()
	g := w.first()
	w.s.deadLetter(&g.batch.events[g.entries[0]], reason, fmt.Errorf("stream %s: %w", g.keys[0], err))
	w.drop(g, 1)
	w.alone = max(w.alone-1, 0)
	w.acknowledge()
}
