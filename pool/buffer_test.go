// This file tests the pooled buffers.

package pool

import (
	"sync"
	"testing"
)

func TestBufferClasses(t *testing.T) {
	var p Buffers
	for _, n := range []int{0, 1, 255, 256, 257, 750, 1024, 1 << 20, 1<<20 + 1, 5 << 20} {
		b := p.Get(n)
		if len(b.B) != 0 || cap(b.B) < n || n > 256 && n <= 1<<20 && cap(b.B) >= 2*n {
			t.Errorf("Get(%d) has length %d and room for %d", n, len(b.B), cap(b.B))
		}
		b.B = append(b.B, make([]byte, n)...)
		p.Put(b)
	}
	// A buffer that has grown to an odd size serves those who fit into it.
	b := p.Get(100)
	b.B = make([]byte, 3000)
	p.Put(b)
	if c := p.Get(2049); cap(c.B) < 2049 {
		t.Errorf("a buffer of %d bytes for 2049", cap(c.B))
	}
}

// The smallest and the largest are used again, too.
func TestBuffersReused(t *testing.T) {
	for _, n := range []int{1, 256, 257, 1 << 20} {
		var p Buffers
		again := func() bool {
			b := p.Get(n)
			p.Put(b)
			return p.Get(n) == b
		}
		// A collection empties a sync.Pool, and the race detector a part of it.
		for tries := 0; !again(); tries++ {
			if tries == 100 {
				t.Errorf("no buffer for %d bytes was used again", n)
				break
			}
		}
	}
}

// What is larger than the largest class is left to the garbage collector.
func TestLargestBuffer(t *testing.T) {
	var p Buffers
	const most = 1 << maxClass
	for _, n := range []int{most + 1, 2*most - 1, 2 * most} {
		b := p.Get(100)
		b.B = make([]byte, n)
		p.Put(b)
		if c := p.Get(most); cap(c.B) > most {
			t.Errorf("a buffer of %d bytes was kept", cap(c.B))
		}
	}
}

func TestBuffersConcurrent(t *testing.T) {
	var p Buffers
	var wg sync.WaitGroup
	handed := make(chan *Buffer, 16)
	for i := range 4 {
		wg.Go(func() {
			for n := range 2000 {
				b := p.Get(n % 3000)
				for range n % 3000 {
					b.B = append(b.B, byte(i))
				}
				handed <- b
			}
		})
	}
	go func() { wg.Wait(); close(handed) }()
	for b := range handed {
		for _, c := range b.B {
			if c != b.B[0] {
				t.Fatal("two had the same buffer")
			}
		}
		p.Put(b)
	}
}
