// This file asks for permission to identify, where others give it.

package engine

import (
	"context"
	"time"
)

// permitFor is how long a permission may be used, and how long the process may have been stopped when it
// comes: it may have waited as long to be read.
const permitFor = 500 * time.Millisecond

// permits asks for them.
type permits struct {
	ask func(ctx context.Context, shard int) error // Options.Permit
	ctx context.Context
	run func(func()) // on a goroutine
}

// permit is the permission of a bucket's holder.
type permit struct {
	cancel context.CancelFunc
	at     time.Time // when it came; zero: it has not
}

// valid reports whether the permission may be used.
func (p *permit) valid(now time.Time) bool {
	return p != nil && !p.at.IsZero() && now.Sub(p.at) < permitFor
}

func (p *permit) end() {
	if p != nil {
		p.cancel()
	}
}

// permitted returns the zero time if the holder of a bucket may identify; else it asks, and returns a time long
// after the answer. q.mu is held.
func (q *identifyQueue) permitted(b *identifyBucket, now time.Time) time.Time {
	if b.permit.valid(now) {
		return time.Time{}
	}
	if b.permit == nil || !b.permit.at.IsZero() { // not asked yet, or too late
		b.permit.end()
		ctx, cancel := context.WithCancel(q.permits.ctx)
		p, w := &permit{cancel: cancel}, b.holder
		b.permit = p
		q.permits.run(func() {
			defer cancel()
			if at, ok := q.permits.wait(ctx, w.shard%turnStride); ok {
				q.mu.Lock()
				p.at = at
				q.mu.Unlock()
				w.granted()
			}
		})
	}
	return now.Add(time.Hour)
}

// wait asks until there is a permission that was not read late, and returns when it came; false: ctx is done.
// One that was asked for before the process was stopped is not waited for any more: it may have come meanwhile,
// whenever it is read.
func (p *permits) wait(ctx context.Context, shard int) (time.Time, bool) {
	tick := time.NewTicker(permitFor / 4)
	defer tick.Stop()
	for ctx.Err() == nil {
		asking, cancel := context.WithCancel(ctx)
		answer := make(chan error, 1)
		last := time.Now()
		p.run(func() { answer <- p.ask(asking, shard) })
		for stopped := false; !stopped; {
			var err error
			answered := false
			select {
			case err = <-answer:
				answered = true
			case <-tick.C:
			}
			now := time.Now()
			stopped = now.Sub(last) >= permitFor
			last = now
			if answered && !stopped {
				cancel()
				return now, err == nil && ctx.Err() == nil
			}
		}
		cancel()
	}
	return time.Now(), false
}
