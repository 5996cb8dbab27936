// This file tests the bound on what the messages of all connections hold.

package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// A hundred connections that hold what they can hold no more together than the budget, and one
// whose message fits is served when the others have ended.
func TestBudget(t *testing.T) {
	const limit = 16 << 20
	half := like(limit / 2)
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			b := NewBudget(limit)
			packed := newCompressor(t, c).message(t, half)
			var all []Inflater
			refused := 0
			for range 100 {
				inf, err := NewInflater(c, limit, b)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, inf)
				switch out, complete, err := inf.Inflate(nil, packed); {
				case errors.Is(err, ErrBudget):
					refused++
				case err != nil || !complete || !bytes.Equal(out, half):
					t.Fatalf("%d bytes, complete %v, %v", len(out), complete, err)
				}
				if used := b.used.Load(); used > b.max {
					t.Fatalf("%d bytes are held, more than %d", used, b.max)
				}
			}
			if refused < 90 || refused == 100 {
				t.Errorf("%d of 100 were refused", refused)
			}
			for i, inf := range all {
				if i%2 == 0 {
					inf.Release()
				}
				inf.Close()
			}
			if used := b.used.Load(); used != 0 {
				t.Fatalf("%d bytes are still counted", used)
			}
			inf, _ := NewInflater(c, limit, b)
			if _, complete, err := inf.Inflate(nil, packed); err != nil || !complete {
				t.Error(complete, err)
			}
		})
	}
}

// The greatest message fits into the budget, whatever its buffer was before.
func TestBudgetGreatest(t *testing.T) {
	for _, limit := range []int{1 << 20, 5 << 20, 64 << 20} {
		for _, c := range compressions {
			b := NewBudget(limit)
			inf, err := NewInflater(c, limit, b)
			if err != nil {
				t.Fatal(err)
			}
			s := newCompressor(t, c)
			var out []byte
			for _, n := range []int{100, 3 << 19, limit, 1 << 20, limit} {
				n = min(n, limit)
				if out, _, err = inf.Inflate(out[:0], s.message(t, like(n))); err != nil || len(out) != n {
					t.Fatalf("%v, a limit of %d: %d bytes of %d, %v", c, limit, len(out), n, err)
				}
			}
			inf.Close()
			if used := b.used.Load(); used != 0 {
				t.Errorf("%v: %d bytes are still counted", c, used)
			}
		}
	}
}

// A zlib message of which no end comes is counted as it was sent, in however many pieces.
func TestBudgetPending(t *testing.T) {
	const limit = 1 << 20
	b := NewBudget(limit)
	packed := newCompressor(t, CompressionZlib).message(t, noise(limit))
	packed = packed[:len(packed)-len(syncMarker)]
	var held int
	for range 100 {
		inf, _ := NewInflater(CompressionZlib, limit, b)
		var err error
		for piece := range bytes.SplitSeq(packed, []byte{0}) {
			var out []byte
			var complete bool
			if out, complete, err = inf.Inflate(nil, piece); err != nil {
				break
			} else if complete || len(out) > 0 {
				t.Fatal("inflated")
			}
		}
		if err != nil && !errors.Is(err, ErrBudget) {
			t.Fatal(err)
		}
		held += inf.Pending()
		if used := b.used.Load(); used > b.max {
			t.Fatalf("%d bytes are counted of %d", used, b.max)
		}
	}
	if int64(held) > b.max+100*keptBuffer {
		t.Errorf("%d bytes are held", held)
	}
}

// Frames that do not arrive whole, and messages whose last fragment does not, are counted.
func TestBudgetFrames(t *testing.T) {
	const limit = 8 << 20
	whole := serverFrame(nil, true, ws.OpText, make([]byte, limit))
	var pieces []byte
	for range limit / (64 << 10) {
		pieces = serverFrame(pieces, len(pieces) == 0, ws.OpContinuation, make([]byte, 64<<10))
	}
	pieces[0] = byte(ws.OpText) // the first of many
	for _, c := range []struct {
		name string
		sent []byte
		lent bool
	}{{"frame", whole[:len(whole)-1], false}, {"frame, lent", whole[:len(whole)-1], true}, {"fragments, lent", pieces, true}} {
		b := NewBudget(limit)
		refused := 0
		var all []*FrameReader
		for range 20 {
			r := &FrameReader{MaxMessage: limit, Budget: b}
			all = append(all, r)
			for chunk := range slices.Chunk(c.sent, 16<<10) {
				if c.lent {
					r.Feed(chunk)
				} else {
					r.Advance(copy(r.Space(len(chunk)), chunk))
				}
				_, ok, err := r.Next()
				if ok {
					t.Fatalf("%s: a whole message", c.name)
				}
				if c.lent {
					r.Keep()
				}
				var perr *ProtocolError
				if errors.As(err, &perr) && perr.Code == CloseTooBig {
					refused++
					break
				} else if err != nil {
					t.Fatal(err)
				}
				if used := b.used.Load(); used > b.max {
					t.Fatalf("%s: %d bytes are counted of %d", c.name, used, b.max)
				}
			}
		}
		if refused < 15 || refused == 20 {
			t.Errorf("%s: %d of 20 were refused", c.name, refused)
		}
		for _, r := range all {
			r.Reset()
		}
		if used := b.used.Load(); used != 0 {
			t.Errorf("%s: %d bytes are still counted", c.name, used)
		}
	}
	// A whole message is not counted behind it.
	b := NewBudget(limit)
	r := &FrameReader{MaxMessage: limit, Budget: b}
	for chunk := range slices.Chunk(append(whole, serverFrame(nil, true, ws.OpText, []byte("x"))...), 16<<10) {
		r.Feed(chunk)
		for {
			if _, ok, err := r.Next(); err != nil {
				t.Fatal(err)
			} else if !ok {
				break
			}
		}
		r.Keep()
	}
	if used := b.used.Load(); used != 0 {
		t.Errorf("%d bytes are counted behind a message", used)
	}
}
