// This file guards the way of an event: it allocates nothing. Not under the race
// detector, which makes sync.Pool forget at random.

//go:build !race

package engine

import (
	"runtime"
	"sync/atomic"
	"testing"

	"sluice/wire"
)

// All that is counted is, and another goroutine looks at it meanwhile, which allocates nothing either.
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
				stop := p.look()
				if n := testing.AllocsPerRun(runs, event); n != 0 {
					t.Fatalf("%v allocations for an event", n)
				}
				if seen := stop(); seen.Events < warm || seen.Seq < warm {
					t.Errorf("who looked meanwhile has seen %+v", seen)
				}
				if p.sink.events != 1+len(stream.events) {
					t.Errorf("%d events arrived of %d", p.sink.events, 1+len(stream.events))
				}
				p.close()
			}
		})
	}
}

// look has a goroutine look at the path's counts again and again. stop ends it, and returns what it
// has seen last of the shard.
func (p *path) look() (stop func() ShardStatus) {
	var end atomic.Bool
	last := make(chan ShardStatus)
	go func() {
		var of ShardStatus
		packets := make([]PacketCount, 0, 16)
		for {
			p.s.status(&of)
			packets = p.s.packets.appendTo(packets[:0], 0)
			p.publisher.status(p.now)
			if end.Load() {
				last <- of
				return
			}
			runtime.Gosched()
		}
	}()
	return func() ShardStatus {
		end.Store(true)
		return <-last
	}
}

// Nor does an event after the names of those to publish have changed.
func TestSetEventsAllocs(t *testing.T) {
	const runs = 1000
	stream := record(t, wire.CompressionNone, runs+2)
	p := newPath(t, wire.CompressionNone, &stream)
	defer p.close()
	e := &Engine{opts: *p.s.env.opts}
	sets := []map[string]struct{}{nil, {"MESSAGE_CREATE": {}}, {"TYPING_START": {}}}
	events := 0
	for i, set := range sets {
		e.SetEvents(set)
		n := testing.AllocsPerRun(runs/len(sets)-1, func() {
			p.read(stream.events[events])
			p.drain()
			events++
		})
		if n != 0 {
			t.Errorf("set %d: %v allocations for an event", i, n)
		}
	}
	if filtered := int(p.s.counters.filtered.Load()); filtered != events/len(sets) || p.sink.events != 1+events-filtered {
		t.Errorf("%d of %d events were filtered, %d arrived", filtered, events, p.sink.events)
	}
}
