// This file is one overlap: what each generation has shown, and what goes out.

package overlap

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"
	"time"

	"sluice/sinks"
)

// phase is how far an overlap has come.
type phase int

const (
	compared phase = iota
	stopped
	sealed
	opened
	cancelled
)

// overlap is one of two generations.
type overlap struct {
	f     *Filter
	o     Options
	seed  maphash.Seed
	began time.Time

	publishing sync.Mutex // held while the inner sink is given a batch

	mu         sync.Mutex
	phase      phase
	turned     chan struct{} // closed with the next phase
	apart      []bool        // by class: it is not compared
	ending     bool          // what comes now passes as it does without an overlap
	differed   time.Duration // when it was last seen that one side shows what the other does not
	overflowed bool
	ahead      *table // shown by the older one alone
	kept       *table // shown by the next one alone, with copies
	status     Status
	shards     []shard // of the next generation, by id
	batches    []batch // given to the inner sink, or dropped, and not acknowledged; in order
	spare      [][]sinks.Event
	own        []sinks.Event // that Open has given to the sink; what is acknowledged is cut off
}

func (v *overlap) since() time.Duration { return time.Since(v.began) }

func (v *overlap) turn(p phase) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.since()
	switch v.enter(p); p {
	case stopped:
		v.overflowed = false
	case compared: // the older side was stopped, and shows now what it has missed
		v.differed = now
		v.kept.renew(now)
		v.ahead.renew(now)
	case cancelled:
		v.kept.clear()
		v.ahead.clear()
		v.shards = nil
	}
}

// enter is the one place that changes the phase. The lock is held.
func (v *overlap) enter(p phase) {
	v.phase = p
	close(v.turned)
	v.turned = make(chan struct{})
}

// alone reports whether events of this name belong to one session.
func alone(name []byte) bool {
	switch string(name) {
	case "READY", "RESUMED", "GUILD_MEMBERS_CHUNK":
		return true
	}
	return false
}

func (v *overlap) hash(ev *sinks.Event) uint64 {
	h := maphash.Bytes(v.seed, ev.Data) ^ bits.RotateLeft64(maphash.Bytes(v.seed, ev.Type), 21)
	if n := len(v.apart); n > 1 { // what two classes have alike are two events
		h += uint64(ev.Shard%n) * 0x9e3779b97f4a7c15
	}
	return h
}

// publish gives the inner sink what goes out of a batch.
func (v *overlap) publish(ctx context.Context, events []sinks.Event) error {
	v.publishing.Lock()
	defer v.publishing.Unlock()
	v.mu.Lock()
	for v.phase == sealed && !v.fits(events) {
		turned := v.turned
		v.mu.Unlock()
		v.publishing.Unlock() // to open
		var err error
		select {
		case <-turned:
		case <-ctx.Done():
			err = ctx.Err()
		}
		v.publishing.Lock()
		if err != nil {
			return err
		}
		v.mu.Lock()
	}
	if v.ending {
		if len(v.batches) == 0 { // all that is in flight came without an overlap
			v.f.now.CompareAndSwap(v, nil)
		}
		v.f.inFlight.Add(int64(len(events)))
		v.mu.Unlock()
		return v.f.Sink.Publish(ctx, events, v.f.ack)
	}
	now := v.since()
	v.expire(now)
	out, copied := events, []sinks.Event(nil)
	n := 0 // that go out
	for i := range events {
		goes := v.goes(&events[i], now)
		switch {
		case goes && copied != nil:
			copied = append(copied, events[i])
		case goes:
			n++
		case copied == nil:
			copied = append(v.slice(len(events)), events[:n]...)
		}
	}
	if copied != nil {
		out, n = copied, len(copied)
	}
	v.batches = append(v.batches, batch{left: n, dropped: len(events) - n, events: copied})
	if n == 0 {
		v.settle()
		v.mu.Unlock()
		return nil
	}
	v.mu.Unlock()
	return v.f.Sink.Publish(ctx, out, v.f.ack)
}

