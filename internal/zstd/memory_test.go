// This file guards what a decoder holds and allocates.

//go:build !race

package zstd

import (
	"math/rand/v2"
	"runtime"
	"testing"

	kzstd "github.com/klauspost/compress/zstd"
)

// heap returns the live bytes of the heap.
func heap() int {
	runtime.GC()
	runtime.GC() // what a pool held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A decoder holds its window, and little else.
func TestMemoryHeld(t *testing.T) {
	const window = 1 << 18
	r := rand.New(rand.NewPCG(11, 12))
	var messages [][]byte
	for range 16 {
		messages = append(messages, guild(r, 64<<10))
	}
	messages = append(messages, events(r, 20)...)
	stream := compress(t, kzstd.SpeedDefault, messages)
	small := compress(t, kzstd.SpeedDefault, events(r, 4))
	for _, c := range []struct {
		name   string
		stream [][]byte
		most   int
	}{
		{"1 MB", stream, window * 16 / 10},
		{"3 kB", small, 24 << 10},
	} {
		const n = 50
		decoders := make([]*Decoder, n)
		dst := make([]byte, 0, 1<<20)
		before := heap()
		for i := range decoders {
			decoders[i] = new(Decoder)
			for _, msg := range c.stream {
				if _, err := decoders[i].Decode(dst, msg, noLimit); err != nil {
					t.Fatal(err)
				}
			}
		}
		held := (heap() - before) / n
		t.Logf("%d bytes per decoder after %s, %.2f windows", held, c.name, float64(held)/window)
		if held > c.most {
			t.Errorf("%d bytes per decoder after %s, want at most %d", held, c.name, c.most)
		}
		runtime.KeepAlive(decoders)
		runtime.KeepAlive(dst)
	}

	// The same of klauspost's, for comparison.
	const n = 20
	peers := make([]*peer, n)
	dst := make([]byte, 0, 1<<20)
	before := heap()
	for i := range peers {
		peers[i] = newPeer(t)
		for _, msg := range stream {
			if _, err := peers[i].decode(dst, msg); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d bytes per decoder of klauspost's", (heap()-before)/n)
	runtime.KeepAlive(dst)
	for _, p := range peers {
		p.dec.Close()
	}
}

// A message costs no allocation once the tables are there, the ring is the
// window's size, and the caller's buffer is large enough.
func TestAllocs(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	messages := append([][]byte{guild(r, 300<<10), random(r, 20<<10)}, events(r, 3000)...)
	for i := 10; i < len(messages); i += 100 {
		messages[i] = guild(r, 20<<10)
		messages[i+1] = messages[i-1]
	}
	for _, level := range levels {
		stream := compress(t, level, messages)
		var d Decoder
		dst := make([]byte, 0, 1<<20)
		next := 0
		step := func() {
			if _, err := d.Decode(dst, stream[next], noLimit); err != nil {
				t.Fatal(err)
			}
			next++
		}
		for next < 200 {
			step()
		}
		if n := testing.AllocsPerRun(len(stream)-next-1, step); n != 0 {
			t.Errorf("%v: %v allocations per message", level, n)
		}
	}
}
