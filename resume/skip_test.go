package resume_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/resume"
)

func TestSkip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		var seqs []int64
		for at, n := r.Int64N(1<<30), r.IntN(100); n > 0; n-- {
			at += 1 + r.Int64N(1+r.Int64N(5))
			seqs = append(seqs, at)
		}
		text := resume.AppendSkip(seqs)
		got, err := resume.ParseSkip(text)
		if err != nil || len(text) < 500 && !slices.Equal(got, seqs) || !slices.Equal(got, seqs[:len(got)]) {
			t.Fatalf("%d are %q, which are %d: %v", seqs, text, got, err)
		}
	}
	for _, bad := range []string{"1", "1,", "0,1", "1,0", "-1,1", "x-,1", "1,1,1", strings.Repeat("1,1,", 200) + "1,1", "1,zzzzzz"} {
		if got, err := resume.ParseSkip(bad); err == nil {
			t.Errorf("%q is %d", bad, got)
		}
	}
}
