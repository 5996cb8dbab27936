// This file tests the ring against a plain queue, between goroutines, and
// asleep.

package pool

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// model is what a ring does, without a thought for time or memory.
type model struct {
	values    []int // put and not taken
	published int   // of them
	inUse     int   // bytes put and not released
	taken     int   // bytes of what was taken and not released
	slots     int   // without the spare ones
	limit     int
	waiting   bool
	calls     int // of room
}

func (m *model) full() bool { return len(m.values) >= m.slots || m.inUse >= m.limit }

// checkAgainstModel does what the bytes of ops say, to a ring and the model.
func checkAgainstModel(t *testing.T, ops []byte) {
	if len(ops) < 2 {
		return
	}
	slots, spare := 1<<(1+ops[0]%4), int(ops[0]>>2%2)
	m := &model{slots: slots - spare, limit: 1 + int(ops[1])}
	calls := 0
	r := NewRing[int](slots, int64(m.limit), NewBell(), func() { calls++ })
	r.Spare = spare
	size := func(v int) int { return 1 + v*7%50 }
	dst := make([]int, 5)
	next := 1 // a slot that holds none is 0
	for i, op := range ops[2:] {
		switch op % 6 {
		case 0, 1:
			if r.Full() != m.full() {
				t.Fatalf("step %d: Full is %v", i, !m.full())
			}
			if m.full() || m.waiting {
				continue // a producer that waits puts nothing
			}
			r.Put(next, size(next))
			m.values = append(m.values, next)
			m.inUse += size(next)
			next++
		case 2:
			r.Publish()
			m.published = len(m.values)
		case 3:
			if m.waiting {
				continue
			}
			m.published = len(m.values)
			m.waiting = m.full()
			if got := r.Await(); got != m.waiting {
				t.Fatalf("step %d: Await is %v", i, got)
			}
		case 4:
			n := r.Take(dst[:1+int(op)%len(dst)])
			want := m.values[:min(1+int(op)%len(dst), m.published)]
			if !slices.Equal(dst[:n], want) {
				t.Fatalf("step %d: Take gave %v, want %v", i, dst[:n], want)
			}
			for _, v := range want {
				m.taken += size(v)
			}
			m.values = slices.Clone(m.values[n:])
			m.published -= n
			var kept []int
			for _, v := range r.slots {
				if v != 0 {
					kept = append(kept, v)
				}
			}
			if slices.Sort(kept); !slices.Equal(kept, m.values) {
				t.Fatalf("step %d: the ring keeps %v; %v is not taken", i, kept, m.values)
			}
		case 5:
			r.Release(int64(m.taken))
			m.inUse -= m.taken
			m.taken = 0
			if m.waiting && len(m.values) <= m.slots/2 && m.inUse <= m.limit/2 {
				m.waiting = false
				m.calls++
			}
			if calls != m.calls {
				t.Fatalf("step %d: room was called %d times, want %d", i, calls, m.calls)
			}
		}
		if now, _ := r.Empty(); now != (m.published == 0) {
			t.Fatalf("step %d: Empty is %v with %d published", i, now, m.published)
		}
	}
}

func TestRingModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		ops := make([]byte, 1000)
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { checkAgainstModel(t, ops) })
	}
}

func FuzzRing(f *testing.F) {
	f.Add([]byte("\x00\x20 put, take and release of anything"))
	f.Fuzz(checkAgainstModel)
}

// A producer and consumers of its rings that run as fast as they can: all arrives
// in order, and no more bytes are in use than allowed.
func TestRingConcurrent(t *testing.T) {
	const rings, values, size, limit = 3, 50_000, 10, 500
	bell := NewBell()
	var all []*Ring[int]
	for range rings {
		var r *Ring[int]
		room := make(chan struct{}, 1)
		r = NewRing[int](32, limit, bell, func() { room <- struct{}{} })
		all = append(all, r)
		go func() {
			batch := rand.New(rand.NewPCG(1, 2))
			for v := range values {
				for r.Full() {
					if r.Await() {
						<-room
					}
				}
				r.Put(v, size)
				if batch.IntN(4) == 0 {
					r.Publish()
				}
			}
			r.Close()
		}()
	}
	next := make([]int, rings)
	dst := make([]int, 20)
	for open := rings; open > 0; {
		idle := true
		open = 0
		for i, r := range all {
			_, ended := r.Empty()
			if !ended {
				open++
			}
			n := r.Take(dst)
			if n == 0 {
				continue
			}
			idle = false
			for _, v := range dst[:n] {
				if v != next[i] {
					t.Fatalf("ring %d gave %d, want %d", i, v, next[i])
				}
				next[i]++
			}
			if used := r.published.Load() - r.freed.Load(); used >= limit+size {
				t.Fatalf("%d bytes in use", used)
			}
			r.Release(int64(n) * size)
		}
		if idle && open > 0 {
			bell.Wait(func() bool {
				for _, r := range all {
					if now, ended := r.Empty(); !now || ended {
						return false
					}
				}
				return true
			})
		}
	}
	for i, n := range next {
		if n != values {
			t.Errorf("%d values came through ring %d", n, i)
		}
	}
}

