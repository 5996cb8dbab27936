// This file repairs the sink's own keys: the offset and the positions, which a failover, an emptied
// server or a foreign hand may have made something else.

package redis

import (
	"context"
	"slices"
	"strconv"
	"time"
)

// restore sets an offset that Redis has in an older state to what it was.
func (w *writer) restore(ctx context.Context, f *offset, text string) {
	had, _ := strconv.ParseInt(text, 10, 64)
	switch {
	case !w.mends(f):
	case had > 0:
		w.s.undone.Add(f.written - had)
		w.s.o.Log.Error("Redis has lost entries that it had acknowledged; not published again: a replica that lagged behind took over", "entries", f.written-had)
	case w.forgotten.allow():
		w.s.o.Log.Warn("Redis has no offset of this sink: it was emptied or restarted without its data, or has had no event for a day")
	}
	w.setOffset(ctx, f)
}

// mendOffset sets an offset that nobody of ours has written: no number, a number above all that
// was ever sent, or not even a string. What is pending is not counted as written by it.
func (w *writer) mendOffset(ctx context.Context, f *offset, value string) {
	if w.mends(f) && w.repairs.allow() {
		w.s.o.Log.Error("Redis: the offset was changed by somebody else; it is repaired, and nothing counts as written by it",
			"key", f.key, "value", clip(value), "want", f.written)
	}
	w.setOffset(ctx, f)
}

// setOffset sets an offset to what was acknowledged. If that fails, the next round finds so.
func (w *writer) setOffset(ctx context.Context, f *offset) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := w.client.Do(ctx, w.client.B().Set().Key(f.key).Value(strconv.FormatInt(f.written, 10)).ExSeconds(86400).Build()).Error()
	if err != nil {
		w.mendErr = err
	}
}

// mendPositions removes a key that is no hash, as TYPE must confirm. The offset still keeps this
// process from repeating events; those of the process before are not known any more.
func (w *writer) mendPositions(ctx context.Context, f *offset) {
	if !w.mends(f) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	typ, err := w.client.Do(ctx, w.client.B().Type().Key(f.positionsKey).Build()).ToString()
	if err == nil && slices.Contains(types, typ) && typ != "hash" {
		if w.repairs.allow() {
			w.s.o.Log.Error("Redis: the key of the dedup positions is no hash; it is removed, and made anew", "key", f.positionsKey, "type", typ)
		}
		err = w.client.Do(ctx, w.client.B().Del().Key(f.positionsKey).Build()).Error()
	}
	if err != nil {
		w.mendErr = err
	}
}

// types are what TYPE may say of a key that is no stream.
var types = []string{"string", "list", "set", "zset", "hash"}

// mends notes that an offset, or its positions, is repaired, and returns false if it was in this round.
func (w *writer) mends(f *offset) bool {
	first := f.mended != w.round
	f.mended = w.round
	return first
}

// again goes on after a round in which something was not as it was thought. Some in a row are
// followed at once, for each mends something; then there is a pause, and a line in the log.
func (w *writer) again(ctx context.Context, err error) {
	if w.fruitless >= quickTries {
		if w.mendErr != nil {
			err = w.mendErr
		}
		pause(ctx, w.outage.Failed(explain(err)))
	}
	w.mendErr = nil
}

// clip shortens a value for the log.
func clip(value string) string {
	if len(value) > 80 {
		return value[:80] + "…"
	}
	return value
}

// limit allows a line of the log each minute.
type limit struct{ last time.Time }

func (l *limit) allow() bool {
	if time.Since(l.last) < time.Minute {
		return false
	}
	l.last = time.Now()
	return true
}
