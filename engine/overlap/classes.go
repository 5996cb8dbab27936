// This file is which shards are compared, where not all of a bot are here.

package overlap

import "sluice/sinks"

// Compare has the events of a shard's class compared from now on.
func (f *Filter) Compare(shard int) {
	v := f.now.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.apart) > 0 {
		v.apart[shard%len(v.apart)] = false
	}
}

// Leave ends that, and forgets what was noted of the class: of the older generation all goes out, of the next one nothing
// before Open.
func (f *Filter) Leave(shard int) {
	v := f.now.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.apart) == 0 {
		return
	}
	class := shard % len(v.apart)
	v.apart[class] = true
	v.forget(func(ev *sinks.Event) bool { return ev.Shard%len(v.apart) == class })
	v.ahead.removeAll(func(ev *sinks.Event) bool { return ev.Shard%len(v.apart) == class })
}

// Forget forgets what is kept of a shard, if that is of the next generation: another process gets it again.
func (f *Filter) Forget(generation int32, shard int) {
	if v := f.now.Load(); v != nil && v.o.Next == generation {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.forget(func(ev *sinks.Event) bool { return ev.Shard == shard })
	}
}

// forget forgets what is kept that is so. The lock is held.
func (v *overlap) forget(is func(ev *sinks.Event) bool) {
	v.kept.removeAll(func(ev *sinks.Event) bool {
		if !is(ev) {
			return false
		}
		v.shard(ev.Shard).keep(-1)
		return true
	})
}

// isApart reports whether an event is of a class that is not compared. The lock is held.
func (v *overlap) isApart(ev *sinks.Event) bool {
	return len(v.apart) > 0 && v.apart[ev.Shard%len(v.apart)]
}
