// This file guards the way of an event: it allocates nothing. Not under the race
// detector, which makes sync.Pool forget at random.

//go:build !race

package engine

import "testing"

func TestPathAllocs(t *testing.T) {
	for _, c := range pathCompressions {
		t.Run(c.String(), func(t *testing.T) {
			const runs, warm = 2000, 500
			stream := record(t, c, warm+runs+1)
			// More than the 42,000 returns after which bytebufferpool, for one,
			// looks at its sizes anew and keeps other things.
			for range 20 {
				p := newPath(t, c, &stream)
				next := 0
				event := func() {
					p.read(stream.events[next])
					p.drain()
					next++
				}
				for range warm {
					event() // the window, the tables and the pools come first
				}
				if n := testing.AllocsPerRun(runs, event); n != 0 {
					t.Fatalf("%v allocations for an event", n)
				}
				if p.sink.events != 1+len(stream.events) {
					t.Errorf("%d events arrived of %d", p.sink.events, 1+len(stream.events))
				}
				p.close()
			}
		})
	}
}
