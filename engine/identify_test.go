// This file tests the queue of identifies.

package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/resume"
	"sluice/wire"
)

// recordedJoins is a queue that records who was granted a turn.
type recordedJoins struct {
	*identifyQueue
	granted func(shard int)
}

func (q recordedJoins) join(shard int) { q.Join(shard, func() { q.granted(shard) }) }

// recordedQueue returns a queue, and a function that tells who was granted a
// turn so far.
func recordedQueue(concurrency int) (q recordedJoins, granted func() []int) {
	var mu sync.Mutex
	var ids []int
	q = recordedJoins{newIdentifyQueue(concurrency), func(shard int) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, shard)
	}}
	q.onReset = func() {}
	q.onEmpty = func(time.Time) {}
	return q, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ids)
	}
}

// What is left for others is not touched, and what nobody has told is taken from what is
// known to be used.
func TestIdentifyReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, told := range []bool{true, false} {
			q, granted := recordedQueue(1)
			var empty time.Time
			q.onEmpty = func(until time.Time) { empty = until }
			q.reserve = 2
			now := time.Now()
			until := now.Add(3 * time.Hour)
			q.starts = resume.Starts{Count: 997, Until: until}
			if told {
				q.setLimit(wire.SessionStartLimit{Total: 1000, Remaining: 3, ResetAfter: 3 * time.Hour}, now)
			} else {
				q.onReset = nil
				q.assume(4, now)
			}
			for id := range 3 {
				q.join(id)
			}
			q.Spend(0, time.Now())
			if want := []int{0}; !slices.Equal(granted(), want) || !empty.Equal(until) {
				t.Errorf("told %v: granted %v until %v, want %v until %v", told, granted(), empty, want, until)
			}
			if got := q.used(); got != (resume.Starts{Count: 998, Until: until}) {
				t.Errorf("told %v: counted %+v", told, got)
			}
			time.Sleep(3*time.Hour + time.Minute)
			synctest.Wait()
			if told {
				q.setLimit(wire.SessionStartLimit{Total: 1000, Remaining: 1000, ResetAfter: 24 * time.Hour}, time.Now())
			}
			q.Spend(1, time.Now())
			if want := []int{0, 1, 2}; !slices.Equal(granted(), want) {
				t.Errorf("told %v: the next day granted %v, want %v", told, granted(), want)
			}
			if got := q.used(); got.Count != 1 {
				t.Errorf("told %v: the next day counted %+v", told, got)
			}
			q.close()
		}
	})
}

// What is left for others is a tenth of the day's Identifies at most: a reserve as large as a small
// budget would leave none.
func TestIdentifyReserveIsATenth(t *testing.T) {
	for _, tt := range []struct{ reserve, total, remaining, want int }{
		{100, 1000, 1000, 900},
		{100, 1000, 101, 1},
		{100, 1000, 100, 0},
		{100, 500, 500, 450},
		{100, 20, 20, 18},
		{100, 9, 9, 9},
		{5000, 1000, 1000, 900},
		{0, 1000, 3, 3},
		{30, 1000, 1000, 970},
	} {
		q, granted := recordedQueue(1)
		q.reserve = tt.reserve
		now := time.Unix(1000, 0)
		q.setLimit(wire.SessionStartLimit{Total: tt.total, Remaining: tt.remaining, ResetAfter: time.Hour}, now)
		if got := q.Left(); got != tt.want {
			t.Errorf("%+v: %d left", tt, got)
		}
		for id := range tt.total + 1 {
			q.join(id)
			if len(granted()) == id {
				break
			}
			q.Spend(id, now)
		}
		if got := len(granted()); got != tt.want {
			t.Errorf("%+v: %d granted", tt, got)
		}
		q.close()
	}
}