// Both sides sleep when there is nothing to do for them, and are woken once.
func TestRingParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bell := NewBell()
		var calls atomic.Int32
		r := NewRing[int](4, 1000, bell, func() { calls.Add(1) })
		var woken atomic.Int32
		got := make(chan int)
		go func() {
			dst := make([]int, 1)
			for {
				bell.Wait(func() bool { now, forever := r.Empty(); return now && !forever })
				woken.Add(1)
				if _, forever := r.Empty(); forever {
					close(got)
					return
				}
				for r.Take(dst) == 1 {
					got <- dst[0]
				}
			}
		}()
		synctest.Wait()
		if woken.Load() != 0 {
			t.Fatal("the consumer was woken by nothing")
		}
		for v := range 4 {
			r.Put(v, 1)
		}
		if synctest.Wait(); woken.Load() != 0 {
			t.Fatal("the consumer was woken by what is not published")
		}
		if !r.Full() || !r.Await() {
			t.Fatal("four values in four slots do not fill the ring")
		}
		for want := range 4 {
			if calls.Load() != 0 {
				t.Fatal("room was called before half was free")
			}
			if v := <-got; v != want {
				t.Fatalf("got %d, want %d", v, want)
			}
		}
		r.Release(4)
		if calls.Load() != 1 {
			t.Fatalf("room was called %d times", calls.Load())
		}
		r.Release(0)
		if calls.Load() != 1 {
			t.Error("room was called again without a wait")
		}
		synctest.Wait() // the consumer sleeps
		r.Close()
		<-got
	})
}

// A value above the bound passes, alone.
func TestRingOversized(t *testing.T) {
	r := NewRing[string](8, 100, NewBell(), func() {})
	r.Put("large", 1000)
	if !r.Full() {
		t.Error("the ring takes more behind a value above its bound")
	}
	r.Publish()
	dst := make([]string, 4)
	if n := r.Take(dst); n != 1 || !r.Full() {
		t.Errorf("%d taken, and the bytes are free before they are released", n)
	}
	r.Release(1000)
	if r.Full() {
		t.Error("the ring is full without a value")
	}
}

// What was taken is not kept alive.
func TestRingForgets(t *testing.T) {
	r := NewRing[*[1 << 16]byte](4, 100, NewBell(), func() {})
	freed := make(chan struct{})
	value := new([1 << 16]byte)
	runtime.AddCleanup(value, func(c chan struct{}) { close(c) }, freed)
	r.Put(value, 1)
	r.Publish()
	dst := make([]*[1 << 16]byte, 1)
	r.Take(dst)
	value, dst[0] = nil, nil
	for range 100 {
		runtime.GC()
		select {
		case <-freed:
			runtime.KeepAlive(r)
			return
		default:
			runtime.Gosched()
		}
	}
	t.Error("a value that was taken is not freed")
}

// Put panics rather than write over a value, in the first round through the slots and later.
func TestRingPutFull(t *testing.T) {
	for before := range 5 {
		r := NewRing[int](2, 100, NewBell(), func() {})
		dst := make([]int, 1)
		put := func(v int) (err any) {
			defer func() { err = recover() }()
			r.Put(v, 1)
			return nil
		}
		for v := range before {
			if err := put(v); err != nil {
				t.Fatalf("value %d: %v", v, err)
			}
			r.Publish()
			r.Take(dst)
			r.Full()
		}
		for v := range 2 {
			if err := put(v); err != nil {
				t.Errorf("after %d values: slot %d of 2: %v", before, v, err)
			}
		}
		if put(3) == nil {
			t.Errorf("after %d values: a value was put over another", before)
		}
	}
}

// Put finds out by itself that there is room.
func TestRingPutWithoutFull(t *testing.T) {
	r := NewRing[int](2, 100, NewBell(), func() {})
	dst := make([]int, 2)
	for v := range 10 {
		r.Put(v, 1)
		r.Publish()
		if n := r.Take(dst); n != 1 || dst[0] != v {
			t.Fatalf("value %d: took %v", v, dst[:n])
		}
	}
}

// A bell that is rung while nobody sleeps wakes nobody later.
func TestBellRungWhileAwake(t *testing.T) {
	b := NewBell()
	b.Ring()
	b.Wait(func() bool { b.Ring(); return true }) // asleep by now
	b.Ring()
	if len(b.wake) != 0 {
		t.Error("the next Wait returns without reason")
	}
	b.Wait(func() bool { return false })
	b.Ring()
	if len(b.wake) != 0 {
		t.Error("the Wait after one that did not sleep returns without reason")
	}
}

func TestRingAllocs(t *testing.T) {
	r := NewRing[[8]int](64, 1<<20, NewBell(), func() {})
	dst := make([][8]int, 16)
	n := testing.AllocsPerRun(1000, func() {
		for range 10 {
			r.Put([8]int{}, 100)
		}
		r.Publish()
		r.Release(int64(100 * r.Take(dst)))
	})
	if n != 0 {
		t.Errorf("%v allocations for ten values", n)
	}
}
