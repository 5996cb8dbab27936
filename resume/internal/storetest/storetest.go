// Package storetest has the tests that every store of checkpoints must pass, and a store in memory.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/resume"
	"sluice/sinks"
)

// Quiet logs nothing.
var Quiet = slog.New(slog.DiscardHandler)

// Checkpoint returns some checkpoint.
func Checkpoint(id string, seq int64) resume.Checkpoint {
	return resume.Checkpoint{
		Session: resume.Session{ID: id, ResumeURL: "wss://gateway-us-east1-c.discord.gg", Seq: seq, Shards: 128},
		Intents: 53575421, Bot: resume.Fingerprint("token"), At: time.UnixMilli(1_795_000_000_000 + seq),
	}
}

// Same reports whether two states are equal, but for the time zone.
func Same(a, b resume.State) bool {
	return maps.EqualFunc(a.Checkpoints, b.Checkpoints, func(a, b resume.Checkpoint) bool {
		at := a.At.Equal(b.At)
		a.At = b.At
		return at && a == b
	}) && a.Starts.Count == b.Starts.Count && a.Starts.Until.Equal(b.Starts.Until) && a.Plan == b.Plan
}

// Loaded returns what a store has.
func Loaded(t *testing.T, s resume.Store) resume.State {
	t.Helper()
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// Test checks a store that open opens, each time anew over what was there.
func Test(t *testing.T, open func(t *testing.T) resume.Store) {
	r := rand.New(rand.NewPCG(1, 2))
	want := resume.State{Checkpoints: map[int]resume.Checkpoint{}}
	for round := range 20 {
		s := open(t)
		if got := Loaded(t, s); !Same(got, want) {
			t.Fatalf("round %d: loaded\n%+v, want\n%+v", round, got, want)
		}
		for range 50 {
			changes := resume.State{Checkpoints: map[int]resume.Checkpoint{}}
			for range r.IntN(5) {
				shard := r.IntN(20)
				switch c := want.Checkpoints[shard]; r.IntN(4) {
				case 0:
					changes.Checkpoints[shard] = resume.Checkpoint{}
				case 1:
					changes.Checkpoints[shard] = Checkpoint(fmt.Sprintf("session-%d", r.Int()), r.Int64N(10))
				default:
					if c.ID != "" {
						c.Seq += r.Int64N(1000)
						if r.IntN(4) == 0 {
							c.Skip = resume.AppendSkip([]int64{c.Seq + 2, c.Seq + 3, c.Seq + 9})
						}
						if r.IntN(4) == 0 {
							c.AddGap(sinks.Gap{Session: "lost", Seq: r.Int64N(9), At: 1_795_000_000_000, Reason: "closed by Discord"})
						}
						changes.Checkpoints[shard] = c
					}
				}
			}
			if r.IntN(5) == 0 {
				changes.Starts = resume.Starts{Count: r.IntN(1000), Until: time.UnixMilli(r.Int64N(1 << 40))}
			}
			if r.IntN(10) == 0 {
				changes.Plan = resume.Plan{Shards: 1 + r.IntN(100), Instead: r.IntN(100), Bot: r.Uint64()}
			}
			if whole, ok := s.(resume.Replacer); ok && r.IntN(20) == 0 {
				changes = resume.State{Checkpoints: map[int]resume.Checkpoint{}, Plan: resume.Plan{Shards: 1 + r.IntN(100)}}
				for range r.IntN(20) {
					changes.Checkpoints[r.IntN(30)] = Checkpoint(fmt.Sprintf("session-%d", r.Int()), r.Int64N(10))
				}
				switch err := whole.Replace(t.Context(), changes); {
				case errors.Is(err, resume.ErrNoReplace):
					continue
				case err != nil:
					t.Fatal(err)
				}
				want.Checkpoints = map[int]resume.Checkpoint{}
				want.Apply(changes)
				continue
			}
			want.Apply(changes)
			if err := s.Save(t.Context(), changes); err != nil {
				t.Fatal(err)
			}
		}
		got := Loaded(t, s)
		if !Same(got, want) {
			t.Fatalf("round %d: saved\n%+v, want\n%+v", round, got, want)
		}
		got.Checkpoints[99] = Checkpoint("the caller's own", 1)
		if !Same(Loaded(t, s), want) {
			t.Fatal("what was loaded is the store's own")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Sessions returns the sessions of shards without events, and a count of session starts.
func Sessions(shards int) (map[int]resume.Session, resume.Starts) {
	sessions := make(map[int]resume.Session)
	for shard := range shards {
		sessions[shard] = resume.Session{ID: fmt.Sprint("session-of-", shard), Seq: 7, Shards: shards}
	}
	return sessions, resume.Starts{Count: 3, Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)}
}

// Missing returns how many of the sessions are not in the store.
func Missing(t *testing.T, s resume.Store, sessions map[int]resume.Session) (n int) {
	t.Helper()
	state := Loaded(t, s)
	for shard, session := range sessions {
		if state.Checkpoints[shard].Session != session {
			n++
		}
	}
	return n
}

// Memory is a store that lasts as long as the process. The zero value is empty.
type Memory struct {
	mu    sync.Mutex
	state resume.State
}

// Load returns a copy of what was saved.
func (m *Memory) Load(context.Context) (resume.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s resume.State
	s.Apply(m.state)
	return s, nil
}

// Save keeps a copy of the changes.
func (m *Memory) Save(_ context.Context, changes resume.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Apply(changes)
	return nil
}

// Replace keeps a copy of the state instead.
func (m *Memory) Replace(_ context.Context, state resume.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	state.Starts = m.state.Starts
	m.state = resume.State{}
	m.state.Apply(state)
	return nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

// Unclosed is a store that a Keeper's Close leaves open.
type Unclosed struct{ resume.Store }

// Close does nothing.
func (Unclosed) Close() error { return nil }
