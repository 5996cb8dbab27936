// Package search visits every state of a model, breadth first, so that the trace to a state that
// violates an invariant is one of the shortest.
//
// A state is kept as a hash of 64 bits. Two states of one hash would be taken for one: with 10
// million states the odds of any such pair are 1 to 400,000.
package search

import (
	"hash/maphash"
	"slices"
	"time"
)

// Model is a state machine. S has no pointers: states are compared by value.
type Model[S comparable] struct {
	Start S
	// Next calls step for each successor of s, in an order that s alone decides. bad says which
	// invariant the step violates, and how; it is empty if it violates none.
	Next func(s *S, step Step[S])
	// Good, if it is set, says which states are what must stay within reach: from each state that
	// can be reached one of them can be.
	Good func(s *S) bool
	// Alike, if it is set, returns the one that stands for all states that differ only by the
	// names of the members.
	Alike func(s *S) S
}

// Step takes a successor.
type Step[S comparable] func(label func() string, bad string, t *S)

// Result is what a search has found.
type Result struct {
	States, Depth int
	Complete      bool     // every state that can be reached was visited
	Bad           string   // the invariant that is violated, and how
	Trace         []string // the steps to it
	Stuck         int      // states from which no good one can be reached
	StuckTrace    []string // the steps to the first
	Took          time.Duration
}

// search is one that is running.
type search[S comparable] struct {
	m      Model[S]
	seed   maphash.Seed
	ids    map[uint64]uint32
	hashes []uint64
	parent []uint32

	from, to, good []uint32 // the graph, with Good
}

// Explore visits the states of m, no more than about most.
func Explore[S comparable](m Model[S], most int) (r Result) {
	begin := time.Now()
	defer func() { r.Took = time.Since(begin) }()
	x := search[S]{m: m, seed: maphash.MakeSeed(), ids: make(map[uint64]uint32)}
	start := x.alike(&m.Start)
	x.add(&start, 0)
	level, numbers := []S{start}, []uint32{0}
	for len(level) > 0 && r.Bad == "" {
		var next []S
		var nextNumbers []uint32
		for i := range level {
			s, id := &level[i], numbers[i]
			if m.Good != nil && m.Good(s) {
				x.good = append(x.good, id)
			}
			m.Next(s, func(label func() string, bad string, t *S) {
				if r.Bad != "" {
					return
				}
				if bad != "" {
					r.Bad, r.Trace = bad, x.trace(id, x.alike(t))
					return
				}
				a := x.alike(t)
				j, added := x.add(&a, id)
				if added {
					next, nextNumbers = append(next, a), append(nextNumbers, j)
				}
				if m.Good != nil {
					x.from, x.to = append(x.from, id), append(x.to, j)
				}
			})
			if r.States = len(x.parent); r.States > most {
				return r
			}
		}
		level, numbers = next, nextNumbers
		r.Depth++
	}
	r.Complete = r.Bad == ""
	if r.Complete && m.Good != nil {
		stuck := x.stuck()
		if r.Stuck = len(stuck); r.Stuck > 0 {
			r.StuckTrace, _ = x.path(stuck[0])
		}
	}
	return r
}

func (x *search[S]) alike(s *S) S {
	if x.m.Alike == nil {
		return *s
	}
	return x.m.Alike(s)
}

func (x *search[S]) hash(s *S) uint64 { return maphash.Comparable(x.seed, *s) }

// add returns the number of a state, and whether it is a new one.
func (x *search[S]) add(s *S, parent uint32) (id uint32, added bool) {
	h := x.hash(s)
	if id, ok := x.ids[h]; ok {
		return id, false
	}
	id = uint32(len(x.parent))
	x.ids[h] = id
	x.parent, x.hashes = append(x.parent, parent), append(x.hashes, h)
	return id, true
}

// path returns the labels of the steps from the start to a state, and that state.
func (x *search[S]) path(id uint32) ([]string, S) {
	var hashes []uint64
	for ; id != 0; id = x.parent[id] {
		hashes = append(hashes, x.hashes[id])
	}
	slices.Reverse(hashes)
	return x.follow(hashes)
}

// trace returns the labels of the steps to a state and of the bad one after it, to last.
func (x *search[S]) trace(id uint32, last S) []string {
	labels, s := x.path(id)
	want, text := x.hash(&last), ""
	x.m.Next(&s, func(label func() string, b string, t *S) {
		if a := x.alike(t); text == "" && b != "" && x.hash(&a) == want {
			text = label() + "   <== " + b
		}
	})
	return append(labels, text)
}

// follow goes through states by their hashes. The states that it goes through are no canonical
// ones, so that a member keeps its name.
func (x *search[S]) follow(hashes []uint64) (labels []string, s S) {
	s = x.m.Start
	for _, want := range hashes {
		var found bool
		var next S
		x.m.Next(&s, func(label func() string, bad string, t *S) {
			if a := x.alike(t); !found && bad == "" && x.hash(&a) == want {
				found, next = true, *t
				labels = append(labels, label())
			}
		})
		s = next
	}
	return labels, s
}

// stuck returns the states from which no good one can be reached.
func (x *search[S]) stuck() (stuck []uint32) {
	n := len(x.parent)
	begin := make([]uint32, n+1)
	for _, j := range x.to {
		begin[j+1]++
	}
	for i := range n {
		begin[i+1] += begin[i]
	}
	before := make([]uint32, len(x.to))
	at := slices.Clone(begin[:n])
	for e, j := range x.to {
		before[at[j]] = x.from[e]
		at[j]++
	}
	reaches := make([]bool, n)
	work := slices.Clone(x.good)
	for _, i := range work {
		reaches[i] = true
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, p := range before[begin[i]:begin[i+1]] {
			if !reaches[p] {
				reaches[p] = true
				work = append(work, p)
			}
		}
	}
	for i := range n {
		if !reaches[i] {
			stuck = append(stuck, uint32(i))
		}
	}
	return stuck
}
