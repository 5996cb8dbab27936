// This file queues the shards that have to identify: by bucket, in the order of
// their ids, within Discord's daily budget.

package engine

import (
	"slices"
	"sync"
	"time"

	"sluice/resume"
	"sluice/wire"
)

// identifyWindow is the pause between two Identifies of a bucket: Discord's
// 5 s, and a quarter of a second because the later one may travel faster.
const identifyWindow = 5*time.Second + 250*time.Millisecond

// countedAfter is how long Discord may take to count an Identify in what it says remains: the
// answer to a question may be older than what was sent meanwhile.
const countedAfter = 10 * time.Second

// IdentifyQueue hands out the turns to Identify, by the ids of the shards, to which resume.MaxShards is added for each shard count that
// the bot has had before: those of the older one come first. A bucket
// (shard % resume.MaxShards % max_concurrency) has one shard at a time that holds a turn, so that the connection of
// the next is made while the window of the last one passes; no turn is given beyond the daily budget.
// All methods may be called by any goroutine, and wait for nothing.
type IdentifyQueue interface {
	// Join asks for a turn; granted is called when it has come, and when NotBefore has become earlier.
	Join(shard int, granted func())
	// Leave gives up the shard's turn or place, if it has one. It is called at the end of every connection,
	// also of one that resumed.
	Leave(shard int)
	// NotBefore returns when the holder of a turn may send its Identify. It is asked when the shard
	// is connected, and again when that time has come.
	NotBefore(shard int) time.Time
	// Spend counts the holder's Identify, which is sent now if it returns true, and ends its turn. False: the turn
	// is not the shard's any more, or nothing is left of the budget. The shard then closes its connection, and joins again.
	Spend(shard int, now time.Time) bool
	// Left returns how many Identifies may still be sent before the budget's reset.
	Left() int
}

// IdentifyReporter is an IdentifyQueue that can be looked into: Engine.Status has what it says.
type IdentifyReporter interface {
	// Status may be called by any goroutine.
	Status() IdentifyStatus
}

// identifyQueue is the IdentifyQueue of one process.
type identifyQueue struct {
	mu          sync.Mutex
	buckets     []identifyBucket
	concurrency int // how many there are to be: another max_concurrency waits until no turn is out

	// The daily budget (session_start_limit). Discord resets the token when it
	// is overdrawn, so no turn is given while nothing is left.
	limited   bool // the budget is known
	assumed   bool // though nobody has said it
	remaining int
	total     int
	reserve   int // of remaining, for others than this process
	resetAt   time.Time
	unsettled []time.Time // Identifies that Discord may not have counted yet
	less      bool        // remaining is less than Discord has said, for unsettled
	counted   bool        // Identifies were sent since Discord said what remains
	starts    resume.Starts
	pending   int // turns given out whose Identify has not been sent
	timer     *time.Timer
	renewal   *time.Timer // until the budget's window has ended; nil: there has been none
	closed    bool
	permits   *permits // nil: Options.Permit is

	onEmpty func(until time.Time) // called when turns wait for the budget's reset
	onReset func()                // begins to ask for the new budget; called with mu held; nil: nobody knows it
}

type identifyBucket struct {
	holder  identifyWaiter   // or nobody
	permit  *permit          // of the holder; nil: it is not asked for
	waiting []identifyWaiter // by place
	next    time.Time        // not before this may the bucket identify again
}

// place is a shard's in the queue. One of another process may have the id of one of ours.
type place struct {
	shard int
	other bool
}

// identifyWaiter is a shard that waits for a turn, or has one.
type identifyWaiter struct {
	place
	granted func()
}

var nobody = identifyWaiter{place: place{shard: -1}}

func newIdentifyQueue(concurrency int) *identifyQueue {
	concurrency = max(1, concurrency)
	q := &identifyQueue{concurrency: concurrency}
	q.rebuild()
	return q
}

func (q *identifyQueue) bucket(shard int) *identifyBucket {
	return &q.buckets[shard%turnStride%len(q.buckets)]
}

