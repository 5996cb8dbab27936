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

// Values lie in a shared buffer one behind the other, and it is used again when the last of them is released, and no sooner.
func TestShare(t *testing.T) {
	for range 100 { // the race detector makes a sync.Pool forget at random
		var p Buffers
		b := p.Share()
		first := b
		var values [][]byte
		var of []*Buffer
		for n := range 100 {
			b = p.Room(b)
			if got := cap(b.Space()); got < SharedRoom {
				t.Fatalf("room for %d bytes", got)
			}
			v := b.Add(2000)
			for i := range v {
				v[i] = byte(n)
			}
			if cap(v) != len(v) {
				t.Fatal("a value goes on into the next")
			}
			values, of = append(values, v), append(of, b)
		}
		p.Keep(b)
		if one := 1<<sharedClass == SharedRoom; !one && of[0] != of[1] || of[0] == of[99] {
			t.Fatal("100 values of 2,000 bytes are not in a few buffers")
		}
		last := 0 // value of the first buffer
		for n, v := range values {
			for _, c := range v {
				if c != byte(n) {
					t.Fatalf("value %d was written over", n)
				}
			}
			if of[n] == first {
				last = n
			}
		}
		class := &p.classes[sharedClass-minClass]
		for n := range last {
			p.Put(of[n])
		}
		if class.Get() != nil && last > 0 {
			t.Fatal("a buffer is used again though a value in it is not released")
		}
		p.Put(of[last])
		if class.Get() == first {
			return
		}
	}
	t.Fatal("a buffer is never used again")
}

// What is kept with room goes on where it was, and its values may be released before it is full.
func TestShareGoesOn(t *testing.T) {
	for range 100 {
		var p Buffers
		b := p.Share()
		v := b.Add(3)
		p.Keep(b)
		p.Put(b)
		if c := p.Share(); c == b && (1<<sharedClass == SharedRoom || len(c.B) == 3 && &c.B[0] == &v[0]) {
			return
		}
	}
	t.Fatal("a buffer with room is never used again")
}

// Producers hand values on, which others release.
func TestShareConcurrent(t *testing.T) {
	type value struct {
		of *Buffer
		b  []byte
	}
	var p Buffers
	var wg sync.WaitGroup
	handed := make(chan value, 64)
	for i := range 4 {
		wg.Go(func() {
			for n := range 500 {
				b := p.Share()
				for k := range n % 7 {
					b = p.Room(b)
					v := b.Add(1 + 1000*k)
					for at := range v {
						v[at] = byte(i)
					}
					handed <- value{b, v}
				}
				p.Keep(b)
			}
		})
	}
	go func() { wg.Wait(); close(handed) }()
	for v := range handed {
		for _, c := range v.b {
			if c != v.b[0] {
				t.Fatal("two had the same place")
			}
		}
		p.Put(v.of)
	}
}
