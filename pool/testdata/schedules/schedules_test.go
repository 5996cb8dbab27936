// This file runs the two sides of the ring in every order that a few preemptions make possible.

package pool

import (
	"fmt"
	"slices"
	"testing"

	"schedules/atomic"
)

const (
	preemptions = 2    // of a thread that could have gone on; when one waits, any other may follow
	maxSteps    = 2000 // a run that takes longer goes round for ever
)

// explore runs the program in every order. A program is some threads, and what must be so when all
// have ended.
func explore(t *testing.T, program func(fail func(string)) (threads []*atomic.Thread, end func())) {
	type choice struct{ threads []int } // those that have not been tried; the first is
	var path []choice
	runs := 0
	for {
		runs++
		failure := ""
		fail := func(s string) {
			if failure == "" {
				failure = s
			}
		}
		threads, end := program(fail)
		last, left := 0, preemptions
		var order []int
		for step := 0; failure == ""; step++ {
			var ready []int
			for i, th := range threads {
				if th.Ready() {
					ready = append(ready, i)
				}
			}
			if len(ready) == 0 {
				if slices.ContainsFunc(threads, func(th *atomic.Thread) bool { return !th.Done }) {
					fail("all threads wait for ever")
				} else {
					end()
				}
				break
			}
			if step == maxSteps {
				fail("no end")
				break
			}
			could := slices.Contains(ready, last)
			if step == len(path) {
				c := choice{ready}
				if could {
					c.threads = []int{last}
					for _, i := range ready {
						if i != last && left > 0 {
							c.threads = append(c.threads, i)
						}
					}
				}
				path = append(path, c)
			}
			next := path[step].threads[0]
			if could && next != last {
				left--
			}
			if order = append(order, next); next != last {
				last = next
			}
			threads[next].Step()
		}
		for _, th := range threads {
			th.Stop()
		}
		if failure != "" {
			t.Fatalf("%s, in this order of the threads: %v", failure, order)
		}
		for len(path) > 0 && len(path[len(path)-1].threads) == 1 {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			t.Logf("%d orders", runs)
			if runs < 100 {
				t.Error("so few orders: the threads do not meet")
			}
			return
		}
		c := &path[len(path)-1]
		c.threads = c.threads[1:]
	}
}

// idle is what a consumer asks before it sleeps.
func idle(r *Ring[*int]) func() bool {
	return func() bool { now, forever := r.Empty(); return now && !forever }
}

// check fails if got is not 0 to n-1, or if the ring keeps what was taken.
func check(fail func(string), r *Ring[*int], got []int, n int) {
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	if !slices.Equal(got, want) {
		fail(fmt.Sprintf("%v arrived, %v was put", got, want))
	}
	if slices.ContainsFunc(r.slots, func(v *int) bool { return v != nil }) {
		fail("the ring refers to what was taken")
	}
}

// What was put before the end is taken before the end is seen, and the consumer is woken for both.
func TestEnd(t *testing.T) {
	explore(t, func(fail func(string)) ([]*atomic.Thread, func()) {
		bell := NewBell()
		r := NewRing[*int](2, 100, bell, func() {})
		var got []int
		producer := atomic.Go(func() {
			for v := range 2 {
				r.Put(&v, 1)
				if v == 0 {
					r.Publish()
				}
			}
			r.Close()
		})
		consumer := atomic.Go(func() {
			dst := make([]*int, 2)
			for {
				n := r.Take(dst)
				for _, v := range dst[:n] {
					got = append(got, *v)
				}
				if n > 0 {
					continue
				}
				if _, forever := r.Empty(); forever {
					return
				}
				bell.Wait(idle(r))
			}
		})
		return []*atomic.Thread{producer, consumer}, func() { check(fail, r, got, 2) }
	})
}

// A producer that waits for room is called once there is some, and overwrites nothing that was not
// taken; if another thread releases, too.
func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		name       string
		slots, dst int
		limit      int64
		releaser   bool
	}{
		{"few slots", 2, 2, 100, false},
		{"few slots, another releases", 2, 1, 100, true},
		{"few bytes", 8, 1, 2, false},
		{"few bytes, another releases", 8, 2, 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const values = 3
			explore(t, func(fail func(string)) ([]*atomic.Thread, func()) {
				bell, calls, toRelease := NewBell(), 0, 0
				r := NewRing[*int](tt.slots, tt.limit, bell, func() { calls++ })
				var got []int
				producer := atomic.Go(func() {
					for v := range values {
						for r.Full() {
							if r.Await() {
								atomic.Until(func() bool { return calls > 0 })
								calls--
							}
							if calls != 0 {
								fail("room was called without a wait")
							}
						}
						if r.Put(&v, 1); v == 0 {
							r.Publish() // what is taken then lies at the end and at the start of the slots
						}
					}
					r.Close()
				})
				release := atomic.Go(func() {
					for released := 0; tt.releaser && released < values; {
						atomic.Until(func() bool { return toRelease > 0 })
						n := toRelease
						released, toRelease = released+n, 0
						r.Release(int64(n))
					}
				})
				consumer := atomic.Go(func() {
					dst := make([]*int, tt.dst)
					for len(got) < values {
						n := r.Take(dst)
						if n == 0 {
							bell.Wait(idle(r))
							continue
						}
						for _, v := range dst[:n] {
							if v == nil {
								fail("a slot was taken in which nothing lies")
								return
							}
							got = append(got, *v)
						}
						if tt.releaser {
							toRelease += n
						} else {
							r.Release(int64(n))
						}
					}
				})
				return []*atomic.Thread{producer, consumer, release}, func() { check(fail, r, got, values) }
			})
		})
	}
}
