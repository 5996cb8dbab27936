// This file guards that inflating allocates nothing. Not under the race detector,
// which makes sync.Pool forget at random.

//go:build !race

package wire

import "testing"

func TestInflateAllocs(t *testing.T) {
	for _, c := range compressions {
		t.Run(c.String(), func(t *testing.T) {
			s, inf := newCompressor(t, c), newInflater(t, c, 0)
			const runs = 200
			var packed [][]byte
			for range 2*runs + 2 {
				packed = append(packed, s.message(t, payload(t, "message_create")))
			}
			buf := make([]byte, 0, zstdBlock+8<<10)
			next := func() {
				if _, complete, err := inf.Inflate(buf, packed[0]); err != nil || !complete {
					t.Fatal(complete, err)
				}
				packed = packed[1:]
			}
			for range runs {
				next() // the window and the tables come first
			}
			if n := testing.AllocsPerRun(runs, next); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
