// This file confirms ownership before a connection is made.

package fleet

import (
	"context"
	"time"
)

// question is a shard whose ownership is to be confirmed.
type question struct {
	ownedShard
	done func(owned bool)
}

// Confirm asks whether a shard is owned under the epoch, or, of a new shard of a Reshard, whether the old ones of its class
// still are as they were when it was begun, and calls done on another goroutine once that
// is known, however long it takes, unless Run has returned. All questions that come while one is on
// its way are one.
func (f *Fleet) Confirm(shard int, epoch int64, done func(owned bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.part != nil {
		if old, is := f.part.epochsOf(shard, epoch); is {
			go f.confirmNew(shard, epoch, old, done)
			return
		}
	}
	f.ask(shard, epoch, done)
}

// ask is Confirm for a shard in force. mu is held.
func (f *Fleet) ask(shard int, epoch int64, done func(owned bool)) {
	f.asked = append(f.asked, question{ownedShard{shard, epoch}, done})
	if !f.asking {
		f.asking = true
		go f.confirm()
	}
}

// confirmNew confirms a new shard of a Reshard. If the old ones are not owned, that may be for it is in force by now.
func (f *Fleet) confirmNew(shard int, epoch int64, old map[int]int64, done func(owned bool)) {
	for wait := f.o.Beat / 10; ; wait = min(2*wait, f.o.Beat) {
		ctx, cancel := context.WithTimeout(f.life, callTimeout)
		lost, err := f.o.Coordinator.Confirm(ctx, f.current(), old)
		cancel()
		switch {
		case err == nil && len(lost) == 0:
			done(true)
			return
		case err == nil:
			f.mu.Lock()
			f.ask(shard, epoch, done)
			f.mu.Unlock()
			f.stir()
			return
		}
		if sleep(f.life, wait) != nil {
			return
		}
	}
}

// confirm answers questions until there are none.
func (f *Fleet) confirm() {
	for wait := time.Duration(0); ; {
		if sleep(f.life, wait) != nil {
			return
		}
		f.mu.Lock()
		now, me := f.asked, f.incarnation
		f.asked = nil
		if len(now) == 0 {
			f.asking = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		epochs := make(map[int]int64, len(now))
		var later []question // a shard under another epoch
		for i := 0; i < len(now); i++ {
			if e, twice := epochs[now[i].id]; twice && e != now[i].epoch {
				later = append(later, now[i])
				now = append(now[:i], now[i+1:]...)
				i--
				continue
			}
			epochs[now[i].id] = now[i].epoch
		}
		ctx, cancel := context.WithTimeout(f.life, callTimeout)
		lost, err := f.o.Coordinator.Confirm(ctx, me, epochs)
		cancel()
		if err != nil {
			wait = min(max(2*wait, f.o.Beat/10), f.o.Beat)
			later = append(later, now...)
		} else {
			wait = 0
			gone := make(map[int]bool, len(lost))
			for _, id := range lost {
				gone[id] = true
			}
			for _, q := range now {
				q.done(!gone[q.id])
				if gone[q.id] {
					f.Dropped(q.id, q.epoch)
				}
			}
		}
		f.mu.Lock()
		f.asked = append(later, f.asked...)
		f.mu.Unlock()
	}
}
