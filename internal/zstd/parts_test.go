// This file tests the ring and the reader of sequences by themselves, against
// simple ones.

package zstd

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestRing(t *testing.T) {
	for _, window := range []int{1, 7, firstRing - 1, firstRing, 3 * firstRing, 9000, 1 << 16} {
		r := rand.New(rand.NewPCG(15, uint64(window)))
		var ring ring
		var all []byte
		for i := range 400 {
			n := r.IntN(window/3 + 2)
			if i%50 == 49 {
				n = window + r.IntN(2*window) - window/2
			}
			p := random(r, n)
			all = append(all, p...)
			ring.append(p, window)
			if ring.held != min(len(all), window) {
				t.Fatalf("window %d: holds %d of %d", window, ring.held, len(all))
			}
			if most := min(window, max(firstRing, 2*len(all))); len(ring.buf) > most {
				t.Fatalf("window %d: %d bytes for %d", window, len(ring.buf), len(all))
			}
			for range 5 {
				if ring.held == 0 {
					break
				}
				back := 1 + r.IntN(ring.held)
				dst := make([]byte, r.IntN(back+10))
				got := dst[:ring.copyTo(dst, back)]
				if from := all[len(all)-back:]; !bytes.Equal(got, from[:min(back, len(dst))]) {
					t.Fatalf("window %d: %d bytes back of %d is not what was there", window, back, len(all))
				}
			}
		}
	}
}

// A ring is as large as what it was given, up to the next power of two, and never larger than the
// window.
func TestRingSize(t *testing.T) {
	for _, tt := range []struct{ given, window, want int }{
		{1, 1 << 16, 4 << 10}, {4096, 1 << 16, 4 << 10}, {4097, 1 << 16, 8 << 10}, {8192, 1 << 16, 8 << 10}, {8193, 1 << 16, 16 << 10},
		{9000, 9500, 9500}, {9500, 9500, 9500}, {9501, 9500, 9500}, {1, 1000, 1000},
	} {
		var r ring
		r.append(make([]byte, tt.given), tt.window)
		if len(r.buf) != tt.want {
			t.Errorf("%d bytes for %d, of a window of %d; want %d", len(r.buf), tt.given, tt.window, tt.want)
		}
	}
}

// bitString is a bitstream that is read from its end, one bit at a time.
type bitString struct {
	n    *big.Int
	left int
}

func (b *bitString) read(n int) (v uint64) {
	for range n {
		b.left--
		v <<= 1
		if b.left >= 0 {
			v |= uint64(b.n.Bit(b.left))
		}
	}
	return v
}

// Sequences of any length are read, wherever in a message they begin.
func TestReadSequences(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	table := func(c *code) (s stateTable) {
		switch r.IntN(3) {
		case 0:
			s.states, s.log = c.predefined(), c.counts.log
		case 1:
			s.states = new(states)
			s.states[0] = c.symbols[len(c.symbols)-1-r.IntN(8)]
		case 2:
			// All there are, as even as it goes.
			counts := counts{len: len(c.symbols), log: c.maxLog}
			left := 1 << c.maxLog
			for i := range counts.len {
				counts.n[i] = int16(left / (counts.len - i))
				left -= int(counts.n[i])
			}
			s.states, s.log = new(states), c.maxLog
			counts.build(s.states[:], c.symbols)
		}
		return s
	}
	long := 0
	for range 3000 {
		tables := sequenceTables{literalLengths: table(&literalLengthCode), offsets: table(&offsetCode), matchLengths: table(&matchLengthCode)}
		at := 6 + r.IntN(6)
		src := append(random(r, at+50+r.IntN(900)), byte(1+r.IntN(255)))
		pos, err := streamEnd(src, at, len(src))
		if err != nil {
			t.Fatal(err)
		}
		// A big.Int has its highest byte first.
		bytesOf := bytes.Clone(src[at:])
		for i, j := 0, len(bytesOf)-1; i < j; i, j = i+1, j-1 {
			bytesOf[i], bytesOf[j] = bytesOf[j], bytesOf[i]
		}
		simple := bitString{new(big.Int).SetBytes(bytesOf), pos - at*8}
		ll, of, ml := simple.read(tables.literalLengths.log), simple.read(tables.offsets.log), simple.read(tables.matchLengths.log)

		reader := sequenceReader{src: src, pos: pos, first: at * 8}
		reader.begin(&tables)
		var moved [8 + 48]byte
		for simple.left > 0 {
			var batch [4]sequence
			if reader.first < 64 {
				reader = reader.move(&moved)
			}
			err := reader.read(&tables, batch[:], false)
			for i, got := range batch {
				le, oe, me := tables.literalLengths.states[ll], tables.offsets.states[of], tables.matchLengths.states[ml]
				want := sequence{offset: uint32(oe>>32) + uint32(simple.read(int(oe&31)))}
				want.match = uint32(me>>32) + uint32(simple.read(int(me&31)))
				want.literals = uint32(le>>32) + uint32(simple.read(int(le&31)))
				ll = uint64(uint16(le>>16)) + simple.read(int(le>>8&15))
				ml = uint64(uint16(me>>16)) + simple.read(int(me>>8&15))
				of = uint64(uint16(oe>>16)) + simple.read(int(oe>>8&15))
				if simple.left < 0 {
					break
				}
				if got != want {
					t.Fatalf("sequence %d of a batch: %v, want %v", i, got, want)
				}
				if (le+oe+me)&0xff+(le+oe+me)>>8&0xff > loaded {
					long++
				}
			}
			if (err == nil) != (simple.left >= 0) {
				t.Fatalf("%v with %d bits left", err, simple.left)
			}
		}
	}
	if long == 0 {
		t.Error("no sequence was long")
	}
}
