// This file hands the fleet's turns to identify to the shards of this process.

package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"
)

// useWithin is how long after it may be used a turn is used here, at the latest: the next Identify of
// the bucket may follow when the turn is void, and this one must be IdentifyPause before that.
const useWithin = TurnFor - IdentifyPause - 250*time.Millisecond

// Queue is the identify queue of a member: an engine.IdentifyQueue. Its methods wait for nothing. Run
// asks for the turns.
type Queue struct {
	turns       Turns
	incarnation func() string
	wake        chan struct{}

	travel time.Duration // from Spend to the Identify, at most

	mu      sync.Mutex
	asked   int64             // questions
	waiting map[int]*waiter   // the shards that wait, or have a turn
	granted map[int]localTurn // of those that have one
	left    bool              // somebody has left, which the coordinator does not know yet
	sent    []sentTurn        // Identifies that it does not know of yet
	budget  Budget
	known   bool
}

// waiter is a shard that has joined: another one if it does so again.
type waiter struct {
	granted func() // nil: it has been called
}

// localTurn is a turn by this process's clock.
type localTurn struct {
	from, until time.Time
	number      int64
}

// sentTurn is a turn that was used. It is reported to the coordinator when its Identify has been sent.
type sentTurn struct {
	shard  int
	number int64
	at     time.Time
}

// Queue returns an identify queue of this process.
func (f *Fleet) Queue() *Queue {
	q := newQueue(f.o.Coordinator, f.current, 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = q
	return q
}

// QueueForOthers returns an identify queue for shards of processes that are no members of the fleet. They may
// have the ids of the fleet's own. The Identify of a turn is sent within travel of Spend.
func (f *Fleet) QueueForOthers(travel time.Duration) *Queue {
	name := rand.Text()
	return newQueue(f.o.Coordinator, func() string { return name }, travel)
}

func newQueue(turns Turns, incarnation func() string, travel time.Duration) *Queue {
	return &Queue{
		turns: turns, incarnation: incarnation, travel: travel, wake: make(chan struct{}, 1),
		waiting: make(map[int]*waiter), granted: make(map[int]localTurn),
	}
}

// Run asks for turns while shards wait, until ctx is done.
func (q *Queue) Run(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-q.wake:
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		after, err := q.ask(ctx)
		if err != nil { // the beats say what is wrong
			after = time.Second
		}
		if after > 0 {
			wait.Reset(after)
		}
	}
}

// ask tells the coordinator what was sent, and who waits. It returns when to ask again; 0: when
// something has changed.
func (q *Queue) ask(ctx context.Context) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	me := q.incarnation()
	for {
		q.mu.Lock()
		if len(q.sent) == 0 {
			break
		}
		s := q.sent[0] // they are in the order of time
		if after = time.Until(s.at); after > 0 {
			break
		}
		q.mu.Unlock()
		if err := q.turns.Sent(ctx, me, s.shard, s.number); err != nil && !errors.Is(err, ErrChanged) {
			return 0, err
		}
		q.mu.Lock()
		q.sent = q.sent[1:]
		q.mu.Unlock()
	}
	waiting := make([]int, 0, len(q.waiting)+len(q.sent))
	for shard := range q.waiting {
		waiting = append(waiting, shard)
	}
	for _, s := range q.sent { // or their turns were void
		if _, again := q.waiting[s.shard]; !again {
			waiting = append(waiting, s.shard)
		}
	}
	idle := len(waiting) == 0 && q.known && !q.left
	q.left = false
	q.asked++
	number := q.asked
	q.mu.Unlock()
	if idle {
		return 0, nil
	}
	slices.Sort(waiting)
	asked := time.Now()
	g, err := q.turns.Ask(ctx, me, number, waiting)
	if err != nil {
		q.mu.Lock()
		q.left = true
		q.mu.Unlock()
		return 0, err
	}
	read := time.Now()
	var granted []func()
	q.mu.Lock()
	q.budget, q.known = g.Budget, g.Known
	for _, t := range g.Turns {
		w, until := q.waiting[t.Shard], asked.Add(t.In+useWithin-q.travel)
		if w == nil || !read.Before(until) || slices.ContainsFunc(q.sent, func(s sentTurn) bool { return s.number == t.Number }) {
			continue // it may have used the turn meanwhile, and waits for another
		}
		if had := q.granted[t.Shard]; had.number != t.Number {
			q.granted[t.Shard] = localTurn{from: read.Add(t.In), until: until, number: t.Number}
		}
		if w.granted != nil {
			granted = append(granted, w.granted)
			w.granted = nil
		}
	}
	q.mu.Unlock()
	for _, call := range granted {
		call()
	}
	if len(waiting) == 0 {
		return 0, nil
	}
	if after <= 0 || after > g.After {
		after = g.After
	}
	return max(after, 10*time.Millisecond), nil
}

func (q *Queue) stir() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Join asks for a turn; granted is called once, when it has come.
func (q *Queue) Join(shard int, granted func()) {
	q.mu.Lock()
	if _, waits := q.waiting[shard]; !waits {
		q.waiting[shard] = &waiter{granted}
	}
	q.mu.Unlock()
	q.stir()
}

// Leave gives up the shard's turn or place, if it has one.
func (q *Queue) Leave(shard int) {
	q.mu.Lock()
	_, waits := q.waiting[shard]
	delete(q.waiting, shard)
	delete(q.granted, shard)
	q.left = q.left || waits
	q.mu.Unlock()
	if waits {
		q.stir()
	}
}

// NotBefore returns when the holder of a turn may send its Identify.
func (q *Queue) NotBefore(shard int) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.granted[shard].from
}

// Spend uses the shard's turn, for an Identify that is sent now. It returns false if there is none
// any more: it is too late for it, or the process was stopped meanwhile.
func (q *Queue) Spend(shard int, now time.Time) bool {
	q.mu.Lock()
	t, has := q.granted[shard]
	delete(q.waiting, shard)
	delete(q.granted, shard)
	ok := has && !now.Before(t.from) && now.Before(t.until)
	if ok {
		q.sent = append(q.sent, sentTurn{shard, t.number, now.Add(q.travel)})
	} else {
		q.left = true
	}
	q.mu.Unlock()
	q.stir()
	return ok
}

// Left returns how many Identifies may still be sent before the budget's reset, as far as is known.
func (q *Queue) Left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, q.budget.Remaining-q.budget.Reserve)
}

// Refresh has the budget looked at again, though nobody waits.
func (q *Queue) Refresh() {
	q.mu.Lock()
	q.left = true
	q.mu.Unlock()
	q.stir()
}

// Budget returns the budget as it was last seen, and how many shards wait here.
func (q *Queue) Budget() (b Budget, known bool, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.budget, q.known, len(q.waiting)
}
