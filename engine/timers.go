// This file orders the shards of a loop by when they are due.

package engine

import "time"

// timers is a heap of shards, the earliest first. It belongs to one loop.
type timers []*loopShard

// set makes e due at that moment; the zero time takes it out.
func (t *timers) set(e *loopShard, due time.Time) {
	was := e.due
	if due.Equal(was) {
		return
	}
	e.due = due
	switch {
	case due.IsZero():
		t.remove(e.at)
	case was.IsZero():
		*t = append(*t, nil)
		t.up(len(*t)-1, e)
	default:
		t.down(t.up(e.at, e), e)
	}
}

// remove takes out the shard at i.
func (t *timers) remove(i int) {
	end := len(*t) - 1
	last := (*t)[end]
	(*t)[i].at = -1
	(*t)[end] = nil
	*t = (*t)[:end]
	if i < end {
		t.down(t.up(i, last), last)
	}
}

// up puts e at i, or above where it is due before those above, and returns where.
func (t timers) up(i int, e *loopShard) int {
	for i > 0 {
		above := (i - 1) / 2
		if !e.due.Before(t[above].due) {
			break
		}
		t.put(i, t[above])
		i = above
	}
	t.put(i, e)
	return i
}

// down puts e at i, or below where others are due before it.
func (t timers) down(i int, e *loopShard) {
	for {
		below := 2*i + 1
		if below+1 < len(t) && t[below+1].due.Before(t[below].due) {
			below++
		}
		if below >= len(t) || !t[below].due.Before(e.due) {
			break
		}
		t.put(i, t[below])
		i = below
	}
	t.put(i, e)
}

func (t timers) put(i int, e *loopShard) { t[i], e.at = e, i }
