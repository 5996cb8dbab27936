// This file guards that a warm pool does not allocate. Not under the race
// detector, which makes sync.Pool forget at random.

//go:build !race

package pool

import "testing"

func TestBuffersAllocs(t *testing.T) {
	var p Buffers
	// More than the 42,000 returns after which bytebufferpool looks at its sizes
	// anew, with a large one now and then.
	i := 0
	n := testing.AllocsPerRun(100_000, func() {
		size := 750
		if i++; i%100 == 0 {
			size = 128 << 10
		}
		b := p.Get(size)
		b.B = append(b.B, 1)
		p.Put(b)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestShareAllocs(t *testing.T) {
	var p Buffers
	n := testing.AllocsPerRun(10_000, func() {
		b := p.Share()
		for i := range 40 {
			b = p.Room(b)
			b.Add(700 + 10*i)
			p.Put(b)
		}
		p.Keep(b)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