// setLimit replaces the budget, and the number of buckets, by Discord's own figures. Without
// a MaxConcurrency the buckets stay.
func (q *identifyQueue) setLimit(l wire.SessionStartLimit, now time.Time) {
	q.mu.Lock()
	q.limited, q.assumed = true, false
	q.total = l.Total
	q.settle(now)
	q.remaining = max(0, l.Remaining-len(q.unsettled))
	q.less = q.remaining < l.Remaining
	q.resetAt = now.Add(l.ResetAfter)
	q.counted = false
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
	q.renewIn(l.ResetAfter)
	if l.MaxConcurrency > 0 {
		q.concurrency = l.MaxConcurrency
	}
	q.unlockAndGrant()
}

// renewIn has the budget asked for again when its window has ended, so that it is known what is left
// though nobody identifies. q.mu is held.
func (q *identifyQueue) renewIn(d time.Duration) {
	if d < time.Minute {
		d = resume.StartsWindow // no window has begun
	}
	if q.renewal != nil {
		q.renewal.Stop()
	}
	q.renewal = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		switch {
		case q.closed || q.timer != nil: // reset asks
		case q.onReset != nil:
			q.onReset()
		default:
			q.remaining, q.resetAt = q.total, q.resetAt.Add(resume.StartsWindow)
			q.renewIn(resume.StartsWindow)
		}
	})
}

// settle forgets the Identifies that Discord has counted by now.
func (q *identifyQueue) settle(now time.Time) {
	q.unsettled = slices.DeleteFunc(q.unsettled, func(sent time.Time) bool { return now.Sub(sent) >= countedAfter })
}

// rebuild divides the shards that wait among as many buckets as there are to be. The window
// that ends last holds for all of them.
func (q *identifyQueue) rebuild() {
	old := q.buckets
	var next time.Time
	for _, b := range old {
		if b.next.After(next) {
			next = b.next
		}
	}
	q.buckets = make([]identifyBucket, q.concurrency)
	for i := range q.buckets {
		q.buckets[i] = identifyBucket{holder: nobody, next: next}
	}
	for _, b := range old {
		for _, w := range b.waiting {
			q.bucket(w.shard).add(w)
		}
	}
}

// find returns where the shard waits, or would, and whether it does.
func (b *identifyBucket) find(p place) (int, bool) {
	return slices.BinarySearchFunc(b.waiting, p, func(w identifyWaiter, p place) int {
		if w.shard == p.shard && w.other != p.other {
			if p.other {
				return -1
			}
			return 1
		}
		return w.shard - p.shard
	})
}

// add puts a shard among those that wait.
func (b *identifyBucket) add(w identifyWaiter) {
	if i, found := b.find(w.place); !found {
		b.waiting = slices.Insert(b.waiting, i, w)
	}
}

// assume sets the budget to what Discord gives a bot of so many shards at least, less
// what is known to be used: nobody has been asked. For the figures see "Sessions Start
// Limit" in its documentation: 1,000, and for the largest bots 5 for each 1,000 guilds.
func (q *identifyQueue) assume(shards int, now time.Time) {
	limit := wire.AssumedStartLimit(shards)
	total := limit.Total
	if now.Before(q.starts.Until) {
		limit.Remaining, limit.ResetAfter = max(0, total-q.starts.Count), q.starts.Until.Sub(now)
	}
	q.setLimit(limit, now)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.assumed = true
}

// status returns what the queue does. Any goroutine may call it.
func (q *identifyQueue) status() IdentifyStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := IdentifyStatus{
		MaxConcurrency: q.concurrency, Known: q.limited && !q.assumed, Reserve: q.reserved(), Reset: q.resetAt, Exhausted: q.timer != nil,
		Permitted: q.permits != nil,
	}
	for _, b := range q.buckets {
		t.Waiting += len(b.waiting)
	}
	if t.Known {
		t.Total, t.Left = q.total, max(0, q.remaining)
	}
	return t
}

// reserved returns how many Identifies are left to others: a tenth of the budget at most, in case
// that is a small one.
func (q *identifyQueue) reserved() int { return min(q.reserve, q.total/10) }

func (q *identifyQueue) Left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, q.remaining-q.reserved())
}

// used returns the count of Identifies.
func (q *identifyQueue) used() resume.Starts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.starts
}

func (q *identifyQueue) Join(shard int, granted func()) { q.join(place{shard: shard}, granted) }

