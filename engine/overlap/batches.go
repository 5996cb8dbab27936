// This file takes the acknowledgements of the inner sink, which has a part of what Publish was given.

package overlap

import "sluice/sinks"

// batch is one of Publish, of which the inner sink has a part, or of Open.
type batch struct {
	left    int  // of those that the inner sink has not acknowledged
	dropped int  // that it was not given: they count as acknowledged when the others are
	own     bool // of Open
	events  []sinks.Event
}

// acknowledge takes acknowledgements of the inner sink: what came without the overlap is before all of it, or
// behind it if it is ending.
func (v *overlap) acknowledge(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := 0
	if !v.ending {
		before = min(n, int(v.f.inFlight.Load()))
		if v.passed(before); v.f.inFlight.Load() > 0 {
			return
		}
	}
	n -= before
	all := 0
	for len(v.batches) > 0 {
		b := &v.batches[0]
		k := min(n, b.left)
		b.left, n = b.left-k, n-k
		if b.own {
			for i := range v.own[:k] {
				v.shard(v.own[i].Shard).keep(-1)
			}
			clear(v.own[:k])
			v.own = v.own[k:]
		} else {
			all += k
		}
		if b.left > 0 {
			break
		}
		all += v.pop()
	}
	if all > 0 {
		v.f.acked(all)
	}
	v.passed(n)
}

// passed acknowledges what came without the overlap.
func (v *overlap) passed(n int) {
	if n > 0 {
		v.f.acked(n)
		v.f.inFlight.Add(int64(-n))
	}
}

// settle acknowledges the batches at the front of which the inner sink has nothing.
func (v *overlap) settle() {
	if v.f.inFlight.Load() > 0 && !v.ending {
		return
	}
	all := 0
	for len(v.batches) > 0 && v.batches[0].left == 0 {
		all += v.pop()
	}
	if all > 0 {
		v.f.acked(all)
	}
}

// pop takes out the first batch, and returns how many events it has dropped.
func (v *overlap) pop() (dropped int) {
	b := v.batches[0]
	if b.events != nil && len(v.spare) < 16 {
		clear(b.events)
		v.spare = append(v.spare, b.events[:0])
	}
	n := copy(v.batches, v.batches[1:])
	v.batches[n] = batch{}
	v.batches = v.batches[:n]
	return b.dropped
}

// slice returns an empty slice with room for n events.
func (v *overlap) slice(n int) []sinks.Event {
	if last := len(v.spare) - 1; last >= 0 && cap(v.spare[last]) >= n {
		s := v.spare[last]
		v.spare = v.spare[:last]
		return s
	}
	return make([]sinks.Event, 0, max(n, 64))
}

// fits reports whether there is room for a batch, whatever is to be kept of it. The lock is held.
func (v *overlap) fits(events []sinks.Event) bool {
	bytes := v.kept.bytes
	for i := range events {
		bytes += len(events[i].Type) + len(events[i].Data) + overhead
	}
	return v.kept.n+len(events) <= v.o.Events && bytes <= v.o.Bytes
}
