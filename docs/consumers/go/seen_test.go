// This file holds Seen against the vectors that all languages share, and against a map.

package consumers

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// The library agrees with those of the other languages, by the vectors that all three share.
func TestSeenVectors(t *testing.T) {
	var vectors struct {
		Cases []struct {
			Name, Start, Text string
			Limit             int
			Steps             [][]any
		}
		Refused []string
	}
	text, err := os.ReadFile("../testdata/seen.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Cases) < 10 || len(vectors.Refused) < 10 {
		t.Fatalf("%d and %d vectors", len(vectors.Cases), len(vectors.Refused))
	}
	for _, tt := range vectors.Cases {
		load := func(text string) *Seen {
			s, err := ParseSeen(text)
			if err != nil {
				t.Fatalf("%s: %v", tt.Name, err)
			}
			s.Limit = tt.Limit
			return s
		}
		s := load(tt.Start)
		number := func(v any) int64 { return int64(v.(float64)) }
		for _, step := range tt.Steps {
			switch step[0] {
			case "add":
				s.Add(step[1].(string), number(step[2]))
			case "adds":
				for seq := number(step[2]); seq <= number(step[3]); seq += number(step[4]) {
					s.Add(step[1].(string), seq)
				}
			case "has":
				if got := s.Has(step[1].(string), number(step[2])); got != step[3] {
					t.Errorf("%s: %v: %v", tt.Name, step, got)
				}
			case "reload":
				s = load(s.String())
			default:
				t.Fatalf("%s: unknown step %v", tt.Name, step)
			}
		}
		if got := s.String(); got != tt.Text {
			t.Errorf("%s: the text is %s, want %s", tt.Name, got, tt.Text)
		}
	}
	for _, text := range vectors.Refused {
		if s, err := ParseSeen(text); err == nil {
			t.Errorf("%q is taken for %v", text, s)
		} else if !strings.HasPrefix(err.Error(), "seen: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whatever the order, nothing counts as processed that was not, and nothing of the last half of the
// limit as not processed that was.
func TestSeenIsExact(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		s, done := &Seen{Limit: 200}, map[int64]int{}
		for i := range 5000 {
			seq := 1 + int64(i/3) + rng.Int64N(50)
			has, at := s.Has("a", seq), done[seq]
			if has && at == 0 {
				t.Fatalf("seed %d: %d counts as processed", seed, seq)
			}
			if !has && at > 0 && i+1-at < 100 {
				t.Fatalf("seed %d: %d was processed %d events ago, and is forgotten", seed, seq, i+1-at)
			}
			if !has {
				s.Add("a", seq)
				done[seq] = i + 1
			}
		}
	}
}

// A shard without a filter costs a few ranges, whatever it has seen; one with a filter no more than the
// limit says.
func TestSeenIsBounded(t *testing.T) {
	dense, sparse := new(Seen), new(Seen)
	for seq := range int64(100_000) {
		dense.Add("a", seq+1)
		sparse.Add("a", 2*seq+1)
	}
	if n := len(dense.String()); n > 100 || !dense.Has("a", 1) {
		t.Errorf("%d bytes", n)
	}
	if n := strings.Count(sparse.String(), ","); n < DefaultLimit/2 || n > DefaultLimit+10 {
		t.Errorf("%d ranges", n)
	}
}
