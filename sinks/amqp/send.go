// This file sends what the window holds over one link.

package amqp

import (
	"errors"
	"time"

	"sluice/sinks/window"
)

const (
	// Bounds of what is sent with one write.
	maxBatch = 512
	maxWrite = 256 << 10
	// keptBuffer bounds the memory that is kept for the next write.
	keptBuffer = 1 << 20
	// Bounds of the wait after the broker has refused a message.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Why a broker that is connected takes no events.
var (
	errRefused = errors.New("the broker refuses an event (basic.nack), as for a queue that is full")
	errSilent  = errors.New("the broker confirms nothing")
)

// serve sends events over l, which is new, until it fails, or Close.
func (r *runner) serve(l *link) error {
	before := r.window.Look(false).Tail
	since := time.Now()
	lasted := time.NewTimer(steady)
	defer lasted.Stop()
	tick := time.NewTicker(r.stuckAfter)
	defer tick.Stop()
	stuck := before // the first place not acknowledged at the last tick
	retry, refusedAt := firstRetry, uint64(window.None)
	again := func(at uint64) { // waits, longer each time at the same event
		if at != refusedAt {
			retry, refusedAt = firstRetry, at
		}
		r.rest(l, retry)
		retry = min(2*retry, lastRetry)
	}
	for {
		if err := l.failure(); err != nil {
			return err
		}
		if r.ctx.Err() != nil {
			return nil
		}
		watch := r.away || r.down
		p := r.window.Look(watch)
		watch = watch || p.Poisoned != window.None || p.Tail < r.single
		if watch {
			p = r.window.Look(true)
		}
		if p.Tail > before || time.Since(since) >= steady {
			r.recovered(time.Since(since))
		}
		r.back(p.Tail, p.Head == p.Tail && time.Since(since) >= steady)
		switch {
		case p.Refused != window.None:
			if !r.down {
				r.lost(time.Now(), errRefused)
			}
			// As a queue with overflow reject-publish does. What was behind it may have been taken. One at a time, what is sent again
			// gets no more out of order.
			r.single = p.Tried
			r.lines.warn("RabbitMQ refuses an event (basic.nack); retrying", "pending", p.Head-p.Tail)
			again(p.Tail)
			r.window.Rewind()
			continue
		case p.Tail == p.Poisoned && p.Sent == p.Tail:
			r.deadLetter()
			continue
		case l.blocked.Load():
		case p.Tail < r.single && p.Sent > p.Tail:
		default:
			most := maxBatch
			if p.Tail < r.single {
				most = 1
			}
			if n, err := r.send(l, most); err != nil {
				r.rest(l, closeTimeout) // the broker's last words may say more
				l.fail(err)
				continue
			} else if n > 0 {
				continue
			}
		}
		select {
		case <-r.window.Woken():
		case <-lasted.C:
		case <-tick.C:
			p := r.window.Look(watch)
			r.stuck(l, p, p.Tail == stuck)
			stuck = p.Tail
		case <-l.failed:
		case <-r.ctx.Done():
		}
	}
}

// stuck logs that the broker takes nothing, or confirms nothing of what was sent a
// while ago.
func (r *runner) stuck(l *link, p window.Places, still bool) {
	_, n, since := r.window.Oldest()
	at := r.blockedAt.Load()
	switch {
	case at != 0 && l.blocked.Load():
		r.o.Log.Warn("RabbitMQ still blocked; buffering events",
			"for", time.Since(time.Unix(0, at)).Round(time.Second), "waiting", n)
	case still && p.Sent > p.Tail:
		r.lost(since, errSilent)
		r.o.Log.Warn("RabbitMQ confirms nothing; buffering events", "for", time.Since(since).Round(time.Second), "waiting", n)
	}
}

// rest waits while l is good.
func (r *runner) rest(l *link, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.failed:
	case <-r.ctx.Done():
	}
}

// send sends the next events, most at most, and returns how many.
func (r *runner) send(l *link, most int) (n int, err error) {
	r.scratch = r.window.Next(r.scratch[:0], most)
	if len(r.scratch) == 0 {
		return 0, nil
	}
	buf := r.buf[:0]
	r.largest = 0
	l.enc.refresh(&r.o)
	for n < len(r.scratch) && len(buf) < maxWrite {
		var err error
		if buf, err = l.enc.append(buf, r.scratch[n]); err != nil {
			r.reason = err
			r.window.Poison(r.window.Look(true).Sent + uint64(n))
			break
		}
		r.largest = max(r.largest, l.enc.size)
		n++
	}
	clear(r.scratch)
	if n == 0 {
		return 1, nil // the first is poisoned: see to it
	}
	r.figures.Batch(n, r.window.Sending(n))
	err = l.tap.publish(buf)
	if r.buf = buf; cap(buf) > keptBuffer {
		r.buf = nil
	}
	return n, err
}

// deadLetter gives up the poisoned event, and acknowledges it.
func (r *runner) deadLetter() {
	ev, _, _ := r.window.Oldest()
	r.o.Log.Error("RabbitMQ refuses an event for good; dead-lettered", "event", string(ev.Type), "shard", ev.Shard,
		"session", ev.Session, "seq", ev.Seq, "bytes", len(ev.Data), "reason", r.reason)
	r.figures.DeadLetter(ev, reasonOf(r.reason), r.reason)
	r.window.Drop()
}
