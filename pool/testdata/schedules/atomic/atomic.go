// Package atomic stands for sync/atomic in a copy of the ring: before and after each operation
// another thread may go on. Threads are coroutines, so that exactly one runs at a time.
package atomic

import "iter"

// Thread is a coroutine that stops at each step.
type Thread struct {
	next  func() (func() bool, bool)
	stop  func()
	ready func() bool // whether it can go on
	Done  bool
}

var yield func(ready func() bool) bool // of the thread that runs

// Go returns a thread that will run f.
func Go(f func()) *Thread {
	t := &Thread{ready: always}
	t.next, t.stop = iter.Pull(func(y func(func() bool) bool) {
		defer func() {
			if r := recover(); r != nil && r != errStopped {
				panic(r)
			}
		}()
		yield = y
		f()
	})
	return t
}

type stopped struct{}

var errStopped any = stopped{}

func always() bool { return true }

// Ready reports whether the thread can go on.
func (t *Thread) Ready() bool { return !t.Done && t.ready() }

// Step lets the thread go on as far as its next step.
func (t *Thread) Step() {
	ready, ok := t.next()
	t.ready, t.Done = ready, !ok
}

// Stop ends the thread where it is.
func (t *Thread) Stop() { t.stop() }

// Until lets others run, and goes on when ready is true.
func Until(ready func() bool) {
	mine := yield
	if !mine(ready) {
		panic(errStopped)
	}
	yield = mine
}

func step() { Until(always) }

type number interface{ ~int64 | ~uint64 | ~bool }

// value is a variable with atomic operations.
type value[T number] struct{ v T }

func (a *value[T]) Load() T {
	step()
	v := a.v
	step()
	return v
}

func (a *value[T]) Store(v T) {
	step()
	a.v = v
	step()
}

func (a *value[T]) Swap(v T) T {
	step()
	old := a.v
	a.v = v
	step()
	return old
}

type (
	Uint64 struct{ value[uint64] }
	Bool   struct{ value[bool] }
	Int64  struct{ value[int64] }
)

func (a *Int64) Add(n int64) int64 {
	step()
	a.v += n
	v := a.v
	step()
	return v
}
