// This file guards what a decoder allocates and holds. Not under the race
// detector, which makes sync.Pool forget at random.

//go:build !race

package zstd

import (
	"math/rand/v2"
	"runtime"
	"testing"

	reference "github.com/klauspost/compress/zstd"
)

func TestAllocs(t *testing.T) {
	stream := encode(t, reference.SpeedDefault, messages("payloads"))
	var d Decoder
	dst := make([]byte, 0, 1<<20)
	next := 0
	decode := func() {
		if _, err := d.Decode(dst, stream[next], 1<<20); err != nil {
			t.Fatal(err)
		}
		next++
	}
	for range 500 {
		decode()
	}
	if n := testing.AllocsPerRun(len(stream)-next-1, decode); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
}

// After 1 MB of a stream a decoder holds little more than the window of 256 KiB
// that the format obliges it to keep.
func TestHeld(t *testing.T) {
	const decoders, window = 32, 256 << 10
	r := rand.New(rand.NewPCG(1, 2))
	stream := encode(t, reference.SpeedDefault, [][]byte{text(r, 500<<10), text(r, 500<<10), text(r, 700)})
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first leaves what lay in pools
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	all := make([]Decoder, decoders)
	for i := range all {
		for _, msg := range stream {
			if _, err := all[i].Decode(nil, msg, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := (live() - before) / decoders
	t.Logf("%d KiB for each decoder, %.2f times the window", held>>10, float64(held)/window)
	if held > window*12/10 {
		t.Errorf("%d bytes for each decoder", held)
	}
	runtime.KeepAlive(all)
}
