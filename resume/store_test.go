// This file tests what every store must do.

package resume

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/engine"
	"sluice/sinks"
)

// checkpoint returns some checkpoint.
func checkpoint(id string, seq int64) Checkpoint {
	return Checkpoint{
		Session: engine.Session{ID: id, ResumeURL: "wss://gateway-us-east1-c.discord.gg", Seq: seq, Shards: 128},
		Intents: 53575421, Bot: Fingerprint("token"), At: time.UnixMilli(1_795_000_000_000 + seq),
	}
}

func same(a, b State) bool {
	return maps.EqualFunc(a.Checkpoints, b.Checkpoints, func(a, b Checkpoint) bool {
		at := a.At.Equal(b.At)
		a.At = b.At
		return at && a == b
	}) && a.Starts.Count == b.Starts.Count && a.Starts.Until.Equal(b.Starts.Until)
}

func loaded(t *testing.T, s Store) State {
	t.Helper()
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// testStore checks a store that open opens, each time anew over what was there.
func testStore(t *testing.T, open func(t *testing.T) Store) {
	load := func(t *testing.T, s Store) State {
		t.Helper()
		state, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	r := rand.New(rand.NewPCG(1, 2))
	want := State{Checkpoints: map[int]Checkpoint{}}
	for round := range 20 {
		s := open(t)
		if got := load(t, s); !same(got, want) {
			t.Fatalf("round %d: loaded\n%+v, want\n%+v", round, got, want)
		}
		for range 50 {
			changes := State{Checkpoints: map[int]Checkpoint{}}
			for range r.IntN(5) {
				shard := r.IntN(20)
				switch c := want.Checkpoints[shard]; r.IntN(4) {
				case 0:
					changes.Checkpoints[shard] = Checkpoint{}
				case 1:
					changes.Checkpoints[shard] = checkpoint(fmt.Sprintf("session-%d", r.Int()), r.Int64N(10))
				default:
					if c.ID != "" {
						c.Seq += r.Int64N(1000)
						if r.IntN(4) == 0 {
							c.AddGap(sinks.Gap{Session: "lost", Seq: r.Int64N(9), At: 1_795_000_000_000, Reason: "closed by Discord"})
						}
						changes.Checkpoints[shard] = c
					}
				}
			}
			if r.IntN(5) == 0 {
				changes.Starts = engine.Starts{Count: r.IntN(1000), Until: time.UnixMilli(r.Int64N(1 << 40))}
			}
			want.apply(changes)
			if err := s.Save(t.Context(), changes); err != nil {
				t.Fatal(err)
			}
		}
		got := load(t, s)
		if !same(got, want) {
			t.Fatalf("round %d: saved\n%+v, want\n%+v", round, got, want)
		}
		got.Checkpoints[99] = checkpoint("the caller's own", 1)
		if !same(load(t, s), want) {
			t.Fatal("what was loaded is the store's own")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemory(t *testing.T) {
	m := new(Memory)
	testStore(t, func(*testing.T) Store { return m })
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	testStore(t, func(t *testing.T) Store {
		f, err := OpenFile(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}

func TestFingerprint(t *testing.T) {
	if a := Fingerprint("a"); a == Fingerprint("b") || a != Fingerprint("ab"[:1]) || a == 0 {
		t.Error("fingerprints do not tell tokens apart")
	}
}