func TestIdentifyQueueBuckets(t *testing.T) {
	q, granted := recordedQueue(2)
	for _, i := range []int{4, 5, 0, 2, 1, 3} {
		q.join(i)
	}
	// The first to come has the turn; then each bucket by id.
	if want := []int{4, 5}; !slices.Equal(granted(), want) {
		t.Fatalf("granted %v, want %v", granted(), want)
	}
	now := time.Unix(1000, 0)
	if at := q.NotBefore(4); at.After(now) {
		t.Errorf("the first identify waits until %v", at)
	}
	q.Spend(4, now)
	q.Leave(5) // could not connect
	q.Leave(2) // has not even the turn
	if want := []int{4, 5, 0, 1}; !slices.Equal(granted(), want) {
		t.Fatalf("granted %v, want %v", granted(), want)
	}
	if at := q.NotBefore(0); !at.Equal(now.Add(identifyWindow)) {
		t.Errorf("the bucket's next identify at %v, want %v", at, now.Add(identifyWindow))
	}
	if at := q.NotBefore(1); at.After(now) {
		t.Errorf("a bucket that has not identified waits until %v", at)
	}
	q.Spend(0, now.Add(identifyWindow))
	q.Spend(1, now)
	if want := []int{4, 5, 0, 1, 3}; !slices.Equal(granted(), want) {
		t.Fatalf("granted %v, want %v", granted(), want)
	}
}

// Another max_concurrency than the one at the start, as with an address and a shard count that
// are set, counts from the moment at which no turn is out.
func TestIdentifyQueueConcurrency(t *testing.T) {
	q, granted := recordedQueue(1)
	for _, i := range []int{0, 7, 2, 5, 3} {
		q.join(i)
	}
	now := time.Unix(1000, 0)
	limit := wire.SessionStartLimit{Total: 1000, Remaining: 1000, ResetAfter: time.Hour}
	q.setLimit(limit, now) // without max_concurrency: as before
	limit.MaxConcurrency = 4
	q.setLimit(limit, now)
	q.join(1)
	if want := []int{0}; !slices.Equal(granted(), want) || len(q.buckets) != 1 {
		t.Fatalf("granted %v of %d buckets while a turn is out, want %v of 1", granted(), len(q.buckets), want)
	}
	q.Spend(0, now)
	if want := []int{0, 1, 2, 3}; !slices.Equal(granted(), want) || len(q.buckets) != 4 {
		t.Fatalf("granted %v of %d buckets, want %v of 4", granted(), len(q.buckets), want)
	}
	for _, i := range []int{1, 2, 3} {
		if at := q.NotBefore(i); !at.Equal(now.Add(identifyWindow)) {
			t.Errorf("shard %d may identify at %v, want %v", i, at, now.Add(identifyWindow))
		}
	}
	limit.MaxConcurrency = 2
	q.setLimit(limit, now)
	q.Spend(1, now.Add(identifyWindow))
	q.Leave(2)
	q.Leave(3)
	if want := []int{0, 1, 2, 3, 5}; !slices.Equal(granted(), want) || len(q.buckets) != 2 {
		t.Fatalf("granted %v of %d buckets, want %v of 2", granted(), len(q.buckets), want)
	}
	if at := q.NotBefore(5); !at.Equal(now.Add(2 * identifyWindow)) {
		t.Errorf("shard 5 may identify at %v, want %v", at, now.Add(2*identifyWindow))
	}
	q.Spend(5, now.Add(2*identifyWindow))
	if want := []int{0, 1, 2, 3, 5, 7}; !slices.Equal(granted(), want) {
		t.Errorf("granted %v, want %v", granted(), want)
	}
}

// The session starts of the day are never exceeded: shards wait for the reset, and Discord is
// asked then.
func TestIdentifyQueueBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, granted := recordedQueue(4)
		var empty atomic.Pointer[time.Time]
		q.onEmpty = func(until time.Time) { empty.Store(&until) }
		start := time.Now()
		var asked atomic.Int32
		q.onReset = func() {
			answer := wire.SessionStartLimit{Total: 10, Remaining: 10, ResetAfter: 24 * time.Hour}
			if asked.Add(1) == 1 { // the own count is used up, and Discord says the same
				answer.Remaining, answer.ResetAfter = 0, time.Until(start.Add(time.Hour))
			}
			go q.setLimit(answer, time.Now())
		}
		q.setLimit(wire.SessionStartLimit{Total: 10, Remaining: 2, ResetAfter: time.Hour}, start)
		for i := range 4 {
			q.join(i)
		}
		if fmt.Sprint(granted()) != "[0 1]" {
			t.Fatalf("granted %v with two starts left", granted())
		}
		q.Leave(0) // its start is not used up
		if fmt.Sprint(granted()) != "[0 1 2]" {
			t.Fatalf("granted %v after one was given back", granted())
		}
		q.Spend(1, time.Now())
		q.Spend(2, time.Now())
		if until := empty.Load(); len(granted()) != 3 || until == nil || !until.Equal(start.Add(time.Hour)) {
			t.Fatalf("granted %v with no starts left, until %v", granted(), until)
		}
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if len(granted()) != 3 {
			t.Fatalf("granted %v before the reset", granted())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if fmt.Sprint(granted()) != "[0 1 2 3]" {
			t.Fatalf("granted %v after the reset", granted())
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times: when the own count was used up, and at the reset", n)
		}
		q.close()
	})
}