// goes reports whether an event goes out, and notes it. The lock is held.
func (v *overlap) goes(ev *sinks.Event, now time.Duration) bool {
	if v.phase == cancelled {
		return ev.Generation != v.o.Next
	}
	if ev.Generation != v.o.Next {
		if ev.Gap || alone(ev.Type) || v.isApart(ev) {
			return true
		}
		h := v.hash(ev)
		for {
			at, ok := v.kept.find(h)
			if !ok {
				break
			}
			i := &v.kept.items[at-1]
			s, kept := v.shard(i.event.Shard), mark{i.event.Session, i.event.Seq}
			passed := s.with(ev.Shard).next.behind(kept, now-i.at)
			v.kept.remove(at)
			s.keep(-1)
			if passed && v.phase == compared { // the older side has shown what came behind it
				v.status.Next++
				v.differed = now
				continue
			}
			s.shown(kept.session, kept.seq)
			s.with(ev.Shard).agree(mark{ev.Session, ev.Seq}, kept)
			v.status.Agreed++
			return true
		}
		if v.ahead.add(h, now, ev) {
			v.differs(now, &v.status.Older)
		}
		return true
	}
	if v.isApart(ev) {
		return v.phase == opened
	}
	s := v.shard(ev.Shard)
	starts := !ev.Gap && s.startsWith(ev.Type, now)
	if ev.Gap || alone(ev.Type) {
		if v.phase != opened && !ev.Gap {
			s.shown(ev.Session, ev.Seq)
		}
		return v.phase == opened
	}
	h := v.hash(ev)
	for {
		at, ok := v.ahead.find(h)
		if !ok {
			break
		}
		i := &v.ahead.items[at-1]
		pair, older := s.with(i.event.Shard), mark{i.event.Session, i.event.Seq}
		passed := pair.older.behind(older, now-i.at)
		v.ahead.remove(at)
		if passed { // this side has shown what came behind it
			v.status.Older++
			v.differed = now
			continue
		}
		s.shown(ev.Session, ev.Seq)
		pair.agree(older, mark{ev.Session, ev.Seq})
		v.status.Agreed++
		return false
	}
	if v.phase == opened {
		return true
	}
	if starts { // consumers have the guild of the older session
		s.shown(ev.Session, ev.Seq)
		return false
	}
	for v.kept.n > 0 && (v.kept.full() || v.kept.bytes+len(ev.Data) > v.o.Bytes) {
		v.giveUp()
		v.differs(now, &v.status.Next)
	}
	v.kept.keep(h, now, ev)
	s.keep(1)
	return false
}

// giveUp drops the oldest that is kept.
func (v *overlap) giveUp() {
	v.shard(v.kept.items[v.kept.front-1].event.Shard).keep(-1)
	v.kept.removeOldest()
}

// differs notes that something was given up for want of memory.
func (v *overlap) differs(now time.Duration, count *int64) {
	*count++
	v.status.Forgone++
	v.differed = now
	v.overflowed = true
}

// expire gives up what has waited for too long. The lock is held.
func (v *overlap) expire(now time.Duration) {
	for at, ok := v.ahead.oldest(); ok && now-at > v.o.Patience; at, ok = v.ahead.oldest() {
		v.ahead.removeOldest()
		v.status.Older++
		v.differed = now
	}
	if v.phase != compared {
		return
	}
	for at, ok := v.kept.oldest(); ok && now-at > v.o.Patience; at, ok = v.kept.oldest() {
		v.giveUp()
		v.status.Next++
		v.differed = now
	}
}

func (v *overlap) first(shard int, session string) (seq int64, ok bool) {
	for i := range v.own {
		if v.own[i].Shard == shard && v.own[i].Session == session {
			return v.own[i].Seq, true
		}
	}
	return v.kept.first(shard, session)
}

// open gives what is kept to the inner sink, in batches.
func (v *overlap) open(ctx context.Context) error {
	v.publishing.Lock()
	defer v.publishing.Unlock()
	v.mu.Lock()
	v.enter(opened)
	v.own = v.kept.take()
	own := v.own
	v.status.Opened = len(own)
	v.mu.Unlock()
	for len(own) > 0 {
		some := own[:min(len(own), 1024)]
		own = own[len(some):]
		v.mu.Lock()
		v.batches = append(v.batches, batch{left: len(some), own: true})
		v.mu.Unlock()
		if err := v.f.Sink.Publish(ctx, some, v.f.ack); err != nil {
			return err
		}
	}
	return nil
}

// end reports whether it has ended.
func (v *overlap) end() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.expire(v.since())
	switch {
	case v.ending:
	case v.phase == cancelled, v.phase == opened && v.ahead.n == 0:
		if v.f.inFlight.Load() > 0 { // from before the overlap, and so before batches
			return false
		}
		v.ending = true
	default:
		return false
	}
	if len(v.batches) == 0 && v.f.inFlight.Load() == 0 {
		v.f.now.CompareAndSwap(v, nil)
	}
	return v.f.now.Load() != v
}
