// This file finds uses of a buffer that its user has released.

//go:build poison

package pool

import "sync/atomic"

// poisoned is what a released buffer holds: no JSON and no length that makes
// sense.
const poisoned = 0xDB

// sharedClass is the class of shared buffers, of SharedRoom: one gets a single value, and is overwritten as soon as that
// is released.
const sharedClass = 14

// poison is the state of a Buffer that lies in the pool.
type poison struct {
	free atomic.Bool
	held []byte // all of the buffer
}

func (p *poison) got() {
	if !p.free.Swap(false) {
		panic("pool: buffer in the pool that was not released")
	}
	for _, c := range p.held {
		if c != poisoned {
			panic("pool: buffer written to after its release")
		}
	}
}

func (p *poison) put(b []byte) {
	p.free.Store(true)
	p.held = b[:cap(b)]
	for i := range p.held {
		p.held[i] = poisoned
	}
}