// When the window of the budget ends, it is asked for again though nobody identifies; where nobody can be asked
// it is full.
func TestIdentifyQueueRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := recordedQueue(1)
		asked := 0
		q.onReset = func() { asked++ }
		q.setLimit(wire.SessionStartLimit{Total: 1000, Remaining: 190, ResetAfter: time.Hour}, time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		q.setLimit(wire.SessionStartLimit{Total: 1000, Remaining: 1000}, time.Now()) // no window has begun
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times without a window", asked)
		}
		q.close()

		q, _ = recordedQueue(1)
		q.onReset = nil
		q.starts = resume.Starts{Count: 7, Until: time.Now().Add(time.Hour)}
		q.assume(1, time.Now())
		for range 3 {
			time.Sleep(24 * time.Hour)
			synctest.Wait()
			if left, reset := q.Left(), q.status().Reset; left != 1000 || !reset.After(time.Now()) {
				t.Errorf("%d left until %v", left, reset)
			}
		}
		q.close()
	})
}

// When the own count is used up, Discord says what is left: it may be more.
func TestIdentifyQueueAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, granted := recordedQueue(1)
		var asked atomic.Int32
		q.onReset = func() {
			asked.Add(1)
			go q.setLimit(wire.SessionStartLimit{Total: 10, Remaining: 4, ResetAfter: time.Hour}, time.Now())
		}
		q.setLimit(wire.SessionStartLimit{Total: 10, Remaining: 1, ResetAfter: 24 * time.Hour}, time.Now())
		q.join(0)
		q.join(1)
		q.Spend(0, time.Now())
		synctest.Wait()
		if asked.Load() != 1 || fmt.Sprint(granted()) != "[0 1]" {
			t.Errorf("asked %d times, granted %v", asked.Load(), granted())
		}
		q.close()
	})
}

// Discord's answer may be older than the last Identifies: none is sent for one that it has not counted
// yet. What it says a minute later counts.
func TestIdentifyQueueUncounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, granted := recordedQueue(1)
		asked := 0
		q.onReset = func() { asked++ }
		limit := func(remaining int) {
			q.setLimit(wire.SessionStartLimit{Total: 1000, Remaining: remaining, ResetAfter: 5 * time.Hour}, time.Now())
		}
		limit(2)
		for shard := range 3 {
			q.join(shard)
			if shard < 2 {
				q.Spend(shard, time.Now())
			}
		}
		if asked != 1 {
			t.Fatalf("asked %d times when the budget was used up", asked)
		}
		limit(1) // of before the second Identify
		if got := granted(); len(got) != 2 {
			t.Fatalf("granted %v; the budget was 2", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if asked != 2 {
			t.Fatalf("asked %d times a minute later", asked)
		}
		limit(1)
		if got := granted(); len(got) != 3 {
			t.Errorf("granted %v; one more is left", got)
		}
		q.close()
	})
}

// No turn is used without the permission that it needs, however it comes to that.
func TestSpendWithoutPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, granted := recordedQueue(1)
		answer := make(chan struct{})
		var asking sync.WaitGroup
		q.permits = &permits{ctx: t.Context(), run: asking.Go, ask: func(context.Context, int) error { <-answer; return nil }}
		for _, asked := range []bool{false, true} {
			q.join(0)
			if asked {
				q.NotBefore(0)
			}
			if q.Spend(0, time.Now()) {
				t.Errorf("asked %v: a turn is used", asked)
			}
		}
		q.join(0)
		q.NotBefore(0)
		close(answer)
		synctest.Wait()
		if at := q.NotBefore(0); !at.IsZero() {
			t.Errorf("with a permission, not before %v", at)
		}
		time.Sleep(permitFor)
		if q.Spend(0, time.Now()) || len(granted()) != 4 {
			t.Errorf("an old permission is used; granted %d times", len(granted()))
		}
		asking.Wait()
		q.close()
	})
}