func (q *identifyQueue) join(p place, granted func()) {
	q.mu.Lock()
	if b := q.bucket(p.shard); b.holder.place != p {
		b.add(identifyWaiter{p, granted})
	}
	q.unlockAndGrant()
}

func (q *identifyQueue) Leave(shard int) { q.leave(place{shard: shard}) }

func (q *identifyQueue) leave(p place) {
	q.mu.Lock()
	b := q.bucket(p.shard)
	if b.holder.place == p {
		q.release(b)
	} else if i, found := b.find(p); found {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	q.unlockAndGrant()
}

// release ends the turn of a bucket's holder. q.mu is held.
func (q *identifyQueue) release(b *identifyBucket) {
	b.holder = nobody
	b.permit.end()
	b.permit = nil
	q.pending--
}

func (q *identifyQueue) NotBefore(shard int) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.bucket(shard)
	if q.permits != nil && b.holder.place == (place{shard: shard}) {
		return later(b.next, q.permitted(b, time.Now()))
	}
	return b.next
}

func (q *identifyQueue) Spend(shard int, now time.Time) bool {
	return q.spend(place{shard: shard}, now, 0)
}

// spend uses a turn for an Identify that is sent within travel.
func (q *identifyQueue) spend(p place, now time.Time, travel time.Duration) bool {
	q.mu.Lock()
	b := q.bucket(p.shard)
	ok := b.holder.place == p && (q.permits == nil || b.permit.valid(time.Now()))
	if b.holder.place == p {
		q.release(b)
	}
	if ok {
		b.next = now.Add(travel + identifyWindow)
		q.count(now)
	}
	q.unlockAndGrant()
	return ok
}

// sent counts an Identify whose turn was another queue's.
func (q *identifyQueue) sent(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count(now)
}

// count counts an Identify. q.mu is held.
func (q *identifyQueue) count(now time.Time) {
	if q.limited {
		q.remaining--
	}
	q.counted = true
	q.settle(now)
	q.unsettled = append(q.unsettled, now)
	if !now.Before(q.starts.Until) {
		q.starts = resume.Starts{Until: now.Add(resume.StartsWindow)}
	}
	q.starts.Count++
}

// close ends the queue's timer. No turn is given afterwards.
func (q *identifyQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.renewal != nil {
		q.renewal.Stop()
	}
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

// unlockAndGrant gives the free turns to those who wait, as far as the budget
// goes, and unlocks.
func (q *identifyQueue) unlockAndGrant() {
	var granted []func()
	var empty time.Time
	changes := len(q.buckets) != q.concurrency
	if changes && q.pending == 0 {
		q.rebuild()
		changes = false
	}
	for i := range q.buckets {
		b := &q.buckets[i]
		if b.holder.place != nobody.place || len(b.waiting) == 0 || q.closed || changes {
			continue
		}
		if q.limited && q.remaining-q.pending <= q.reserved() {
			if q.remaining <= q.reserved() && q.timer == nil {
				empty = q.resetAt
				if q.counted && q.onReset != nil {
					// Discord may count otherwise, or have begun anew.
					q.counted = false
					q.onReset()
				}
				// The budget is asked for again rather than taken as full:
				// other processes draw on it too.
				wait := max(time.Until(q.resetAt), time.Minute)
				if q.less && q.onReset != nil {
					wait = time.Minute // there may be more by then
				}
				q.timer = time.AfterFunc(wait, q.reset)
				if q.renewal != nil {
					q.renewal.Stop() // or both would ask
				}
			}
			break
		}
		b.holder = b.waiting[0]
		granted = append(granted, b.waiting[0].granted)
		b.waiting = slices.Delete(b.waiting, 0, 1)
		q.pending++
	}
	q.mu.Unlock()
	for _, grant := range granted {
		grant()
	}
	if !empty.IsZero() {
		q.onEmpty(empty)
	}
}

// reset runs when the window of an exhausted budget ends.
func (q *identifyQueue) reset() {
	q.mu.Lock()
	q.timer = nil
	if !q.closed && q.onReset == nil {
		q.remaining, q.resetAt = q.total, q.resetAt.Add(resume.StartsWindow)
		q.renewIn(resume.StartsWindow)
		q.unlockAndGrant()
		return
	}
	defer q.mu.Unlock()
	if !q.closed {
		q.onReset() // setLimit goes on
	}
}
