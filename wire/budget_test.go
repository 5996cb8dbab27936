// This file tests the bound on what the messages of all connections hold.

package wire

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
)

// Goroutines that inflate large messages take turns: what they hold together is bounded, none is
// refused, and the greatest message fits whatever its buffer was before.
func TestTurns(t *testing.T) {
	const limit = 16 << 20
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			turns := NewTurns(2)
			var holders, larges, most atomic.Int32
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					inf, err := NewInflater(c, limit, Bounds{Turns: turns})
					if err != nil {
						t.Error(err)
						return
					}
					defer inf.Close()
					s := newCompressor(t, c)
					var out []byte
					for _, n := range []int{100, 3 << 19, limit / 5 * (i % 5), 1 << 20, 10} {
						if out, _, err = inf.Inflate(out[:0], s.message(t, like(n+1))); err != nil || len(out) != n+1 {
							t.Errorf("%d bytes of %d, %v", len(out), n+1, err)
							return
						}
						if n >= 1<<20 {
							most.Store(max(most.Load(), holders.Add(1)))
							if n > limit/4 && larges.Add(1) > 1 {
								t.Error("two large messages at a time")
							}
							runtime.Gosched()
							if n > limit/4 {
								larges.Add(-1)
							}
							holders.Add(-1)
						}
						if inf.Release(); cap(out) > smallMessage {
							out = nil
						}
					}
				})
			}
			wg.Wait()
			if most.Load() > 2 || len(turns.medium) != 2 || len(turns.large) != 1 {
				t.Errorf("%d at a time; %d of 2 and %d of 1 turns are there", most.Load(), len(turns.medium), len(turns.large))
			}
		})
	}
}

// A budget has room for one message of the largest size as it arrives, compressed and inflated, and
// beside it for a quarter of a MiB on each of the other connections; but not for a second large one.
func TestBudgetHasRoom(t *testing.T) {
	for _, c := range []struct{ maxMessage, connections int }{{64 << 20, 1}, {64 << 20, 100}, {1 << 20, 2}, {256 << 20, 16}} {
		b := NewBudget(c.maxMessage, c.connections)
		large := Share{Budget: b}
		if err := large.Hold(c.maxMessage + c.maxMessage/4); err != nil {
			t.Errorf("%+v: one large message: %v", c, err)
		}
		for i := range c.connections {
			other := Share{Budget: b}
			if err := other.Hold(256 << 10); err != nil {
				t.Errorf("%+v: connection %d: %v", c, i, err)
				break
			}
		}
		second := Share{Budget: b}
		if err := second.Hold(max(c.maxMessage, 8<<20+1)); !errors.Is(err, ErrBudget) {
			t.Errorf("%+v: a second large message: %v", c, err)
		}
		large.Hold(0)
		if err := second.Hold(c.maxMessage); err != nil {
			t.Errorf("%+v: a large message behind another: %v", c, err)
		}
	}
}

// A few bytes that inflate to millions are refused long before; what is inflated as Discord's
// messages are is not.
func TestRatio(t *testing.T) {
	for _, c := range compressions {
		inf, err := NewInflater(c, 0, Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		defer inf.Close()
		s := newCompressor(t, c)
		for _, n := range []int{1000, 1 << 20, 30 << 20} {
			if out, _, err := inf.Inflate(nil, s.message(t, like(n))); err != nil || len(out) != n {
				t.Fatalf("%v: %d bytes of %d, %v", c, len(out), n, err)
			}
		}
		bomb := s.message(t, make([]byte, 60<<20))
		out, _, err := inf.Inflate(nil, bomb)
		if !errors.Is(err, ErrTooBig) || cap(out) > 2*(freeRatio+maxRatio*len(bomb)) {
			t.Errorf("%v: %d bytes inflate into %d: %v", c, len(bomb), cap(out), err)
		}
	}
}

// A zlib message of which no end comes is counted as it was sent, in however many pieces.
func TestBudgetPending(t *testing.T) {
	const limit = 1 << 20
	b := NewBudget(limit, 0)
	packed := newCompressor(t, CompressionZlib).message(t, noise(limit))
	packed = packed[:len(packed)-len(syncMarker)]
	var held int
	var all []Inflater
	for range 30 {
		inf, _ := NewInflater(CompressionZlib, limit, Bounds{Arriving: b})
		all = append(all, inf)
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
		if used := b.used.Load(); used > b.max.Load() {
			t.Fatalf("%d bytes are counted of %d", used, b.max.Load())
		}
	}
	for _, inf := range all {
		inf.Close()
	}
	if used := b.used.Load(); used != 0 {
		t.Errorf("%d bytes are counted behind Close", used)
	}
	if int64(held) > b.max.Load()+30*keptBuffer {
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
		b := NewBudget(limit, 0)
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
				if used := b.used.Load(); used > b.max.Load() {
					t.Fatalf("%s: %d bytes are counted of %d", c.name, used, b.max.Load())
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
	b := NewBudget(limit, 0)
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

// A connection that ends in the middle of a large message gives its turn back.
func TestTurnsClosed(t *testing.T) {
	const limit = 4 << 20
	turns := NewTurns(1)
	for _, c := range compressions {
		for _, broken := range []bool{false, true} {
			inf, err := NewInflater(c, limit, Bounds{Turns: turns})
			if err != nil {
				t.Fatal(err)
			}
			n := limit - 1
			if broken {
				n = limit + 1
			}
			if _, _, err := inf.Inflate(nil, newCompressor(t, c).message(t, like(n))); (err != nil) != broken {
				t.Fatal(err)
			}
			inf.Close()
			if len(turns.medium) != 1 || len(turns.large) != 1 {
				t.Fatalf("%v, broken %v: %d and %d turns are there", c, broken, len(turns.medium), len(turns.large))
			}
		}
	}
}

// The windows of many connections are bounded together; Discord's are free.
func TestWindows(t *testing.T) {
	b := NewBudget(0, 0) // 8 MiB
	run := func(window string) (refused int) {
		var all []Inflater
		for range 64 {
			inf, err := NewInflater(CompressionZstd, 0, Bounds{Windows: b})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, inf)
			msg := []byte("\x28\xb5\x2f\xfd\x00" + window)
			for range 8 {
				for range 8 {
					msg = append(msg, zstdRun(zstdBlock, 'x')...)
				}
				if _, _, err := inf.Inflate(nil, msg); err != nil {
					if !strings.Contains(err.Error(), "compression") {
						t.Error(err)
					}
					refused++
					break
				}
				msg = msg[:0]
			}
		}
		for _, inf := range all {
			inf.Close()
		}
		if used := b.used.Load(); used != 0 {
			t.Errorf("%d bytes are counted behind Close", used)
		}
		return refused
	}
	if n := run("\x40"); n != 0 {
		t.Errorf("%d of Discord's windows were refused", n)
	}
	if n := run("\x68"); n < 60 || n == 64 { // 8 MiB
		t.Errorf("%d of 64 windows of 8 MiB were refused", n)
	}
}
