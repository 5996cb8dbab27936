// This file orders the shards of a reader by when they are due.

package engine

import (
	"container/heap"
	"time"
)

// timers is a heap of shards, the earliest first. It belongs to one reader.
type timers []*loopShard

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due.Before(t[j].due) }

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].at, t[j].at = i, j
}

func (t *timers) Push(x any) {
	e := x.(*loopShard)
	e.at = len(*t)
	*t = append(*t, e)
}

func (t *timers) Pop() any {
	old := *t
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	e.at = -1
	return e
}

// set makes e due at that moment; the zero time takes it out.
func (t *timers) set(e *loopShard, due time.Time) {
	switch {
	case due.Equal(e.due):
		return
	case due.IsZero():
		heap.Remove(t, e.at)
		e.due = due
	case e.due.IsZero():
		e.due = due
		heap.Push(t, e)
	default:
		e.due = due
		heap.Fix(t, e.at)
	}
}
