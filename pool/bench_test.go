// This file measures the ring beside a queue with a lock and a channel, and the
// buffers beside bytebufferpool.

package pool

import (
	"fmt"
	"sync"
	"testing"

	"github.com/valyala/bytebufferpool"
)

// event is as large as what the engine sends through a ring.
type event [13]uint64

// BenchmarkRing sends values from one goroutine to another.
func BenchmarkRing(b *testing.B) {
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprintf("ring/batch %d", batch), func(b *testing.B) {
			bell := NewBell()
			room := make(chan struct{}, 1)
			r := NewRing[event](1024, 1<<40, bell, func() { room <- struct{}{} })
			go func() {
				for i := range b.N {
					for r.Full() {
						if r.Await() {
							<-room
						}
					}
					r.Put(event{uint64(i)}, 1000)
					if i%batch == batch-1 {
						r.Publish()
					}
				}
				r.Close()
			}()
			b.ReportAllocs()
			dst := make([]event, 256)
			for {
				n := r.Take(dst)
				r.Release(int64(n) * 1000)
				if n == 0 {
					if _, ended := r.Empty(); ended {
						return
					}
					bell.Wait(func() bool { now, ended := r.Empty(); return now && !ended })
				}
			}
		})
	}
	b.Run("mutex", func(b *testing.B) {
		var mu sync.Mutex
		var queue []event
		more := make(chan struct{}, 1)
		go func() {
			for i := range b.N {
				mu.Lock()
				queue = append(queue, event{uint64(i)})
				first := len(queue) == 1
				mu.Unlock()
				if first {
					select {
					case more <- struct{}{}:
					default:
					}
				}
			}
		}()
		b.ReportAllocs()
		var taken []event
		for got := 0; got < b.N; got += len(taken) {
			mu.Lock()
			queue, taken = taken[:0], queue
			mu.Unlock()
			if len(taken) == 0 {
				<-more
			}
		}
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan event, 1024)
		go func() {
			for i := range b.N {
				c <- event{uint64(i)}
			}
		}()
		b.ReportAllocs()
		for range b.N {
			<-c
		}
	})
}

// BenchmarkBuffers gets, fills and returns what an event of 0.75 kB needs, with
// something large now and then, as guilds come among messages.
func BenchmarkBuffers(b *testing.B) {
	data := make([]byte, 128<<10)
	size := func(i int) int {
		if i%1000 == 0 {
			return len(data)
		}
		return 750
	}
	b.Run("Buffers", func(b *testing.B) {
		b.ReportAllocs()
		var p Buffers
		for i := 0; b.Loop(); i++ {
			n := size(i)
			buf := p.Get(n)
			buf.B = append(buf.B, data[:n]...)
			p.Put(buf)
		}
	})
	b.Run("bytebufferpool", func(b *testing.B) {
		b.ReportAllocs()
		var p bytebufferpool.Pool
		for i := 0; b.Loop(); i++ {
			buf := p.Get()
			buf.B = append(buf.B[:0], data[:size(i)]...)
			p.Put(buf)
		}
	})
}
